"""The one table that feeds the generic checks: every public layer, loss, fusion and builder.

A new one joins the table in the module of its system and gets all of `mm_keras.testing`;
`test_conformance.py` fails for one that does not.
"""

from tests.conformance import afe, cmn, dfn, dml, fusion, layers, losses, mcnn, mvcnn, nasn
from tests.conformance.cases import BuilderCase, LayerCase, LossCase

MODULES = (layers, losses, fusion, mcnn, cmn, dfn, nasn, dml, mvcnn, afe)


def layer_cases() -> list[LayerCase]:
    """Returns the table of layers."""
    return _collect("layer_cases")


def loss_cases() -> list[LossCase]:
    """Returns the table of losses."""
    return _collect("loss_cases")


def builder_cases() -> list[BuilderCase]:
    """Returns the table of builders."""
    return _collect("builder_cases")


def _collect(kind: str) -> list:
    return [case for module in MODULES if hasattr(module, kind) for case in getattr(module, kind)()]


# Public names that the table can't hold, and why.
EXEMPT = {
    "FUSIONS": "a table; each of its names has a case",
    "Fusion": "abstract",
    "Rematerialized": "a model; tests/layers/test_rematerialized.py compares it with the plain one",
    "TrainingOnly": "a mixin without behaviour",
    "classification_crossentropy": "the function of ClassificationCrossentropy",
    "focal_crossentropy": "the function of FocalCrossentropy",
    "get_fusion": "returns the fusion layers of the table",
    "info_nce": "the function of InfoNCE",
    "information_maximization": "the function of InformationMaximization",
    "logit_adjusted_crossentropy": "the function of LogitAdjustedCrossentropy",
    "maximum_mean_discrepancy": "the function of MaximumMeanDiscrepancy",
    "siglip": "the function of SigLIP",
    "triplet": "the function of Triplet",
    "vse": "the function of VSE",
}
