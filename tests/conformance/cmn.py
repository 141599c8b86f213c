"""Cross-modal matching."""

import numpy as np

import mm_keras as mm
from mm_keras import layers, losses
from mm_keras.layers.similarity import SIMILARITIES
from tests.conformance.cases import (
    LABELS,
    MIXTURE,
    MIXTURE_BATCH,
    POSITIONS,
    PRESENT,
    VECTORS,
    VECTORS_BATCH,
    BuilderCase,
    LayerCase,
    LossCase,
    floats,
)

IDS = np.array([[3], [5], [3], [7]], "int32")


def layer_cases():
    """Returns similarities, what is read off them, and what trains embeddings."""
    features = {"a": floats(4, 3, 8), "b": floats(4, 2, 8, seed=1)}
    mask = {"mask": {"a": POSITIONS, "b": PRESENT}}
    matrix = floats(4, 3, 2)
    embeddings = {n: _unit(floats(4, 6, seed=seed)) for seed, n in enumerate("abc")}
    yield LayerCase("AllPresent", layers.AllPresent, [POSITIONS, PRESENT])
    for kind in SIMILARITIES:
        yield LayerCase(
            f"Similarity-{kind}", lambda kind=kind: layers.Similarity(kind, 5), features, mask
        )
    for kind in ("bilinear", "relation"):
        unequal = {"a": floats(4, 3, 8), "b": floats(4, 2, 5)}
        yield LayerCase(
            f"Similarity-{kind}-unequal", lambda kind=kind: layers.Similarity(kind), unequal
        )
    yield LayerCase(
        "SimilarityAlignment",
        layers.SimilarityAlignment,
        features,
        {"similarity": matrix, **mask},
    )
    for mode in ("statistics", "convolution"):
        for suffix, kwargs in (("", {}), ("-masked", {"rows": POSITIONS, "columns": PRESENT})):
            yield LayerCase(
                f"SimilarityPooling-{mode}{suffix}",
                lambda mode=mode: layers.SimilarityPooling(mode, filters=4),
                matrix,
                kwargs,
            )
    yield LayerCase("UnitEmbedding", layers.UnitEmbedding, floats(4, 6), {"mask": POSITIONS})
    for loss in ("info_nce", "siglip", "vse", "triplet"):
        yield LayerCase(
            f"ContrastiveLearning-{loss}",
            lambda loss=loss: layers.ContrastiveLearning(loss, hardness=0.5, anchor="b"),
            embeddings,
            {"mask": {"b": PRESENT}, "ids": IDS},
        )
    pairs = [embeddings["a"], embeddings["b"], PRESENT]
    yield LayerCase(
        "HardNegatives",
        lambda: layers.HardNegatives(seed=1),
        pairs,
        {"ids": IDS},
        {"fit": False},  # in training it makes three batches of one
    )
    yield LayerCase(
        "MatchLoss",
        layers.MatchLoss,
        floats(6, 1),
        {"kept": np.array([[1], [1], [1], [0], [1], [1]], "bool")},
        {"fit": False},  # in training it makes one batch of three
    )


def loss_cases():
    """Returns the losses of similarity matrices."""
    positives = np.eye(4, dtype="float32")
    positives[0, 2] = positives[2, 0] = 1
    similarity = np.tanh(floats(4, 4))
    far = np.full((4, 4), 6e4, "float32") - 12e4 * positives  # sure, and wrong
    for name in ("InfoNCE", "SigLIP", "VSE", "Triplet"):
        yield LossCase(name, getattr(losses, name), positives, similarity, far)
    yield LossCase("VSE-sum", lambda: losses.VSE(0.3, hardness=0.5), positives, similarity, far)
    yield LossCase("Triplet-all", lambda: losses.Triplet(mining="all"), positives, similarity, far)


def builder_cases():
    """Returns the builder, plain and with all that acts in training."""
    yield BuilderCase(
        "build_cmn",
        lambda: mm.build_cmn(MIXTURE, 3, width=8, embedding=4),
        MIXTURE_BATCH,
        LABELS,
        {"jit_compile": False},
    )
    yield BuilderCase(
        "build_cmn-training",
        lambda: mm.build_cmn(
            VECTORS,
            3,
            similarity="relation",
            matching="convolution",
            similarities=True,
            embedding=4,
            contrastive="siglip",
            pair_ids=True,
            match=True,
            fusion="gated",
            width=8,
            hidden=(4,),
            dropout=0.1,
            modality_dropout=0.3,
            auxiliary_heads=True,
            seed=0,
        ),
        VECTORS_BATCH | {"pair_id": np.array([[0], [1], [2]], "int32")},
        LABELS | {"left_label": LABELS["label"], "right_label": LABELS["label"]},
    )
    yield BuilderCase(
        "build_cmn-statistics",
        lambda: mm.build_cmn(
            VECTORS, 3, width=8, matching="statistics", fusion=None, embedding=None
        ),
        VECTORS_BATCH,
        LABELS,
    )


def _unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype("float32")
