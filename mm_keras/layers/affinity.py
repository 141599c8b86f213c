"""How much each query position takes from each key position, whole or in chunks."""

import keras
from keras import ops

from mm_keras.layers.sequence_pooling import masked_max, masked_softmax

SOFTMAX_FORMS = ("embedded_gaussian", "gaussian")
FORMS = (*SOFTMAX_FORMS, "dot_product", "concatenation")


def affinity(form: str, queries, keys, kept=None):
    """Returns the weights `f(a_i, b_j) / C` of the non-local block.

    Args:
        form: One of `FORMS`: softmax of the dot products, dot products over N, or, for
            `"concatenation"`, `relu(q + k)` over N, where q and k have width 1.
        queries: `(B, heads, N_a, d)`.
        keys: `(B, heads, N_b, d)`.
        kept: `(B, N_b)` bool, keys that count, or `None`; N is their number.

    Returns:
        `(B, heads, N_a, N_b)`, 0 for keys that don't count.
    """
    keys = ops.swapaxes(keys, -1, -2)
    scores = queries + keys if form == "concatenation" else ops.matmul(queries, keys)
    mask = None if kept is None else ops.expand_dims(kept, (1, 2))  # (B, 1, 1, N_b)
    if form in SOFTMAX_FORMS:
        return masked_softmax(scores, mask)
    if form == "concatenation":
        scores = ops.relu(scores)
    if mask is not None:
        scores = ops.where(mask, scores, ops.zeros_like(scores))
    return scores / _count(scores, kept)


def context(form: str, queries, keys, values, kept=None):
    """Returns `Σ_j f(a_i, b_j) g(b_j) / C`, `(B, heads, N_a, e)`, of `affinity` and values."""
    return ops.matmul(affinity(form, queries, keys, kept), values)


def chunked_context(form: str, queries, keys, values, kept, chunk: int):
    """Returns what `context` returns without ever holding the N_a × N_b matrix.

    A loop runs over `chunk` queries at a time; the gradient computes each chunk anew instead of
    keeping it. TensorFlow outside of XLA may run up to ten chunks at once. The dot product needs
    no loop: `q (kᵀ g)` has no such matrix to begin with.
    """
    if form == "dot_product":
        if kept is not None:
            values = ops.where(ops.expand_dims(kept, (1, 3)), values, ops.zeros_like(values))
        keys = ops.swapaxes(keys, -1, -2)
        return ops.matmul(queries, ops.matmul(keys, values) / _count(keys, kept))
    _, heads, positions, width = queries.shape
    chunks = -(-positions // chunk)
    queries = ops.pad(queries, ((0, 0), (0, 0), (0, chunks * chunk - positions), (0, 0)))
    queries = ops.reshape(queries, (-1, heads, chunks, chunk, width))

    def of_chunk(queries, keys, values, *kept):
        return context(form, queries, keys, values, *(ops.cast(k, "bool") for k in kept))

    # What the function only closed over would get no gradient; of a bool TensorFlow can't take one.
    others = (keys, values) if kept is None else (keys, values, ops.cast(kept, "float32"))
    anew = keras.remat(of_chunk)
    found = ops.map(lambda part: anew(part, *others), ops.moveaxis(queries, 2, 0))
    found = ops.reshape(ops.moveaxis(found, 0, 2), (-1, heads, chunks * chunk, values.shape[-1]))
    return found[:, :, :positions]


def window_maxima(x, kept, size: int):
    """Returns `(B, ⌈N / size⌉, D)`, the maxima of windows of positions, and which there are.

    Args:
        x: `(B, N, D)`, N fixed.
        kept: `(B, N)` bool, positions that count, or `None`.
        size: Positions in a window; the last one may have fewer.
    """
    _, positions, width = x.shape
    windows = -(-positions // size)
    padding = (0, windows * size - positions)
    if padding[1] and kept is None:
        kept = ops.ones_like(x[..., 0], dtype="bool")
    x = ops.reshape(ops.pad(x, ((0, 0), padding, (0, 0))), (-1, windows, size, width))
    if kept is None:
        return ops.max(x, axis=2), None
    kept = ops.reshape(ops.pad(kept, ((0, 0), padding)), (-1, windows, size))
    return masked_max(x, ops.expand_dims(kept, -1), axis=2), ops.any(kept, axis=-1)


def _count(x, kept):
    """Returns the number of keys, the last axis of `x`, that count; at least 1."""
    if kept is None:
        return ops.cast(ops.convert_to_tensor(ops.shape(x)[-1]), "float32")
    count = ops.sum(ops.cast(kept, "float32"), axis=-1)
    return ops.reshape(ops.maximum(count, 1.0), (-1, 1, 1, 1))
