"""The networks of the speed benchmarks by `mm.build_mcnn`."""

from keras_models import CLASSES, LENET, MOBILENET, PAIR, WIDTH, lenet

import mm_keras as mm


def small():
    """Two `SmallCNN` branches on one channel each, concatenated."""
    specs = {name: mm.Image(shape, backbone="SmallCNN") for name, shape in PAIR.items()}
    return mm.build_mcnn(specs, CLASSES)


def av_mnist():
    """MultiBench's LeNets and its head, behind a projection of each branch.

    `build_mcnn` always projects to a common width: two dense layers more than were published. 120
    makes the head as wide as it was.
    """
    specs = {
        name: mm.Image(shape, backbone=lenet(shape, blocks, name))
        for name, (shape, blocks) in LENET.items()
    }
    return mm.build_mcnn(specs, CLASSES, width=120, hidden=(100,))


def mobilenet(frozen=False):
    """Two MobileNetV2 towers."""
    image = mm.Image(MOBILENET, backbone="MobileNetV2", weights=None, trainable=not frozen)
    return mm.build_mcnn({"left": image, "right": image}, CLASSES, width=WIDTH)
