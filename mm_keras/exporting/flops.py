"""What a model costs to run."""

import keras
import tensorflow as tf

from mm_keras.models import inference_model


def flops(model: keras.Model) -> int:
    """Returns the floating-point operations of one prediction on one sample, by the shipped graph.

    TensorFlow's profiler counts them: a multiplication and an addition are two. What runs in loops,
    such as an RNN, is counted once, and operations that it knows no count of, not at all.

    Args:
        model: A functional model; what only training needs is not counted.

    Raises:
        TypeError: If `model` is no functional model.

    Example:

    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(100)}, 10, width=50)
    >>> round(mm.exporting.flops(model), -3)  # 2 · (100 · 50 + 50 · 10), and a few
    11000
    """
    shipped = inference_model(model)
    specs = keras.tree.map_structure(
        lambda x: tf.TensorSpec([1, *x.shape[1:]], x.dtype), shipped.input
    )
    graph = tf.function(lambda x: shipped(x, training=False)).get_concrete_function(specs).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # it says that this profiler is an old one; there is no newer for it
    try:
        return tf.compat.v1.profiler.profile(graph, cmd="op", options=options).total_float_ops
    finally:
        logger.setLevel(level)
