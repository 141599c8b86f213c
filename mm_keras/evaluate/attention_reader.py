"""Layers called so that they say what they attended to."""

import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from mm_keras.evaluate.explained import Step
from mm_keras.evaluate.origin import Origin, origins_in
from mm_keras.layers import (
    CrossAttentionFusion,
    CrossModalNonLocal,
    Fusion,
    JointFusion,
    NonLocalBlock,
    SequencePooling,
    Similarity,
    SimilarityAlignment,
)
from mm_keras.modalities import Modality, Views


class AttentionMap(NamedTuple):
    """What positions of one modality looked at in another.

    Args:
        weights: `(n, *query_grid, *key_grid)`. Of attention and pooling they are shares: over all
            modalities that a layer attends to at once, they sum to 1 for each query, or to 0 where
            the query or all keys are absent. Of a similarity they are what the matrix holds.
        queries: Name of the modality that looks; `None` of a pooling, which has one query.
        keys: Name of the modality that is looked at.
        query_grid: Axes of the queries' positions: `(h, w)` of a picture's feature map, `(t, f)`
            of a spectrogram's, `(V, h, w)` of views', `(N,)` of words, frames, columns and
            vectors; `()` of a pooling.
        key_grid: Likewise of the keys.
        kind: `"attention"`, `"similarity"` or `"pooling"`.
    """

    weights: np.ndarray
    queries: str | None
    keys: str
    query_grid: tuple[int, ...]
    key_grid: tuple[int, ...]
    kind: str

    def received(self) -> np.ndarray:
        """Returns `(n, *key_grid)`: the mean over the queries: what was looked at, overall."""
        axes = tuple(range(1, 1 + len(self.query_grid)))
        return self.weights.mean(axis=axes) if axes else self.weights


