"""The one place that imports tf_keras and the TensorFlow Model Optimization toolkit (TFMOT).

TFMOT works on tf_keras models only, and importing it sets `TF_USE_LEGACY_KERAS` for the whole
process, which would turn `tf.keras` into tf_keras for whatever imports it later. So TensorFlow is
made to choose its Keras first, and the variable is put back afterwards.
"""

import contextlib
import os
from collections.abc import Iterator
from types import ModuleType

import tensorflow as tf

_VARIABLE = "TF_USE_LEGACY_KERAS"


def tf_keras() -> ModuleType:
    """Returns tf_keras, the Keras that TFMOT works on."""
    with unchanged_keras():
        import tf_keras
    return tf_keras


def tfmot() -> ModuleType:
    """Returns tensorflow_model_optimization."""
    with unchanged_keras():
        import tensorflow_model_optimization
    return tensorflow_model_optimization


@contextlib.contextmanager
def unchanged_keras() -> Iterator[None]:
    """Leaves the environment variable and TensorFlow's own choice of Keras as they were."""
    before = os.environ.get(_VARIABLE)
    getattr(tf, "keras").layers  # noqa: B009, B018 — chosen now, by the variable as it is
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before
