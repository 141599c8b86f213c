"""What losses that take domains for labels have in common."""

from keras import ops


def check_domains(y_true, y_pred):
    """Returns domain numbers as `(B,)` int32.

    Args:
        y_true: `(B,)` or `(B, 1)`.
        y_pred: `(B, …)`, that they belong to.
    """
    y_true = ops.convert_to_tensor(y_true)
    if len(y_true.shape) not in (1, 2) or (len(y_true.shape) == 2 and y_true.shape[-1] != 1):
        raise ValueError(
            "`y_true` must be domain numbers (B,) or (B, 1). "
            f"Received shape: {tuple(y_true.shape)}, for y_pred of shape {tuple(y_pred.shape)}."
        )
    return ops.cast(ops.reshape(y_true, (-1,)), "int32")
