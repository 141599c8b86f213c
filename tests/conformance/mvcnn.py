"""Several views."""

import keras
import numpy as np

import mm_keras as mm
from mm_keras import layers
from mm_keras.layers.view_pooling import VIEW_POOLINGS
from tests.conformance.cases import (
    HEADS,
    HEADS_LABELS,
    HEADS_LOSSES,
    LABELS,
    POSITIONS,
    PRESENT,
    BuilderCase,
    LayerCase,
    floats,
)


def layer_cases():
    """Returns what acts on views."""
    return [
        LayerCase("ViewDropout", lambda: layers.ViewDropout(0.5, seed=1), POSITIONS),
        LayerCase("ViewMask", layers.ViewMask, floats(4, 3, 5)),
        LayerCase("ViewMask-present", layers.ViewMask, floats(4, 3, 5), {"present": PRESENT}),
        *[
            LayerCase(
                f"ViewPooling-{mode}{suffix}",
                lambda mode=mode: layers.ViewPooling(mode, sharpness=2.0),
                floats(4, 3, 2, 2, 5),
                call_kwargs,
            )
            for mode in VIEW_POOLINGS
            for suffix, call_kwargs in (
                ("", {}),
                ("-masked", {"mask": POSITIONS, "return_saliency": True}),
            )
        ],
    ]


def builder_cases():
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 2, 8, 8, 1)).astype("float32")

    def views(**options):
        x = inputs = keras.Input((8, 8, 1))
        x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="middle")(x)
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, name="last")(x))
        return mm.Views(2, (8, 8, 1), backbone=keras.Model(inputs, x, name="mine"), **options)

    yield BuilderCase(
        "build_mvcnn",
        lambda: mm.build_mvcnn(
            {"views": views(optional_views=True), "extra": mm.Features(6)},
            HEADS,
            view_pooling="attention",
            pool_after="middle",
            saliency=True,
            width=8,
        ),
        {
            "views": pixels,
            "views_present": np.array([[1, 1], [0, 1], [0, 0]], "bool"),
            "extra": floats(3, 6),
        },
        HEADS_LABELS,
        {"jit_compile": False, "loss": HEADS_LOSSES},
    )
    yield BuilderCase(
        "build_mvcnn-training",
        lambda: mm.build_mvcnn(
            {"views": views(optional=True), "extra": mm.Features(6)},
            3,
            view_pooling="logsumexp",
            view_dropout=0.3,
            fusion="gated",
            width=8,
            hidden=(4,),
            dropout=0.1,
            modality_dropout=0.3,
            auxiliary_heads=True,
            seed=0,
        ),
        {"views": pixels, "views_present": PRESENT[:3], "extra": floats(3, 6)},
        LABELS | {"views_label": LABELS["label"], "extra_label": LABELS["label"]},
        {"jit_compile": False},
    )
