"""Adversarial feature learning."""

import numpy as np

import mm_keras as mm
from mm_keras import layers, losses
from tests.conformance.cases import (
    LABELS,
    MIXTURE,
    MIXTURE_BATCH,
    POSITIONS,
    VECTORS,
    VECTORS_BATCH,
    BuilderCase,
    LayerCase,
    LossCase,
    floats,
)

DOMAINS = np.array([0, 1, 1], "int32")


def layer_cases():
    """Returns what stands between features and a discriminator, and the pair of ADDA."""
    features, target = floats(4, 6), floats(4, 6, seed=1)
    predictions = np.exp(floats(4, 3))
    predictions /= predictions.sum(axis=1, keepdims=True)
    return [
        LayerCase(
            "AdversarialAlignment",
            lambda: layers.AdversarialAlignment((4,), 0.5),
            target,
            {"source": features},
        ),
        LayerCase(
            "ConditionalFeatures",
            layers.ConditionalFeatures,
            features,
            {"predictions": predictions},
        ),
        LayerCase(
            "ConditionalFeatures-projected",
            lambda: layers.ConditionalFeatures(max_width=8, seed=0),
            features,
            {"predictions": predictions},
        ),
        LayerCase("DomainWeighting", layers.DomainWeighting, features),
        LayerCase(
            "DomainWeighting-masked",
            layers.DomainWeighting,
            features,
            {"predictions": predictions, "mask": POSITIONS},
        ),
        LayerCase("GradientReversal", lambda: layers.GradientReversal(0.5), features),
    ]


def loss_cases():
    """Returns the losses whose labels are domains."""
    domains = np.array([0, 1, 1, 0], "int32")
    logits = 3 * floats(4, 5)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    sure = np.eye(5, dtype="float32")[[0, 4, 4, 1]]
    return [
        LossCase(
            "InformationMaximization",
            lambda: losses.InformationMaximization(balance=0.5),
            domains,
            probabilities,
            sure,
        ),
        LossCase(
            "MaximumMeanDiscrepancy", losses.MaximumMeanDiscrepancy, domains, logits, 3e4 * sure
        ),
    ]


def builder_cases():
    """Returns the builder, with each method, and with all that acts in training."""
    fused = LABELS | {"domain": DOMAINS}
    return [
        BuilderCase(
            "build_afe",
            lambda: mm.build_afe(MIXTURE, 3, width=8),
            MIXTURE_BATCH,
            fused,
            {"jit_compile": False},
        ),
        BuilderCase(
            "build_afe-each",
            lambda: mm.build_afe(
                VECTORS,
                3,
                method="cdan",
                align="each",
                entropy_conditioning=True,
                adapt_predictions=True,
                reversal=0.5,
                domain_hidden=(4,),
                fusion="gated",
                width=8,
                hidden=(4,),
                dropout=0.1,
                modality_dropout=0.3,
                auxiliary_heads=True,
                seed=0,
            ),
            VECTORS_BATCH,
            {
                **dict.fromkeys(["label", "left_label", "right_label"], LABELS["label"]),
                **dict.fromkeys(["left_domain", "right_domain", "label_domain"], DOMAINS),
            },
            {
                "loss": {
                    **dict.fromkeys(
                        ["label", "left_label", "right_label", "left_domain", "right_domain"],
                        losses.classification(),
                    ),
                    "label_domain": losses.InformationMaximization(),
                }
            },
        ),
        BuilderCase(
            "build_afe-mmd",
            lambda: mm.build_afe(VECTORS, 3, method="mmd", width=8),
            VECTORS_BATCH,
            fused,
            {"loss": {"label": losses.classification(), "domain": losses.MaximumMeanDiscrepancy()}},
        ),
        BuilderCase(
            "build_adda",
            lambda: mm.build_adda(mm.build_mcnn(VECTORS, 3, width=8), hidden=(4,), rate=0.5),
            VECTORS_BATCH | {f"{key}_source": x[::-1].copy() for key, x in VECTORS_BATCH.items()},
            {},
        ),
    ]
