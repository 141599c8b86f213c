"""Small encoders of the same inputs, for gates that choose before anything expensive has run."""

import dataclasses

import keras

from mm_keras.encoders import ENCODERS
from mm_keras.layers import AnyPresent, ZeroMasked
from mm_keras.modalities import Features, Modality, Tabular, Text
from mm_keras.models.inputs import Entered, encode

CHEAP_WIDTH = 16
PREFIX = "gate_"


def cheap_features(specs: dict[str, Modality], entered: Entered, masks: dict):
    """Returns `{name: (B, N, 16)}` of raw inputs and masks `{name: (B, 1) bool}` of them.

    Pictures, sound as a spectrogram, video and views go through `tiny_cnn`, texts are embedded
    words, tables and features stay what they are.

    Args:
        specs: `{branch: spec}`.
        entered: The inputs of these branches.
        masks: Of the branches, as they are after modality dropout.
    """
    cheap = {name: _cheap(spec) for name, spec in specs.items()}
    encoded = encode(cheap, CHEAP_WIDTH, entered=entered, prefix=PREFIX)
    features = {
        name: ZeroMasked(name=f"{PREFIX}{name}_kept")(x, encoded.masks[name])
        if name in encoded.masks
        else x
        for name, x in encoded.features.items()
    }
    present = {
        name: mask if mask.shape[1] == 1 else AnyPresent(name=f"{PREFIX}{name}_present")(mask)
        for name, mask in masks.items()
    }
    return features, present


def _cheap(spec: Modality) -> Modality:
    """Returns a spec of the same input with a small backbone."""
    if isinstance(spec, Tabular | Features):
        return spec
    if isinstance(spec, Text):
        return dataclasses.replace(
            spec, backbone="Words", embedding=CHEAP_WIDTH, stochastic_depth=0.0, trainable=True
        )
    options = {"shared": True} if hasattr(spec, "shared") else {}
    options |= {"temporal": "mean"} if hasattr(spec, "temporal") else {}
    return dataclasses.replace(
        spec,
        backbone=tiny_cnn(ENCODERS[type(spec)].picture_shape(spec)),
        weights=None,
        preprocessing="tf",
        stochastic_depth=0.0,
        trainable=True,
        **options,
    )


def tiny_cnn(shape: tuple[int, int, int]) -> keras.Model:
    """Two 3×3 convolutions of stride 3, with 8 and 16 channels: what a gate can afford.

    Args:
        shape: `(H, W, C)` in pixels.

    Returns:
        A model from `(B, H, W, C)` to `(B, H/9, W/9, 16)`, sizes rounded up.
    """
    x = inputs = keras.Input(shape, name="pixels")
    for depth, channels in enumerate((8, 16), start=1):
        x = keras.layers.Conv2D(
            channels, 3, strides=3, padding="same", activation="relu", name=f"conv_{depth}"
        )(x)
    return keras.Model(inputs, x, name="tiny_cnn")
