"""The dtype policy of what leaves the range of float16."""

import keras


def wide_policy(layer: keras.layers.Layer) -> str | keras.DTypePolicy:
    """Returns the policy for products of features within a layer: float32 in place of float16.

    Features of a few hundred are nothing special, and their products are beyond 65504. bfloat16
    has the range of float32: there, as in float32, the policy is the layer's own.
    """
    return "float32" if layer.compute_dtype == "float16" else layer.dtype_policy
