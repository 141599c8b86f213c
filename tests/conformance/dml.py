"""Mutual learning."""

import mm_keras as mm
from mm_keras import layers
from tests.conformance.cases import (
    HEADS,
    HEADS_LABELS,
    HEADS_LOSSES,
    LABELS,
    MIXTURE,
    MIXTURE_BATCH,
    PRESENT,
    VECTORS,
    VECTORS_BATCH,
    BuilderCase,
    LayerCase,
    floats,
)


def layer_cases():
    """Returns the layers over several students."""
    students = {name: floats(4, 5, seed=index) for index, name in enumerate("abc")}
    return [
        *[
            LayerCase(
                f"Ensemble-{activation}-{kind}",
                lambda activation=activation, logits=logits: layers.Ensemble(activation, logits),
                students,
                {"mask": {"b": PRESENT}},
            )
            for activation in ("softmax", "sigmoid", "linear")
            for kind, logits in (("predictions", False), ("logits", True))
        ],
        *[
            LayerCase(
                f"MutualLearning-{activation}-{target}",
                lambda activation=activation, target=target: layers.MutualLearning(
                    activation, target=target
                ),
                students,
                {"mask": {"b": PRESENT}},
            )
            for activation in ("softmax", "sigmoid", "linear")
            for target in ("peers", "mean")
        ],
    ]


def builder_cases():
    """Returns the builder, with a student a modality and with peers."""
    return [
        BuilderCase(
            "build_dml",
            lambda: mm.build_dml(MIXTURE, 3, width=8),
            MIXTURE_BATCH,
            dict.fromkeys(MIXTURE, LABELS["label"]),
            {"jit_compile": False},
        ),
        BuilderCase(
            "build_dml-peers",
            lambda: mm.build_dml(
                VECTORS,
                HEADS,
                peers=3,
                fusion="gated",
                width=8,
                hidden=(4,),
                dropout=0.1,
                modality_dropout=0.3,
                seed=0,
            ),
            VECTORS_BATCH,
            {f"peer_{k}_{head}": y for k in (1, 2, 3) for head, y in HEADS_LABELS.items()},
            {
                "loss": {
                    f"peer_{k}_{h}": loss for k in (1, 2, 3) for h, loss in HEADS_LOSSES.items()
                }
            },
        ),
        BuilderCase(
            "build_dml-shared",
            lambda: mm.build_dml(
                VECTORS, 3, peers=2, share_peers=True, temperature=2.0, target="mean", width=8
            ),
            VECTORS_BATCH,
            dict.fromkeys(["peer_1", "peer_2"], LABELS["label"]),
            {"jit_compile": False},
        ),
    ]
