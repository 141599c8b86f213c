"""The networks of the speed benchmarks as one writes them by hand, in plain Keras."""

import keras
from keras import layers

CLASSES = 10
PAIR = {"image": (28, 28, 1), "spectrogram": (32, 32, 1)}
# Of MultiBench, examples/multimedia/avmnist_simple_late_fusion.py (Liang et al., 2021).
LENET = {"image": ((28, 28, 1), 3), "spectrogram": ((112, 112, 1), 5)}
CHANNELS, HIDDEN = 6, 100
MOBILENET = (96, 96, 3)
WIDTH = 128


def small():
    """The graph that `build_mcnn` makes of two `SmallCNN` branches."""
    inputs, features = [], []
    for name, shape in PAIR.items():
        pixels = keras.Input(shape, name=name)
        x = layers.Rescaling(1 / 127.5, -1.0)(pixels)
        x = layers.Conv2D(WIDTH, 1, activation="relu")(small_cnn(shape)(x))
        inputs.append(pixels)
        features.append(layers.GlobalAveragePooling2D()(x))
    outputs = layers.Dense(CLASSES, activation="softmax")(layers.Concatenate()(features))
    return keras.Model(inputs, outputs)


def small_cnn(shape):
    inputs = x = keras.Input(shape)
    for channels in (16, 32, 64):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        shortcut = x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(layers.Add()([shortcut, x]))
        x = layers.MaxPooling2D()(x)
    return keras.Model(inputs, x)


def av_mnist():
    """MultiBench's late fusion as published: two LeNets, concatenation, one hidden layer."""
    inputs = [keras.Input(shape, name=name) for name, (shape, _) in LENET.items()]
    towers = [lenet(shape, blocks, f"{name}_lenet") for name, (shape, blocks) in LENET.items()]
    x = layers.Concatenate()([tower(x) for tower, x in zip(towers, inputs, strict=True)])
    x = layers.Dense(HIDDEN, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def lenet(shape, blocks, name):
    """A 5×5 convolution, then `blocks` of 3×3 that double the channels, each halving the picture.

    Options of the layers that matter to the result are PyTorch's, as published.
    """
    inputs = x = keras.Input(shape)
    for block in range(blocks + 1):
        x = layers.Conv2D(
            CHANNELS * 2**block,
            3 if block else 5,
            padding="same",
            use_bias=False,
            kernel_initializer="he_uniform",
        )(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))
        x = layers.MaxPooling2D()(x)
    return keras.Model(inputs, layers.Flatten()(x), name=name)


def mobilenet(frozen=False):
    """The graph that `build_mcnn` makes of two MobileNetV2 towers."""
    inputs, features = [], []
    for name in ("left", "right"):
        pixels = keras.Input(MOBILENET, name=name)
        backbone = keras.applications.MobileNetV2(MOBILENET, include_top=False, weights=None)
        backbone = keras.Model(backbone.input, backbone.output, name=f"{name}_mobilenet")
        backbone.trainable = not frozen
        x = layers.Rescaling(1 / 127.5, -1.0)(pixels)
        x = layers.Conv2D(WIDTH, 1, activation="relu")(backbone(x))
        inputs.append(pixels)
        features.append(layers.GlobalAveragePooling2D()(x))
    outputs = layers.Dense(CLASSES, activation="softmax")(layers.Concatenate()(features))
    return keras.Model(inputs, outputs)
