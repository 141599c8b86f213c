"""How alike the positions of two modalities are."""

import keras
from keras import ops

from mm_keras._checks import check_choice, check_int
from mm_keras.layers.multimodal import MultimodalLayer
from mm_keras.layers.unit_embedding import SMALLEST, unit

SIMILARITIES = ("cosine", "euclidean", "dot", "bilinear", "relation", "order")
UNEQUAL = ("bilinear", "relation")  # that take two widths


@keras.saving.register_keras_serializable("mm_keras")
class Similarity(MultimodalLayer):
    """Compares every position of one modality with every position of another.

    Args:
        kind: `"cosine"`; `"euclidean"`: −‖a − b‖²; `"dot"`: aᵀb; `"bilinear"`: aᵀWb; `"relation"`:
            wᵀ relu(U a + V b + c), a learnt relation; `"order"`: −‖max(0, b − a)‖, which is 0
            where a is at least b in every coordinate, and not symmetric. All but `"bilinear"` and
            `"relation"` need one width.
        units: Width of the hidden layer of `"relation"`.

    Call arguments:
        features: `{name: (B, N, D)}` of two modalities: a is the first of the sorted names.
        mask: Optional, `{name: (B, N) or (B, 1) bool}`; a name left out is present throughout.
            What it leaves out has similarity 0 to everything, and gets no gradient.

    Output shape:
        `(B, N_a, N_b)`, float32.

    Raises:
        ValueError: If an argument doesn't fit, or there are not two modalities of fitting widths.
        TypeError: If `features` is no dict.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> features = {"image": np.ones((2, 4, 8)), "text": np.ones((2, 6, 8))}
    >>> tuple(mm.layers.Similarity("cosine")(features).shape)
    (2, 4, 6)

    Reference: Vinyals et al., Matching Networks, 2016; Sung et al., Learning to Compare: Relation
    Network, 2018; Vendrov et al., Order-Embeddings, 2016.
    """

    minimum = 2

    def __init__(self, kind: str = "cosine", units: int = 64, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_choice("kind", kind, SIMILARITIES)
        check_int("units", units)
        self.kind = kind
        self.units = units

    def build(self, features_shape):
        self.names = self.check_features(features_shape)
        check_pair(type(self).__name__, self.names)
        widths = {name: features_shape[name][-1] for name in self.names}
        if self.kind not in UNEQUAL:
            self.check_equal_widths(widths)
        a, b = widths.values() if list(widths) == self.names else (widths[n] for n in self.names)
        if self.kind == "bilinear":
            self.kernel = self._weight("kernel", (a, b))
        elif self.kind == "relation":
            self.kernels = [
                self._weight(f"kernel_{s}", (w, self.units))
                for s, w in zip("ab", (a, b), strict=True)
            ]
            self.bias = self._weight("bias", (self.units,), "zeros")
            self.score = self._weight("score", (self.units, 1))

    def _weight(self, name, shape, initializer="glorot_uniform"):
        return self.add_weight(
            shape=shape, initializer=initializer, dtype="float32", autocast=False, name=name
        )

    def call(self, features, mask=None):
        mask = self.given(mask)
        a, b = (cleared(features[name], mask.get(name)) for name in self.names)
        similarity = getattr(self, f"_{self.kind}")(a, b)
        kept = pair_mask(*(mask.get(name) for name in self.names))
        return (
            similarity if kept is None else ops.where(kept, similarity, ops.zeros_like(similarity))
        )

    def _cosine(self, a, b):
        return self._dot(unit(a), unit(b))

    def _dot(self, a, b):
        return ops.matmul(a, ops.transpose(b, (0, 2, 1)))

    def _euclidean(self, a, b):
        squares = [ops.sum(ops.square(x), axis=-1) for x in (a, b)]
        return ops.minimum(2 * self._dot(a, b) - squares[0][:, :, None] - squares[1][:, None], 0.0)

    def _bilinear(self, a, b):
        return self._dot(ops.matmul(a, self.kernel), b)

    def _relation(self, a, b):
        a, b = (ops.matmul(x, kernel) for x, kernel in zip((a, b), self.kernels, strict=True))
        hidden = ops.relu(a[:, :, None] + b[:, None] + self.bias)
        return ops.squeeze(ops.matmul(hidden, self.score), axis=-1)

    def _order(self, a, b):
        beyond = ops.sum(ops.square(ops.relu(b[:, None] - a[:, :, None])), axis=-1)
        positive = beyond > SMALLEST  # the root has no finite gradient at 0
        root = ops.sqrt(ops.where(positive, beyond, ops.ones_like(beyond)))
        return -ops.where(positive, root, ops.zeros_like(root))

    def compute_output_spec(self, features, mask=None):
        a, b = (features[name].shape for name in sorted(features))
        return keras.KerasTensor((a[0], a[1], b[1]), dtype="float32")

    def get_config(self):
        return {**super().get_config(), "kind": self.kind, "units": self.units}


def check_pair(kind: str, names) -> None:
    """Raises unless there are two names."""
    if len(names) != 2:
        raise ValueError(
            f"`features` of {kind} must have two modalities, which it compares. For more, make one "
            f"for each pair. Received: {sorted(names)}."
        )


def cleared(x, mask=None):
    """Returns float32 features `(B, N, D)`, zeros where the mask leaves them out."""
    x = ops.cast(x, "float32")
    if mask is None:
        return x
    return ops.where(ops.expand_dims(ops.cast(mask, "bool"), -1), x, ops.zeros_like(x))


def pair_mask(a=None, b=None):
    """Returns `(B, N_a, N_b)` bool, or one that broadcasts to it; `None` where there is no mask."""
    masks = [
        ops.expand_dims(ops.cast(mask, "bool"), axis)
        for mask, axis in ((a, 2), (b, 1))
        if mask is not None
    ]
    if len(masks) == 2:
        return ops.logical_and(*masks)
    return masks[0] if masks else None
