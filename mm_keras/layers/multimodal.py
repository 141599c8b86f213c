"""What layers over several modalities have in common."""

from collections.abc import Mapping

import keras
from keras import ops


class MultimodalLayer(keras.layers.Layer):
    """Checks and masks of a layer that takes `{name: (B, N_i, D_i)}` and `mask`.

    A subclass sets `self.names` to `self.check_features(features_shape)` in `build`.
    """

    minimum = 1

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, features, previous_mask=None):
        return None  # masks are passed by name, never attached to tensors

    def given(self, mask):
        """Returns the masks that there are, after a check of their names."""
        unknown = sorted(set(mask or {}) - set(self.names))
        if unknown:
            raise ValueError(
                f"`mask` of {type(self).__name__} must have names out of {self.names}. "
                f"Received also: {unknown}."
            )
        return {name: m for name, m in (mask or {}).items() if m is not None}

    @staticmethod
    def cleared(features, mask):
        """Returns features with what the masks leave out set to zero.

        What is absent may hold anything, and no weight times infinity is not a number.
        """
        return {
            name: ops.where(ops.expand_dims(ops.cast(mask[name], "bool"), -1), x, ops.zeros_like(x))
            if name in mask
            else x
            for name, x in features.items()
        }

    @staticmethod
    def presence(mask):
        """Returns `{name: (B, 1) bool}`: which modalities have a position at all."""
        return {
            name: ops.any(ops.cast(m, "bool"), axis=1, keepdims=True) for name, m in mask.items()
        }

    def presence_matrix(self, pooled, present):
        """Returns `(B, M) bool` in the order of `self.names`, or `None` where all are present."""
        if not present:
            return None
        everywhere = ops.ones_like(pooled[self.names[0]][:, :1], dtype="bool")
        return ops.concatenate([present.get(name, everywhere) for name in self.names], axis=-1)

    def check_features(self, features_shape) -> list[str]:
        """Returns the sorted names after a check of structure and ranks."""
        kind = type(self).__name__
        if not isinstance(features_shape, Mapping):
            raise TypeError(
                f"`features` of {kind} must be a dict {{name: (B, N, D)}}. "
                f"Received shapes: {features_shape!r}."
            )
        if len(features_shape) < self.minimum:
            raise ValueError(
                f"`features` of {kind} must have at least {self.minimum} modalities. "
                f"Received: {sorted(features_shape)}."
            )
        for name, shape in features_shape.items():
            if len(shape) != 3:
                raise ValueError(
                    f"`features` of {kind} must be sequences (B, N, D). "
                    f"Received: {name!r} of shape {tuple(shape)}."
                )
        return sorted(features_shape)

    def check_equal_widths(self, widths: dict[str, int]) -> int:
        """Returns the one width that all modalities have."""
        if len(set(widths.values())) != 1:
            raise ValueError(
                f"`features` of {type(self).__name__} must all have one width D. "
                f"Received: {widths}."
            )
        return next(iter(widths.values()))

    @staticmethod
    def joined(features, mask, names):
        """Returns the positions of all `names` one after the other, and their mask or `None`.

        Args:
            features: `{name: (B, N_i, D)}`.
            mask: `{name: (B, N_i) or (B, 1) bool}`; a name left out is present throughout.
            names: Those to join, in that order.

        Returns:
            `(B, ΣN_i, D)` and `(B, ΣN_i)`.
        """
        sequence = ops.concatenate([features[name] for name in names], axis=1)
        if not any(name in mask for name in names):
            return sequence, None
        kept = []
        for name in names:
            everywhere = ops.ones_like(features[name][..., 0], dtype="bool")
            kept.append(ops.logical_and(ops.cast(mask.get(name, True), "bool"), everywhere))
        return sequence, ops.concatenate(kept, axis=1)
