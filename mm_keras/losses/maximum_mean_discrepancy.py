"""How far the features of each source are from those of the target."""

import keras
from keras import ops

from mm_keras._checks import check_int
from mm_keras.losses.domains import check_domains

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def maximum_mean_discrepancy(y_true, y_pred, target=1):
    """The squared discrepancy of each source and the target, averaged over the sources.

    `MMD² = mean k(s, s) + mean k(t, t) − 2 mean k(s, t)`, k being the mean of five Gaussians
    `e^{−‖x−y‖² / (c · d)}`, with d the mean squared distance within the batch (no gradient passes
    it) and c = ¼, ½, 1, 2, 4.

    Args:
        y_true: Domain of each sample, `(B,)` or `(B, 1)`: 0 to `target`.
        y_pred: Features `(B, D)`.
        target: Number of the target domain: the last one.

    Returns:
        `(B,)`, the same for each sample, float32 also for float16 features; 0 where the batch lacks
        the target, or all sources.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    x = ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32"))
    member = ops.cast(ops.one_hot(check_domains(y_true, x), target + 1), x.dtype)
    count = ops.sum(member, axis=0)
    share = member / ops.maximum(count, 1.0)
    kernel = _kernel(x)
    means = ops.matmul(ops.transpose(share), ops.matmul(kernel, share))  # between domains
    own = ops.diagonal(means)
    squares = own[:target] + own[target] - 2.0 * means[:target, target]
    there = ops.cast((count[:target] > 0) & (count[target] > 0), x.dtype)
    value = ops.sum(there * squares) / ops.maximum(ops.sum(there), 1.0)
    return value * ops.ones_like(x[:, 0])


def _kernel(x):
    """The kernel `(B, B)` of all pairs."""
    # About the mean: products of large features would swallow small distances.
    x = x - ops.stop_gradient(ops.mean(x, axis=0, keepdims=True))
    norms = ops.sum(ops.square(x), axis=-1, keepdims=True)
    distances = norms + ops.transpose(norms) - 2.0 * ops.matmul(x, ops.transpose(x))
    distances = ops.maximum(distances, 0.0)
    width = ops.maximum(ops.stop_gradient(ops.mean(distances)), 1e-12)
    return sum(ops.exp(-distances / (scale * width)) for scale in SCALES) / len(SCALES)


@keras.saving.register_keras_serializable("mm_keras")
class MaximumMeanDiscrepancy(keras.losses.Loss):
    """The distance between the features' distributions in the source and in the target.

    It takes domains for labels and features for predictions, as in the output `"domain"` of
    `mm.build_afe(…, method="mmd")`: where the features of both domains are distributed alike it is
    0. There is no discriminator to be trained, and so no game that may fail. With several sources
    it is the mean of their distances from the target.

    Args:
        target: Number of the target domain: the last one.
        reduction: As in `keras.losses.Loss`.
        name: Of the loss.

    Example:

    >>> import mm_keras as mm
    >>> loss = mm.losses.MaximumMeanDiscrepancy()
    >>> domains = [0, 0, 1, 1]
    >>> round(float(loss(domains, [[1.0], [2.0], [2.0], [1.0]])), 4)
    0.0
    >>> round(float(loss(domains, [[1.0], [2.0], [5.0], [6.0]])), 4)
    1.3451

    Reference: Gretton et al., A Kernel Two-Sample Test, 2012; Long et al., Learning Transferable
    Features with Deep Adaptation Networks, 2015.
    """

    def __init__(
        self,
        target: int = 1,
        reduction: str = "sum_over_batch_size",
        name: str = "maximum_mean_discrepancy",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        check_int("target", target)
        self.target = target

    def call(self, y_true, y_pred):
        return maximum_mean_discrepancy(y_true, y_pred, self.target)

    def get_config(self):
        return {**super().get_config(), "target": self.target}
