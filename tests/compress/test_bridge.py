"""Keras 3 graphs rebuilt in tf_keras, and back."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.compress import native
from mm_keras.compress.bridge import to_tf_keras
from tests.compress.graphs import GRAPHS
from tests.compress.roundtrip import check_roundtrip


@pytest.mark.parametrize("name", GRAPHS)
def test_both_sides_agree_and_weights_come_back(name):
    keras.utils.set_random_seed(0)
    check_roundtrip(GRAPHS[name]())


def kinds(bridge):
    return {name: bridged.kind for name, bridged in bridge.layers.items()}
