"""Dynamic fusion."""

import keras
import numpy as np

import mm_keras as mm
from mm_keras import layers
from mm_keras.testing.compare import require_close
from tests.conformance.cases import (
    KEY_BIAS,
    LABELS,
    MIXTURE,
    MIXTURE_BATCH,
    POSITIONS,
    PRESENT,
    VECTORS,
    VECTORS_BATCH,
    BuilderCase,
    LayerCase,
    floats,
)


def layer_cases():
    """The layers of dynamic fusion."""
    features = {name: floats(4, 3, 8, seed=index) for index, name in enumerate("abc")}
    mask = {"mask": {"a": PRESENT, "c": POSITIONS}}
    # Zero weights stand behind these at the start.
    idle = {"may_lack_gradient": ("/kernel", "/bias")}
    for name, options, further in (
        ("soft", {}, idle),
        ("soft-units", {"units": 3, "pooling": "attention", "temperature": 0.5}, idle),
        ("top_k", {"selection": "top_k"}, {}),
        ("hard", {"selection": "hard", "gumbel": True, "seed": 1}, {}),
        ("position", {"level": "position", "selection": "hard"}, {}),
    ):
        yield LayerCase(
            f"ModalityGate-{name}",
            lambda options=options: layers.ModalityGate(**options),
            features,
            mask,
            further,
        )
    yield LayerCase("MMTM", layers.MMTM, features, options={"may_lack_gradient": ("squeeze",)})
    yield LayerCase(
        "CrossAttention",
        lambda: layers.CrossAttention(2, dropout=0.1),
        features,
        mask,
        {"may_lack_gradient": KEY_BIAS},
    )
    yield LayerCase(
        "AttentionBottleneck",
        lambda: layers.AttentionBottleneck(2, before=1, heads=2, dropout=0.1),
        features,
        mask,
        {"may_lack_gradient": KEY_BIAS},
    )
    yield LayerCase("ApplyGates", layers.ApplyGates, features, {"gates": floats(4, 3), **mask})
    gated = {"gates": floats(4, 3), "present": POSITIONS}
    yield LayerCase("LoadBalance", lambda: layers.LoadBalance(0.5), gated)
    yield LayerCase("GateCost", lambda: layers.GateCost([1.0, 0.0, 2.5], 0.5), gated)
    logits = {name: floats(4, 5, seed=index) for index, name in enumerate("abc")}
    yield LayerCase(
        "EnergyWeighting", layers.EnergyWeighting, logits, {"mask": {"a": PRESENT, "c": POSITIONS}}
    )


def builder_cases():
    yield BuilderCase(
        "build_dfn",
        lambda: mm.build_dfn(VECTORS, 3, width=8),
        VECTORS_BATCH,
        LABELS,
        {"may_lack_gradient": ("gate/kernel", "gate/bias")},  # behind a zero weight at the start
    )
    yield BuilderCase(
        "build_dfn-routed",
        lambda: mm.build_dfn(
            MIXTURE,
            3,
            selection="hard",
            gate_on="inputs",
            costs={"audio": 1, "image": 2, "extra": 0},
            fusion="gated",
            width=8,
            modality_dropout=0.3,
            auxiliary_heads=True,
            seed=0,
        ),
        MIXTURE_BATCH,
        LABELS | {f"{name}_label": LABELS["label"] for name in MIXTURE},
        {"jit_compile": False, "may_lack_gradient": ("fusion",), "further": [_routes]},
    )
    yield BuilderCase(
        "build_dfn-bottleneck",
        lambda: mm.build_dfn(VECTORS, 3, exchange="bottleneck", width=8, fusion="mean"),
        VECTORS_BATCH,
        LABELS,
        {"may_lack_gradient": ("gate/kernel", "gate/bias", *KEY_BIAS)},
    )
    noise = np.random.default_rng(1)
    yield BuilderCase(
        "build_dfn-backbones",
        lambda: mm.build_dfn(
            {
                "image": mm.Image((8, 8, 1), optional=True),
                "extra": mm.Features((4, 6)),
            },
            3,
            backbones={"image": ["SmallCNN", _one_convolution()]},
            exchange="attention",
            level="position",
            selection="hard",
            gumbel=True,
            balance=0.1,
            fusion="concat",
            width=8,
            modality_dropout=0.3,
            auxiliary_heads=True,
            seed=0,
        ),
        {
            "image": noise.uniform(0, 255, (3, 8, 8, 1)).astype("float32"),
            "image_present": np.array([[True], [False], [True]]),
            "extra": floats(3, 4, 6),
        },
        LABELS
        | {
            f"{branch}_label": LABELS["label"]
            for branch in ("image_SmallCNN", "image_convolution", "extra")
        },
        {"jit_compile": False, "may_lack_gradient": KEY_BIAS},
    )


def _routes(model, batch):
    routed = mm.RoutedPredictor(model).predict(batch)
    whole = mm.inference_model(model).predict(batch, verbose=0)
    require_close(routed, whole, "predictions of RoutedPredictor", 1e-5)


def _one_convolution():
    inputs = keras.Input((8, 8, 1))
    scaled = keras.layers.Rescaling(1 / 255)(inputs)
    outputs = keras.layers.Conv2D(4, 4, 4, activation="tanh")(scaled)
    return keras.Model(inputs, outputs, name="convolution")
