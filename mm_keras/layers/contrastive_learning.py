"""Embeddings of several modalities that learn to meet."""

import itertools
import math
from collections.abc import Mapping

import keras
from keras import ops

from mm_keras._checks import check_choice, check_number, check_positive
from mm_keras.layers.training_only import TrainingOnly
from mm_keras.losses.info_nce import info_nce
from mm_keras.losses.siglip import siglip
from mm_keras.losses.triplet import triplet
from mm_keras.losses.vse import check_hardness, vse

CONTRASTS = ("info_nce", "siglip", "vse", "triplet")
TEMPERATURES = {"info_nce": 0.07, "siglip": 0.1}
BIAS = -10.0
LARGEST_SCALE = 100.0


@keras.saving.register_keras_serializable("mm_keras")
class ContrastiveLearning(TrainingOnly, keras.layers.Layer):
    """Adds, in training, a loss that draws together what belongs together in a batch.

    For every pair of modalities the similarity matrix `S = U Vᵀ` of the batch, `(B, B)`, goes into
    a contrastive loss; the losses of all pairs are averaged. Each sample's partner is that of its
    own row, and, with `ids`, those of all rows that bear its id. The temperature is learnt, as
    1/τ = exp(`log_scale`), at most 100; with `"siglip"` so is the bias.

    The larger the batch, the more negatives. What comes in passes unchanged, and
    `mm.inference_model` removes the layer.

    Args:
        loss: `"info_nce"`, `"siglip"`, `"vse"` or `"triplet"`, as in `mm.losses`.
        weight: Of the loss.
        temperature: τ at the start, above 0; `None`: 0.07 for `"info_nce"`, 0.1 for `"siglip"`.
            The others have none.
        margin: m of `"vse"` and `"triplet"`, at least 0.
        hardness: Of `"vse"`: where the non-trainable weight `current_hardness` starts, from 0, the
            sum over all negatives, to 1, the hardest alone. `mm.training.HardNegativeWarmUp`
            raises it from 0.
        anchor: The modality that all others meet: only its pairs have a loss, so that their number
            grows with that of modalities, not with its square. `None`: all pairs.

    Call arguments:
        inputs: `{modality: (B, E)}` of length 1, of two modalities or more.
        mask: Optional, `{modality: (B, N) or (B, 1) bool}`; a name left out is present throughout.
            A sample that lacks a modality is nobody's partner and nobody's negative there.
        ids: Optional, `(B, 1)` integers: rows of one id are positives of each other.

    Output shape:
        That of `inputs`.

    Raises:
        ValueError: If an argument, or the inputs' shapes, don't fit.
        TypeError: If `inputs` is no dict.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> layer = mm.layers.ContrastiveLearning("info_nce", temperature=1.0)
    >>> embeddings = {"image": np.eye(4), "text": np.eye(4)}
    >>> outputs = layer(embeddings, training=True)
    >>> round(float(layer.losses[0]), 3)  # ln(1 + 3/e)
    0.744

    Reference: Radford et al., CLIP, 2021; Zhai et al., SigLIP, 2023; Faghri et al., VSE++, 2018;
    Khosla et al., Supervised Contrastive Learning, 2020 (several positives); Girdhar et al.,
    ImageBind, 2023 (anchor).
    """

    def __init__(
        self,
        loss: str = "info_nce",
        weight: float = 1.0,
        temperature: float | None = None,
        margin: float = 0.2,
        hardness: float = 1.0,
        anchor: str | None = None,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        check_number("weight", weight)
        check_hardness(hardness)
        check_contrast(loss, temperature, margin)
        self.loss = loss
        self.weight = weight
        self.temperature = temperature
        self.margin = margin
        self.hardness = hardness
        self.anchor = anchor
        self.supports_masking = True

    def build(self, inputs_shape):
        self.names = check_embeddings(type(self).__name__, inputs_shape)
        check_anchor(self.anchor, self.names)
        if self.loss in TEMPERATURES:
            start = 1.0 / (self.temperature or TEMPERATURES[self.loss])
            self.log_scale = self._weight("log_scale", math.log(start), constraint=_at_most_largest)
        if self.loss == "siglip":
            self.bias = self._weight("bias", BIAS)
        if self.loss == "vse":
            self.current_hardness = self._weight("current_hardness", self.hardness, trainable=False)

    def _weight(self, name, start, **options):
        return self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(start),
            dtype="float32",
            autocast=False,
            name=name,
            **options,
        )

    def call(self, inputs, mask=None, ids=None, training=False):
        if training:
            losses = self.pair_losses(inputs, mask, ids)
            self.add_loss(self.weight * sum(losses.values()) / len(losses))
        return inputs

    def pair_losses(self, inputs, mask=None, ids=None):
        """Returns `{(a, b): loss}` of the pairs of modalities, without the weight."""
        x = {name: ops.cast(inputs[name], "float32") for name in self.names}
        present = presence_of(x, mask)
        x = {name: ops.where(present[name], x[name], ops.zeros_like(x[name])) for name in x}
        losses = {}
        for a, b in itertools.combinations(self.names, 2):
            if self.anchor not in (None, a, b):
                continue
            similarity = ops.matmul(x[a], ops.transpose(x[b]))
            kept = ops.logical_and(present[a], ops.transpose(present[b]))
            positives = same_ids(x[a], ids)
            values = self._values(positives, similarity, kept)
            partners = ops.logical_and(positives, kept)
            counted = ops.logical_or(ops.any(partners, axis=0), ops.any(partners, axis=1))
            count = ops.maximum(ops.sum(ops.cast(counted, "float32")), 1.0)
            losses[a, b] = ops.sum(values) / count
        return losses

    def _values(self, positives, similarity, kept):
        if self.loss == "vse":
            return vse(positives, similarity, kept, self.margin, self.current_hardness)
        if self.loss == "triplet":
            return triplet(positives, similarity, kept, self.margin)
        logits = similarity * ops.exp(self.log_scale)
        if self.loss == "siglip":
            return siglip(positives, logits, kept, 1.0, self.bias)
        return info_nce(positives, logits, kept, 1.0)

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_spec(self, inputs, mask=None, ids=None, training=False):
        return {name: keras.KerasTensor(x.shape, dtype=x.dtype) for name, x in inputs.items()}

    def get_config(self):
        return {
            **super().get_config(),
            "loss": self.loss,
            "weight": self.weight,
            "temperature": self.temperature,
            "margin": self.margin,
            "hardness": self.hardness,
            "anchor": self.anchor,
        }


