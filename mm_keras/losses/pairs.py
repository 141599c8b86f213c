"""What losses on similarity matrices share: their arguments, and both directions of a match."""

from keras import ops

LOWEST = -1e30  # far below any similarity, and still finite in float32


def check_pairs(y_true, y_pred, mask=None):
    """Returns positives `(B, B)` bool, similarities float32 and the pairs that count, bool.

    Args:
        y_true: `(B, B)`: 1 or true where row i and column j belong together.
        y_pred: `(B, B)`: how similar they are.
        mask: Optional, `(B, B)` bool; `None`: every pair counts.
    """
    similarity = ops.cast(ops.convert_to_tensor(y_pred), "float32")
    positives = ops.cast(ops.convert_to_tensor(y_true), "bool")
    for argument, tensor in (("y_true", positives), ("y_pred", similarity)):
        shape = tuple(tensor.shape)
        square = len(shape) == 2 and (None in shape or shape[0] == shape[1])
        if not square:
            raise ValueError(
                f"`{argument}` must be a matrix (B, B): a row for each sample of one modality, a "
                f"column for each of the other. Received shape: {shape}."
            )
    mask = ops.ones_like(positives) if mask is None else ops.cast(mask, "bool")
    return ops.logical_and(positives, mask), similarity, mask


def both_directions(one_direction, positives, similarity, mask):
    """Returns the sum over rows and columns of sample i, and in how many of them it counts.

    Args:
        one_direction: A function of three matrices to `(B,)`, one value a row, zero for a row
            without a positive.
        positives: As `check_pairs` returns them.
        similarity: Likewise.
        mask: Likewise.
    """
    turned = [ops.transpose(matrix) for matrix in (positives, similarity, mask)]
    values = one_direction(positives, similarity, mask) + one_direction(*turned)
    counted = sum(ops.cast(ops.any(positives, axis=axis), "float32") for axis in (0, 1))
    return values, counted


def mean_over(values, kept, axis=-1):
    """Returns the mean of the values that are kept, 0 where there is none."""
    kept = ops.cast(kept, "float32")
    total = ops.sum(values * kept, axis=axis)
    return total / ops.maximum(ops.sum(kept, axis=axis), 1.0)
