"""One extractor per modality, concatenated."""

import mm_keras as mm
from tests.conformance.cases import (
    LABELS,
    MIXTURE,
    MIXTURE_BATCH,
    VECTORS,
    VECTORS_BATCH,
    BuilderCase,
)


def builder_cases():
    """Returns the builder, plain and with all that acts in training."""
    return [
        BuilderCase(
            "build_mcnn",
            lambda: mm.build_mcnn(MIXTURE, 3, width=8),
            MIXTURE_BATCH,
            LABELS,
            {"jit_compile": False},  # XLA takes long over convolutions; the next case has it
        ),
        BuilderCase(
            "build_mcnn-training",
            lambda: mm.build_mcnn(
                VECTORS,
                3,
                fusion="gated",
                width=8,
                hidden=(4,),
                dropout=0.1,
                modality_dropout=0.3,
                auxiliary_heads=True,
                seed=0,
            ),
            VECTORS_BATCH,
            LABELS | {"left_label": LABELS["label"], "right_label": LABELS["label"]},
        ),
        BuilderCase(
            "build_mcnn-modulation",
            lambda: mm.build_mcnn(
                VECTORS, 3, width=8, auxiliary_heads=True, gradient_modulation=0.5
            ),
            VECTORS_BATCH,
            LABELS | {"left_label": LABELS["label"], "right_label": LABELS["label"]},
        ),
    ]