class AttentionReader:
    """Calls one layer so that it says what it attended to, and keeps that.

    Args:
        step: The call.
        specs: Of the modalities.
    """

    def __init__(self, step: Step, specs: dict[str, Modality]):
        self.step, self.specs = step, specs
        path, number = step.key
        self.path = f"{path}_{number + 1}" if number else path
        self.found: dict[str, AttentionMap] = {}
        self.read = self._choose(step.op)

    def __call__(self, op, args, kwargs):
        self.found = {}
        return self.read(op, args, kwargs)

    def _choose(self, op):
        attends = getattr(op, "pooling", None) == "attention"
        if isinstance(op, CrossModalNonLocal | NonLocalBlock) and op.chunk is not None:
            raise ValueError(
                "`model` must have non-local blocks without `chunk`, which is there so that whole "
                f"attention maps never are. Received: {self.path!r}, chunk={op.chunk}. The same "
                "weights serve a model without it."
            )
        if isinstance(op, CrossModalNonLocal | CrossAttentionFusion):
            return self._across
        if isinstance(op, NonLocalBlock | keras.layers.MultiHeadAttention):
            return self._single
        if isinstance(op, Similarity):
            return self._similarity
        if isinstance(op, SimilarityAlignment):
            return self._alignment
        if isinstance(op, SequencePooling) and op.mode == "attention":
            return self._pooling
        pools = isinstance(op, JointFusion) or hasattr(op, "poolings")
        return self._pooled if isinstance(op, Fusion) and attends and pools else None

    def _across(self, op, args, kwargs):
        """Of layers over `{name: (B, N, D)}` whose queries attend to several modalities."""
        features, masks = args[0], _mask(args, kwargs)
        pair = op(*args, **{**kwargs, "return_attention": True})
        window = getattr(op, "subsample", 1)
        for queries, weights in pair[1].items():
            weights, start = _mean_of_heads(weights), 0
            for keys in self._sources(op, queries):
                count = features[keys].shape[1]
                stop = start + -(-count // window)
                own = _spread(weights[..., start:stop], window, count)
                self._keep(queries, keys, own, self._at(queries), self._at(keys), masks)
                start = stop
        if isinstance(op, CrossAttentionFusion) and op.pooling == "attention":
            attended, _ = op.attend(features, op.given(masks), training=False)
            self._pool(op, attended, masks)
        return pair if kwargs.get("return_attention") else pair[0]

    def _sources(self, op, name):
        scope = getattr(op, "scope", "cross")
        if scope == "self":
            return [name]
        return [other for other in op.names if scope == "joint" or other != name]

    def _single(self, op, args, kwargs):
        """Of layers on one sequence, or on one of queries and one of keys."""
        name = "return_attention" if isinstance(op, NonLocalBlock) else "return_attention_scores"
        pair = op(*args, **{**kwargs, name: True})
        queries = origins_in(self.step.args[:1])[0]
        keys = self.step.args[1] if len(self.step.args) > 1 else None
        for argument in ("keys", "value"):
            keys = self.step.kwargs.get(argument, keys)
        keys = keys if isinstance(keys, Origin) else queries
        weights = _spread(_mean_of_heads(pair[1]), getattr(op, "subsample", 1), keys.shape[1])
        self._keep(_name(queries), _name(keys), weights, queries, keys, {})
        return pair if kwargs.get(name) else pair[0]

    def _similarity(self, op, args, kwargs):
        outputs = op(*args, **kwargs)
        a, b = op.names
        weights = ops.convert_to_numpy(outputs)
        self._keep(a, b, weights, self._at(a), self._at(b), {}, "similarity")
        return outputs

    def _alignment(self, op, args, kwargs):
        outputs, weights = op(*args, **{**kwargs, "return_attention": True})
        for a, b in (op.names, op.names[::-1]):
            own = ops.convert_to_numpy(weights[a])
            self._keep(a, b, own, self._at(a), self._at(b), {})
        return outputs

    def _pooling(self, op, args, kwargs):
        outputs, weights = op(*args, **{**kwargs, "return_attention": True})
        origin = origins_in(self.step.args[:1])[0]
        self._keep(None, _name(origin), ops.convert_to_numpy(weights), None, origin, {}, "pooling")
        return outputs

    def _pooled(self, op, args, kwargs):
        """Of fusions that pool each modality, or all together, by attention."""
        masks = _mask(args, kwargs)
        if isinstance(op, JointFusion):
            sequence, kept = op.joined(args[0], op.given(masks), op.names)
            weights = ops.convert_to_numpy(op.pool(sequence, mask=kept, return_attention=True)[1])
            sizes = [args[0][name].shape[1] for name in op.names]
            for name, own in zip(
                op.names, np.split(weights, np.cumsum(sizes)[:-1], 1), strict=True
            ):
                self._keep(None, name, own, None, self._at(name), {}, "pooling")
        else:
            self._pool(op, args[0], masks)
        return op(*args, **kwargs)

    def _pool(self, op, features, masks):
        for name, pooling in zip(op.names, op.poolings, strict=True):
            given = (masks or {}).get(name)
            weights = pooling(features[name], mask=given, return_attention=True)[1]
            own = ops.convert_to_numpy(weights)
            self._keep(None, name, own, None, self._at(name), {}, "pooling")

    def _at(self, name: str) -> Origin:
        """Returns where the features of that name come from."""
        return self.step.args[0][name]

    def _keep(self, queries, keys, weights, query_origin, key_origin, masks, kind="attention"):
        """Keeps weights `(B, [N_queries,] N_keys)`, zeros where a query is absent."""
        mask = (masks or {}).get(queries)
        if mask is not None:
            mask = np.asarray(ops.convert_to_numpy(mask), "bool")
            weights = np.where(mask[..., None], weights, np.zeros_like(weights))
        grids = [
            self._grid(origin, count)
            for origin, count in zip((query_origin, key_origin), weights.shape[-2:], strict=True)
            if kind != "pooling"
        ] or [(), self._grid(key_origin, weights.shape[-1])]
        name = "/".join(part for part in (self.path, queries, keys) if part)
        self.found[self.path if kind == "similarity" else name] = AttentionMap(
            weights.reshape(len(weights), *grids[0], *grids[1]), queries, keys, *grids, kind
        )

    def _grid(self, origin: Origin, count: int) -> tuple[int, ...]:
        """Returns the axes of so many positions."""
        if not origin.grid or math.prod(origin.grid) != count:
            return (count,)
        spec = self.specs.get(_name(origin))
        stacked = isinstance(spec, Views) and len(origin.grid) == 2 and not spec.shared
        if stacked and origin.grid[0] % spec.count == 0:  # views one below the other
            return (spec.count, origin.grid[0] // spec.count, origin.grid[1])
        return origin.grid


def _name(origin: Origin) -> str:
    return "+".join(sorted(origin.names))


def _mask(args, kwargs):
    return kwargs.get("mask", args[1] if len(args) > 1 else None)


def _mean_of_heads(weights) -> np.ndarray:
    """Returns `(B, N, K)` of `(B, heads, N, K)`."""
    return ops.convert_to_numpy(weights).astype("float32").mean(axis=1)


def _spread(weights: np.ndarray, window: int, count: int) -> np.ndarray:
    """Returns `(…, count)` of `(…, windows)`: each window's weight divided among its positions."""
    if window == 1:
        return weights
    sizes = np.bincount(np.arange(count) // window)
    return np.repeat(weights / sizes, window, axis=-1)[..., :count]
