"""Keras 3 layers that tf_keras has too, and how their arguments translate."""

import functools
import inspect
from typing import Any

import keras

from mm_keras.compress.legacy import tf_keras

# Layers that mean the same in both; TFMOT knows how to treat them. All others are carried.
NATIVE = (
    *("Dense", "Embedding", "Conv1D", "Conv2D", "Conv3D"),
    *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
    *("BatchNormalization", "LayerNormalization"),
    *("Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Softmax"),
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    *("GaussianNoise", "GaussianDropout", "ActivityRegularization"),
    *("Flatten", "Reshape", "Permute", "RepeatVector"),
    *("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"),
    *("Cropping1D", "Cropping2D", "Cropping3D"),
    *("UpSampling1D", "UpSampling2D", "UpSampling3D"),
    *("MaxPooling1D", "MaxPooling2D", "MaxPooling3D"),
    *("AveragePooling1D", "AveragePooling2D", "AveragePooling3D"),
    *("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D"),
    *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D"),
    *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"),
)
# Activations that have the same name and the same values in both.
ACTIVATIONS = (
    *("linear", "relu", "sigmoid", "tanh", "softmax", "softplus", "softsign"),
    *("elu", "selu", "silu", "gelu", "exponential"),
)
RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
_LEFT_OUT = {"dtype", "name", "trainable", "quantization_config"}
_ONLY_IN_KERAS_3 = {"rms_scaling": (False,), "data_format": (None, "channels_last")}
_OBJECTS = ("_regularizer", "_constraint")


def native_layer(layer: keras.layers.Layer, name: str) -> tuple[Any, Any] | None:
    """Returns the tf_keras layer that stands for a Keras 3 layer, not yet built.

    Returns:
        The layer, and an activation of Keras 3 that has to follow it where tf_keras has none of the
        same values; or `None` where the layer has to be carried.
    """
    kind = type(layer).__name__
    if kind not in NATIVE or type(layer) is not getattr(keras.layers, kind):
        return None
    if (layer.compute_dtype, layer.variable_dtype) != ("float32", "float32"):
        return None
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        return None
    cls = getattr(tf_keras().layers, kind)
    config, activation = {}, None
    known = _parameters(cls)
    for key, value in layer.get_config().items():
        if key in _LEFT_OUT or key.endswith("_initializer"):  # weights are copied
            continue
        if key == "activation":
            value = _name_of(layer.activation)
            if value is None:
                value, activation = "linear", layer.activation
        elif key == "mask_zero":  # masks are tensors of their own here
            value = False
        elif key.endswith(_OBJECTS) and value is not None:
            value = _plain(value)
        key = RENAMED.get(kind, {}).get(key, key)
        if key in known:
            config[key] = value
        elif value not in _ONLY_IN_KERAS_3.get(key, ()):
            return None
    try:
        return cls(name=name, trainable=layer.trainable, **config), activation
    except (TypeError, ValueError):  # e.g. a regularizer of the user's own
        return None


@functools.cache
def _parameters(cls) -> set[str]:
    """Returns the names that `__init__` takes, also through `**kwargs`."""
    bases = [base for base in cls.__mro__ if base is not object]
    return {name for base in bases for name in inspect.signature(base.__init__).parameters} | {
        "activity_regularizer"
    }


def _name_of(activation) -> str | None:
    for name in ACTIVATIONS:
        if activation is getattr(keras.activations, name):
            return name
    return None


def _plain(config):
    """Returns the configuration of a regularizer or constraint in the form of tf_keras."""
    return {"class_name": config["class_name"], "config": config["config"]}
