"""What every spec has: frozen, serialisable options; `Pictorial` adds those of a 2-D backbone."""

import dataclasses
import os
from typing import Any, ClassVar

import keras

from mm_keras._checks import check_bool, check_choice, check_int, check_number

PACKAGE = "mm_keras"
MODEL = "model:"  # stands before the name of a backbone that was passed as a keras.Model


def spec(cls):
    """Makes a frozen dataclass that Keras can serialise."""
    return keras.saving.register_keras_serializable(PACKAGE)(
        dataclasses.dataclass(frozen=True)(cls)
    )


def _tuple(value: Any) -> Any:
    """Lists (from JSON or YAML) become tuples; whatever else is left for the checks."""
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Modality:
    """Options that every modality has.

    Args:
        optional: Whether samples may lack this modality. If so the model has one more input,
            `<name>_present`, `(B, 1)` bool; absent samples carry zeros and have no effect.
        trainable: `True`, `False`, or an integer n: only the last n layers of the backbone train.
            Frozen BatchNormalization runs in inference mode.
        activation: Name of the activation after the projection to the common width, or `None`.
        normalization: `"batch"`, `"layer"` or `None`: normalises the projection.
        dropout: Rate of dropout on the features, in [0, 1).
        l2: Weight of the L2 penalty on the kernels of the projection and of this package's own
            backbones.
    """

    optional: bool = False
    trainable: bool | int = True
    activation: str | None = "relu"
    normalization: str | None = None
    dropout: float = 0.0
    l2: float = 0.0

    units: ClassVar[str] = ""
    dtype: ClassVar[str] = "float32"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _tuple(getattr(self, field.name)))
        check_bool("optional", self.optional)
        if not isinstance(self.trainable, bool):
            check_int("trainable", self.trainable)
        check_choice("normalization", self.normalization, [None, "batch", "layer"])
        check_number("dropout", self.dropout, below=1.0)
        check_number("l2", self.l2)
        if self.activation is not None and not isinstance(self.activation, str):
            raise TypeError(
                "`activation` must be the name of a Keras activation, or None. "
                f"Received: activation={self.activation!r}."
            )
        keras.activations.get(self.activation)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch axis."""
        raise NotImplementedError

    @property
    def presence_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample of the presence input; `None`: there is none."""
        return (1,) if self.optional else None

    def required(self) -> "Modality":
        """Returns this spec with nothing optional: what an encoder's weights depend on."""
        return dataclasses.replace(self, optional=False)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this spec again, as plain JSON values."""
        config = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, keras.Model):
                value = keras.saving.serialize_keras_object(value)
            config[field.name] = value
        return config

    def outline(self) -> "Modality":
        """Returns this spec with a backbone that is a keras.Model replaced by `"model:<name>"`.

        A graph keeps the outline beside the backbone itself, rather than store that twice.
        """
        backbone = getattr(self, "backbone", None)
        if not isinstance(backbone, keras.Model):
            return self
        return dataclasses.replace(self, backbone=MODEL + backbone.name)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Modality":
        """Makes a spec from `get_config()`."""
        config = dict(config)
        if isinstance(config.get("backbone"), dict):
            config["backbone"] = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**config)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictorial(Modality):
    """Options of every modality that a 2-D backbone encodes.

    Args:
        backbone: Name of a model of `keras.applications`, `"SmallCNN"`, or any `keras.Model` that
            maps images to features; a model passed to two modalities is shared by them.
        weights: `"auto"` (ImageNet for `keras.applications`, none for others), `"imagenet"`,
            `None` (random), or the path of a weights file (`.weights.h5` or `.h5`).
        preprocessing: `"auto"` (what the named backbone was trained with; `"none"` for a model),
            `"tf"` (−1…1), `"torch"` (ImageNet mean and deviation), `"caffe"` (BGR, ImageNet mean
            subtracted) or `"none"` (0–255).
        stochastic_depth: Rate at which residual branches of `"SmallCNN"` are dropped, per sample.
        rematerialize: Whether training computes the backbone's activations a second time for the
            backward pass rather than keep them (gradient checkpointing, Chen 2016): less memory,
            more time, the same numbers. For backbones that have a graph.
    """

    backbone: Any = "MobileNetV2"
    weights: str | None = "auto"
    preprocessing: str = "auto"
    stochastic_depth: float = 0.0
    rematerialize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bool("rematerialize", self.rematerialize)
        if not isinstance(self.backbone, str | keras.Model):
            raise TypeError(
                "`backbone` must be the name of a backbone or a keras.Model. "
                f"Received: backbone={self.backbone!r}."
            )
        if isinstance(self.weights, os.PathLike):
            object.__setattr__(self, "weights", os.fspath(self.weights))
        if self.weights is not None and not isinstance(self.weights, str):
            raise TypeError(
                "`weights` must be 'auto', 'imagenet', None, or the path of a weights file. "
                f"Received: weights={self.weights!r}."
            )
        if isinstance(self.backbone, keras.Model) and self.weights not in ("auto", None):
            raise ValueError(
                "`weights` must be None for a backbone that is a keras.Model: load them into the "
                f"model before it is passed. Received: weights={self.weights!r}."
            )
        check_choice("preprocessing", self.preprocessing, ["auto", "tf", "torch", "caffe", "none"])
        check_number("stochastic_depth", self.stochastic_depth, below=1.0)
        if self.stochastic_depth and self.backbone != "SmallCNN":
            raise ValueError(
                "`stochastic_depth` must be 0 for a backbone other than 'SmallCNN', whose residual "
                f"branches it drops. Received: stochastic_depth={self.stochastic_depth}, "
                f"backbone={self.backbone!r}."
            )
