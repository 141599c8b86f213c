"""Backbones: the models of keras.applications by name, a small CNN, and any keras.Model."""

import http.client
import os
from typing import NamedTuple

import keras

from mm_keras._checks import nearest
from mm_keras._graphs import is_graph
from mm_keras.layers import Rematerialized
from mm_keras.modalities.base import MODEL, Pictorial


class Application(NamedTuple):
    """What a model of `keras.applications` expects.

    Args:
        preprocessing: The mode of `keras.applications.imagenet_utils.preprocess_input`; `"none"`:
            the model takes pixels 0–255 and rescales them itself.
        minimum: Smallest height and width in pixels.
    """

    preprocessing: str
    minimum: int


APPLICATIONS = {
    **dict.fromkeys(["VGG16", "VGG19"], Application("caffe", 32)),
    **dict.fromkeys(["ResNet50", "ResNet101", "ResNet152"], Application("caffe", 32)),
    **dict.fromkeys(["ResNet50V2", "ResNet101V2", "ResNet152V2"], Application("tf", 32)),
    **dict.fromkeys(["MobileNet", "MobileNetV2"], Application("tf", 32)),
    **dict.fromkeys(["MobileNetV3Small", "MobileNetV3Large"], Application("none", 32)),
    **dict.fromkeys(["DenseNet121", "DenseNet169", "DenseNet201"], Application("torch", 32)),
    **dict.fromkeys(["NASNetMobile", "NASNetLarge"], Application("tf", 32)),
    **dict.fromkeys([f"EfficientNetB{n}" for n in range(8)], Application("none", 32)),
    **dict.fromkeys(
        [f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")],
        Application("none", 32),
    ),
    **dict.fromkeys(
        [f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")],
        Application("none", 32),
    ),
    "InceptionV3": Application("tf", 75),
    "InceptionResNetV2": Application("tf", 75),
    "Xception": Application("tf", 71),
}
SMALL_CNN = "SmallCNN"
SMALL_CNN_MINIMUM = 4
BACKBONES = (SMALL_CNN, *APPLICATIONS)


class Backbone(NamedTuple):
    """A backbone as it goes into a graph.

    Args:
        model: Maps preprocessed pixels to features.
        preprocessing: The mode of `mm_keras.layers.PixelPreprocessing` before it.
        replicate: Whether one channel is replicated to three before it.
    """

    model: keras.Model
    preprocessing: str
    replicate: bool


def pixel_backbone(spec: Pictorial, shape: tuple[int, int, int], name: str) -> Backbone:
    """Makes the 2-D backbone that a spec asks for.

    Args:
        spec: A spec with `backbone`, `weights`, `preprocessing` and `trainable`.
        shape: `(H, W, C)` of the pictures in pixels.
        name: Of the layer in the graph.

    Raises:
        ValueError: For an unknown name, a shape below the backbone's minimum, a number of
            channels it can't take, weights that don't fit, or a backbone that can't be
            rematerialized.
        OSError: If ImageNet weights can't be downloaded.
    """
    check_backbone(spec, shape)
    replicate = spec.backbone in APPLICATIONS and shape[-1] == 1
    if isinstance(spec.backbone, keras.Model):
        model, preprocessing = adopt(spec.backbone, name), "none"
    elif spec.backbone == SMALL_CNN:
        model, preprocessing = small_cnn(shape, name, spec.stochastic_depth, spec.l2), "tf"
    else:
        model = _application(spec, (*shape[:2], 3) if replicate else shape, name)
        preprocessing = APPLICATIONS[spec.backbone].preprocessing
    if spec.weights not in ("auto", "imagenet", None):
        load_weights(model, spec.weights)
    if spec.rematerialize:
        model = rematerialized(model)
    set_trainable(model, spec.trainable)
    if spec.preprocessing != "auto":
        preprocessing = spec.preprocessing
    return Backbone(model, preprocessing, replicate)


def check_backbone(spec: Pictorial, shape: tuple[int, int, int]) -> None:
    """Raises unless the spec's backbone exists and takes pictures of this shape."""
    if isinstance(spec.backbone, keras.Model):
        return
    check_stands_for_no_model(spec.backbone)
    if spec.backbone not in BACKBONES:
        raise ValueError(
            "`backbone` must be 'SmallCNN', the name of a model of keras.applications, or a "
            f"keras.Model.{nearest(spec.backbone, BACKBONES)} "
            f"Received: backbone={spec.backbone!r}."
        )
    minimum, channels = SMALL_CNN_MINIMUM, None
    if spec.backbone in APPLICATIONS:
        minimum, channels = APPLICATIONS[spec.backbone].minimum, (1, 3)
    if min(shape[:2]) < minimum:
        raise ValueError(
            f"`shape` must be at least {minimum}×{minimum} pixels for {spec.backbone}. "
            f"Received: {shape[0]}×{shape[1]}. Resize the pictures, or use "
            f"backbone='SmallCNN', which takes pictures from "
            f"{SMALL_CNN_MINIMUM}×{SMALL_CNN_MINIMUM} pixels."
        )
    if channels is not None and shape[-1] not in channels:
        raise ValueError(
            f"`shape` must have 1 channel (replicated to three) or 3 for {spec.backbone}. "
            f"Received: {shape[-1]} channels. Drop or blend the alpha channel first, or use "
            "backbone='SmallCNN'."
        )
    if spec.weights == "imagenet" and spec.backbone == SMALL_CNN:
        raise ValueError(
            "`weights` must be None or a file for 'SmallCNN', of which there are no ImageNet "
            "weights. Received: weights='imagenet'."
        )


def check_stands_for_no_model(backbone: str) -> None:
    """Raises for the name under which a saved spec remembers a backbone that was a model."""
    if backbone.startswith(MODEL):
        raise ValueError(
            f"`backbone` must be a name or a keras.Model. Received: {backbone!r}, which stands for "
            "a keras.Model that was passed when the spec's model was built: pass that model again."
        )


def _application(spec: Pictorial, shape: tuple[int, int, int], name: str) -> keras.Model:
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "`keras.config.image_data_format()` must be 'channels_last'. "
            f"Received: {keras.config.image_data_format()!r}."
        )
    weights = "imagenet" if spec.weights in ("auto", "imagenet") else None
    make = getattr(keras.applications, spec.backbone)
    try:
        model = make(include_top=False, weights=weights, input_shape=shape)
    except (OSError, http.client.HTTPException) as error:
        raise OSError(_no_download(spec.backbone, error)) from error
    except Exception as error:
        if type(error) is not Exception:  # keras.utils.get_file raises a bare Exception
            raise
        raise OSError(_no_download(spec.backbone, error)) from error
    return adopt(model, name)  # given a name, EfficientNetV2 and ConvNeXt look things up by it


def _no_download(backbone: str, error: Exception) -> str:
    return (
        f"The ImageNet weights of {backbone} could not be downloaded ({error}). Pass "
        "weights=None to start from random weights, or weights='path/to/file.weights.h5' "
        "to load a local file."
    )


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Loads a local weights file into a backbone.

    Raises:
        ValueError: If there is no such file, or it does not fit the backbone.
    """
    if not os.path.isfile(path):
        raise ValueError(
            "`weights` must be 'imagenet', None, or an existing .weights.h5 or .h5 file. "
            f"Received: weights={str(path)!r}."
        )
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"`weights` must be a .weights.h5 or .h5 file that fits {model.name!r}. "
            f"Received: weights={str(path)!r}, which could not be loaded: {error}"
        ) from error


def set_trainable(model: keras.Model, trainable: bool | int) -> None:
    """Freezes a backbone (`False`), leaves it as it is (`True`), or frees its last n layers."""
    if trainable is True:
        return
    if trainable is False:
        model.trainable = False
        return
    if trainable > len(model.layers):
        raise ValueError(
            f"`trainable` must be True, False, or at most the {len(model.layers)} layers of "
            f"{model.name!r}. Received: trainable={trainable}."
        )
    for layer in model.layers[: len(model.layers) - trainable]:
        layer.trainable = False


def rematerialized(model: keras.Model) -> Rematerialized:
    """Returns a model over the same layers and weights that is rematerialized in training.

    Raises:
        ValueError: If the model can't be cut into parts.
    """
    if not is_graph(model):
        raise ValueError(
            "`rematerialize` must be False for a backbone that is no functional keras.Model, since "
            f"it can't be cut. Received: {model.name!r} of type {type(model).__name__}."
        )
    return Rematerialized(model.input, model.output, name=model.name)


def adopt(model: keras.Model, name: str) -> keras.Model:
    """Returns a model over the same layers and weights under another name.

    The name of the user's own model stays as it is. A subclassed model has no graph to wrap and is
    used as it is.
    """
    try:
        inputs, output = model.input, model.output
    except (AttributeError, ValueError):
        return model
    return keras.Model(inputs, output, name=name)


def small_cnn(
    shape: tuple[int, int, int], name: str, stochastic_depth: float = 0.0, l2: float = 0.0
) -> keras.Model:
    """A small residual CNN for small pictures and spectrograms: 16, 32 and 64 channels.

    Each stage is two 3×3 convolutions with BatchNormalization and a residual connection, then a
    2×2 max-pooling, left out where the picture has become too small for it.

    Args:
        shape: `(H, W, C)` in pixels, at least 4×4.
        name: Of the model.
        stochastic_depth: Rate at which a residual branch is dropped, per sample (Huang 2016).
        l2: Weight of the L2 penalty on the kernels.

    Returns:
        A model from `(B, H, W, C)` to `(B, h, w, 64)`.
    """
    regularizer = keras.regularizers.L2(l2) if l2 else None

    def convolve(x, channels, layer_name):
        x = keras.layers.Conv2D(
            channels,
            3,
            padding="same",
            use_bias=False,
            kernel_regularizer=regularizer,
            name=f"{layer_name}_conv",
        )(x)
        # Momentum 0.9: the statistics settle within the few hundred steps of a small training.
        return keras.layers.BatchNormalization(momentum=0.9, name=f"{layer_name}_norm")(x)

    inputs = x = keras.Input(shape, name="pixels")
    for stage, channels in enumerate((16, 32, 64), start=1):
        shortcut = x = keras.layers.ReLU(name=f"stage{stage}_in_relu")(
            convolve(x, channels, f"stage{stage}_in")
        )
        x = convolve(x, channels, f"stage{stage}_out")
        if stochastic_depth:
            x = keras.layers.Dropout(
                stochastic_depth, noise_shape=(None, 1, 1, 1), name=f"stage{stage}_drop"
            )(x)
        x = keras.layers.Add(name=f"stage{stage}_add")([shortcut, x])
        x = keras.layers.ReLU(name=f"stage{stage}_relu")(x)
        if min(x.shape[1:3]) >= 4:
            x = keras.layers.MaxPooling2D(name=f"stage{stage}_pool")(x)
    return keras.Model(inputs, x, name=name)
