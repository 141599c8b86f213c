"""Columns of a table to positions."""

import keras

from mm_keras.encoders.encoder import Encoder
from mm_keras.layers import ColumnEmbedding, HashedWide, SliceAxis
from mm_keras.modalities import Tabular


class TabularEncoder(Encoder):
    """Rows of a table → one position a column, or one of the deep part; then one of the wide."""

    def __init__(self, spec: Tabular, width: int, name: str):
        super().__init__(spec, width, name)
        self.numbers, self.ids, self.crosses = self._slices()
        self.normalize = self._normalize()
        self.columns = keras.layers.Concatenate(name=f"{name}_columns", dtype="float32")
        self.embed = ColumnEmbedding(
            len(spec.numeric), spec.vocabulary_sizes, spec.embedding, name=f"{name}_embedding"
        )
        self.deep = list(self._deep_layers())
        if spec.wide:
            self.hashed = HashedWide(
                len(spec.wide), spec.wide_buckets, spec.wide_width, name=f"{name}_hashed"
            )
            self.wide_inputs = keras.layers.Concatenate(name=f"{name}_wide_inputs")
            self.wide = keras.layers.Dense(
                width,
                use_bias=False,
                kernel_regularizer=self.regularizer,
                name=f"{name}_wide",
            )
            self.wide_position = keras.layers.Reshape((1, width), name=f"{name}_wide_position")
            self.join = keras.layers.Concatenate(axis=1, name=f"{name}_deep_and_wide")

    def _slices(self):
        """Returns layers for numeric columns, ids and crosses, `None` for those there are not."""
        spec, slices, start = self.spec, [], 0
        for part in ("numeric", "categorical", "wide"):
            stop = start + len(getattr(spec, part))
            name = f"{self.name}_{part}_columns"
            slices.append(SliceAxis(start, stop, name=name) if stop > start else None)
            start = stop
        return slices

    def _normalize(self):
        spec = self.spec
        if not spec.numeric or not spec.normalize:
            return lambda x: x
        if not spec.mean or not spec.variance:
            raise ValueError(
                f"`numeric` of {self.name!r} must be adapted, since the model normalises it: call "
                "`spec = spec.adapt(columns)` first, or pass normalize=False for columns that come "
                f"normalised. Received: no mean and variance of {spec.numeric}."
            )
        return keras.layers.Normalization(
            mean=spec.mean,
            variance=spec.variance,
            dtype="float32",
            name=f"{self.name}_normalize",
        )

    def _deep_layers(self):
        if self.spec.deep:
            yield keras.layers.Flatten(name=f"{self.name}_flatten")
        for depth, width in enumerate(self.spec.deep, start=1):
            yield keras.layers.Dense(
                width,
                activation="relu",
                kernel_regularizer=self.regularizer,
                name=f"{self.name}_deep_{depth}",
            )

    def __call__(self, inputs, present=None):
        numbers = self.normalize(self.numbers(inputs)) if self.numbers else None
        ids = self.ids(inputs) if self.ids else None
        parts = [part for part in (numbers, ids) if part is not None]
        x = self.embed(self.columns(parts) if len(parts) > 1 else parts[0])
        for layer in self.deep:
            x = layer(x)
        x = self.project(x)
        if not self.spec.wide:
            return x, present
        linear = [self.hashed(self.crosses(inputs))]
        if numbers is not None:
            linear = [self.wide_inputs([*linear, numbers])]
        wide = self.wide_position(self.wide(linear[0]))
        return self.join([x, wide]), present