def _at_most_largest(log_scale):
    return ops.minimum(log_scale, math.log(LARGEST_SCALE))


def check_contrast(loss, temperature, margin, argument: str = "loss") -> None:
    """Raises unless the arguments fit together; `argument` is the name of the first."""
    check_choice(argument, loss, CONTRASTS)
    check_number("margin", margin)
    if temperature is None:
        return
    check_positive("temperature", temperature)
    if loss not in TEMPERATURES:
        raise ValueError(
            f"`temperature` must be None for a loss with a margin. Received: loss={loss!r}, "
            f"temperature={temperature}."
        )
    if temperature < 1 / LARGEST_SCALE:
        raise ValueError(
            f"`temperature` must be at least {1 / LARGEST_SCALE}, where learning ends. "
            f"Received: temperature={temperature}."
        )


def check_anchor(anchor, names) -> None:
    """Raises unless `anchor` is None or one of the modalities."""
    if anchor is not None and anchor not in names:
        raise ValueError(
            f"`anchor` must be None or one of the modalities {sorted(names)}. "
            f"Received: anchor={anchor!r}."
        )


def check_embeddings(kind: str, shapes) -> list[str]:
    """Returns the sorted names after a check that all embeddings have one shape `(B, E)`."""
    if not isinstance(shapes, Mapping):
        raise TypeError(
            f"`inputs` of {kind} must be a dict {{modality: (B, E)}}. Received shapes: {shapes!r}."
        )
    widths = {name: tuple(shape)[1:] for name, shape in shapes.items()}
    if len(widths) < 2 or len(set(widths.values())) != 1 or len(next(iter(widths.values()))) != 1:
        raise ValueError(
            f"`inputs` of {kind} must be (B, E) of two modalities or more, with one width E. "
            f"Received shapes: { ({name: tuple(shape) for name, shape in shapes.items()}) }."
        )
    return sorted(widths)


def presence_of(x, mask):
    """Returns `{name: (B, 1) bool}` of every name in `x`, after a check of the masks' names."""
    unknown = sorted(set(mask or {}) - set(x))
    if unknown:
        raise ValueError(f"`mask` must have names out of {sorted(x)}. Received also: {unknown}.")
    present = {}
    for name, tensor in x.items():
        m = (mask or {}).get(name)
        if m is None:
            present[name] = ops.ones_like(tensor[:, :1], dtype="bool")
        else:
            present[name] = ops.any(ops.cast(m, "bool"), axis=1, keepdims=True)
    return present


def same_ids(x, ids=None):
    """Returns `(B, B)` bool: the diagonal, and the pairs of rows of `x` that have one id."""
    rows = ops.arange(ops.shape(x)[0])
    same = ops.equal(rows[:, None], rows[None])
    if ids is None:
        return same
    ids = ops.reshape(ids, (-1, 1))
    return ops.logical_or(same, ops.equal(ids, ops.transpose(ids)))
