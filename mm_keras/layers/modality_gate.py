"""Attention over modalities: scores, selection, gates."""

import keras
from keras import ops

from mm_keras._checks import check_bool, check_choice, check_int, check_number
from mm_keras.layers.apply_gates import scale
from mm_keras.layers.multimodal import MultimodalLayer
from mm_keras.layers.sequence_pooling import SequencePooling, masked_softmax

SELECTIONS = ("soft", "top_k", "hard")
LEVELS = ("modality", "position")


@keras.saving.register_keras_serializable("mm_keras")
class ModalityGate(MultimodalLayer):
    """Weighs the modalities of each sample by a learnt score, and selects among them.

    `e_m = wᵀ tanh(W h_m + b)`, `a = softmax(e / τ)` over the modalities that are present; the
    features of modality m come back as `a_m f_m`, so that their sum is `Σ a_m f_m`. W and w serve
    all modalities, so that equal features get equal gates. w starts at zero where the selection is
    soft: every gate then starts at one over the number of modalities present.

    An absent modality has a gate of exactly 0, zeros for features and no gradient. A modality that
    is present but not selected has a gate of 0 and zeros for features. Gates are no measure of
    importance: a modality of small features can have a large gate, and what a gate scales, later
    weights can scale back.

    Args:
        selection: `"soft"`: all modalities. `"top_k"`: softmax over the k highest scores, 0 for
            the others. `"hard"`: 1 for the highest score, 0 for the others, with the gradient of
            the softmax (straight-through). Of equal scores, the first name wins.
        top_k: Number k of modalities for `"top_k"`, at least 2: a softmax over one is always 1
            and would learn nothing, which is what `"hard"` is for.
        level: `"modality"`: a gate for each sample, from pooled features. `"position"`: a gate for
            each sample and position; all modalities then have one number N of positions.
        temperature: τ at the start, above 0. It lives in the weight `temperature`, which does not
            train: assign it, or let `mm.training.TemperatureSchedule` do so.
        gumbel: Whether to add Gumbel noise to the scores in training, so that selections vary.
        units: Width of the hidden layer W; `None`: that of the features.
        pooling: How positions become one vector `h_m`: `"mean"`, `"max"` or `"attention"`.
        seed: Of the noise.

    Call arguments:
        features: `{name: (B, N_i, D)}`.
        mask: Optional, `{name: (B, N_i) or (B, 1) bool}`.
        return_positions: Whether to return the gates of every position too; for
            `level="position"`.

    Output shape:
        A dict of `"features"`, `{name: (B, N_i, D)}`; `"gates"`, `(B, M)` float32 in the order of
        the sorted names (of positions, their mean; a sample without any modality gives zeros);
        `"present"`, `(B, M)` bool; with `return_positions`, `"positions"`, `(B, N, M)` float32.

    Raises:
        ValueError: For unknown options, τ ≤ 0, k above the number of modalities, or widths or
            numbers of positions that differ where they must not.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> features = {"image": np.ones((2, 4, 8)), "audio": np.ones((2, 6, 8))}
    >>> mm.layers.ModalityGate()(features)["gates"].numpy().tolist()
    [[0.5, 0.5], [0.5, 0.5]]

    Reference: Bahdanau et al., Neural Machine Translation by Jointly Learning to Align and
    Translate, 2015 (the score); Jang et al., Categorical Reparameterization with Gumbel-Softmax,
    2017; Xue & Marculescu, Dynamic Multimodal Fusion, 2023.
    """

    def __init__(
        self,
        selection: str = "soft",
        top_k: int = 2,
        level: str = "modality",
        temperature: float = 1.0,
        gumbel: bool = False,
        units: int | None = None,
        pooling: str = "mean",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_gate(selection, top_k, level, temperature, gumbel)
        if units is not None:
            check_int("units", units)
        SequencePooling(pooling)  # raises for an unknown mode
        self.selection = selection
        self.top_k = top_k
        self.level = level
        self.initial_temperature = float(temperature)
        self.gumbel = gumbel
        self.units = units
        self.pooling = pooling
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed) if gumbel else None

    def build(self, features_shape):
        self.names = self.check_features(features_shape)
        width = self.check_equal_widths({n: features_shape[n][-1] for n in self.names})
        check_top_k(self.selection, self.top_k, self.names)
        positions = {name: features_shape[name][1] for name in self.names}
        if self.level == "position" and len(set(positions.values())) != 1:
            raise ValueError(
                "`level` must be 'modality' for features with different numbers of positions: "
                f"there is none that all share. Received: level='position', positions={positions}."
            )
        self.poolings = []
        if self.level == "modality":
            self.poolings = [
                SequencePooling(self.pooling, dtype=self.dtype_policy, name=f"{name}_pooling")
                for name in self.names
            ]
            for name, pooling in zip(self.names, self.poolings, strict=True):
                pooling.build(features_shape[name])
        units = self.units or width
        self.kernel = self.add_weight(
            shape=(width, units), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(units,), initializer="zeros", name="bias")
        # Equal scores are no start for a selection: the first modality would win them all.
        start = "zeros" if self.selection == "soft" else "glorot_uniform"
        self.score = self.add_weight(shape=(units, 1), initializer=start, name="score")
        self.temperature = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.initial_temperature),
            dtype="float32",
            trainable=False,
            autocast=False,
            name="temperature",
        )

    def call(self, features, mask=None, training=False, return_positions=False):
        if return_positions and self.level != "position":
            raise ValueError(
                "`return_positions` must be False for level='modality', which has one gate for all "
                "positions. Received: return_positions=True."
            )
        mask = self.given(mask)
        features = self.cleared(features, mask)
        if self.level == "position":
            hidden, present = self._positions(features, mask)  # (B, N, M, D), (B, N, M)
        else:
            hidden, present = self._pooled(features, mask)  # (B, M, D), (B, M)
        gates = self._gates(self._scores(hidden), present, training)
        gated = scale(features, gates if self.level == "position" else ops.expand_dims(gates, 1))
        positions = {"positions": gates} if return_positions else {}
        if self.level == "position":
            there = ops.cast(ops.any(present, axis=-1, keepdims=True), "float32")  # (B, N, 1)
            gates = ops.sum(gates, axis=1) / ops.maximum(ops.sum(there, axis=1), 1.0)
            present = ops.any(present, axis=1)
        return {"features": gated, "gates": gates, "present": present, **positions}

    def _pooled(self, features, mask):
        pooled = [
            pooling(features[name], mask=mask.get(name))
            for name, pooling in zip(self.names, self.poolings, strict=True)
        ]
        hidden = ops.stack(pooled, axis=1)
        present = self.presence_matrix({self.names[0]: pooled[0]}, self.presence(mask))
        if present is None:
            present = ops.ones_like(hidden[..., 0], dtype="bool")
        return hidden, present

    def _positions(self, features, mask):
        hidden = ops.stack([features[name] for name in self.names], axis=2)
        everywhere = ops.ones_like(hidden[:, :, :1, 0], dtype="bool")
        kept = {name: ops.expand_dims(ops.cast(m, "bool"), -1) for name, m in mask.items()}
        present = [ops.logical_and(kept.get(name, everywhere), everywhere) for name in self.names]
        return hidden, ops.concatenate(present, axis=-1)

    def _scores(self, hidden):
        """Returns `(…, M)` of `(…, M, D)`, in float32: τ may be small."""
        kernel, bias, score = (
            ops.cast(weight, "float32") for weight in (self.kernel, self.bias, self.score)
        )
        hidden = ops.tanh(ops.matmul(ops.cast(hidden, "float32"), kernel) + bias)
        return ops.matmul(hidden, score)[..., 0]

    def _gates(self, scores, present, training):
        """Returns gates `(…, M)` of scores and presence of that shape."""
        if self.gumbel and training:
            uniform = keras.random.uniform(
                ops.shape(scores), 1e-6, 1.0 - 1e-6, dtype="float32", seed=self.seed_generator
            )
            scores = scores - ops.log(-ops.log(uniform))
        scores = scores / self.temperature
        if self.selection == "soft":
            return masked_softmax(scores, present)
        order = ops.where(present, scores, ops.full_like(scores, -float("inf")))
        if self.selection == "top_k":
            chosen = ops.top_k(ops.stop_gradient(order), self.top_k)[1]  # (…, k)
            chosen = ops.max(ops.one_hot(chosen, len(self.names), dtype="int32"), axis=-2) > 0
            return masked_softmax(scores, ops.logical_and(chosen, present))
        soft = masked_softmax(scores, present)
        # Not argmax, which Keras makes of bits that LiteRT and ONNX lack.
        first = ops.top_k(ops.stop_gradient(order), 1)[1][..., 0]
        hard = ops.one_hot(first, len(self.names), dtype="float32")
        hard = ops.where(present, hard, ops.zeros_like(hard))
        return hard + (soft - ops.stop_gradient(soft))  # the bracket is exactly 0

    def get_config(self):
        return {
            **super().get_config(),
            "selection": self.selection,
            "top_k": self.top_k,
            "level": self.level,
            "temperature": self.initial_temperature,
            "gumbel": self.gumbel,
            "units": self.units,
            "pooling": self.pooling,
            "seed": self.seed,
        }


def check_gate(selection, top_k, level, temperature, gumbel) -> None:
    """Checks the options of a gate that need no features."""
    check_choice("selection", selection, SELECTIONS)
    check_choice("level", level, LEVELS)
    check_int("top_k", top_k)
    if selection == "top_k" and top_k == 1:
        raise ValueError(
            "`top_k` must be at least 2: a softmax over one modality is always 1 and learns "
            "nothing. Received: top_k=1. Use selection='hard' for one modality."
        )
    check_number("temperature", temperature)
    if temperature == 0:
        raise ValueError(
            "`temperature` must be above 0. Received: temperature=0. "
            "Use selection='hard' for the highest score alone."
        )
    check_bool("gumbel", gumbel)


def check_top_k(selection, top_k, names) -> None:
    """Raises if more modalities are to be selected than there are."""
    if selection == "top_k" and top_k > len(names):
        raise ValueError(
            f"`top_k` must be at most {len(names)}, the number of modalities {list(names)}. "
            f"Received: top_k={top_k}."
        )
