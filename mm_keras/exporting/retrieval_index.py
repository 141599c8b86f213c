"""Finds items of one modality for queries of another."""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mm_keras._checks import check_choice, check_int
from mm_keras._files import check_writable, written_whole
from mm_keras.exporting.card import embed_card, make_card, read_card
from mm_keras.exporting.export import SAVED_MODEL
from mm_keras.exporting.exported_model import ExportedModel, TensorInfo
from mm_keras.exporting.nearest_items import NearestItems
from mm_keras.exporting.serving import Serving
from mm_keras.models import inference_model

EMBEDDING = "_embedding"


class Neighbours(NamedTuple):
    """What a search found, the nearest first.

    Args:
        ids: `(B, k)`, strings or integers.
        scores: `(B, k)`: dot products of embeddings, which are of length 1: cosines.
    """

    ids: np.ndarray
    scores: np.ndarray


class RetrievalIndex:
    """Items of one modality, found by queries of another: images for a text, say.

    It holds the two encoders of a trained `mm.build_cmn` model and the embedding of each item, and
    compares a query with all of them, in chunks: exactly, with nothing to tune. That serves up to a
    million items or so; see benchmarks/README.md for times. What is saved is a plain SavedModel,
    which TensorFlow alone loads: `serve` (the signature `serving_default`) takes queries and gives
    `ids` and `scores`; `search` takes k too; `embed_items` and `append` add items.

    Args:
        model: Of `mm.build_cmn`, or with outputs of such names: `"<name>_embedding"`, `(B, E)`.
        query: Name of the modality of queries.
        items: Name of the modality of items; it may be the same.
        k: How many neighbours the SavedModel returns.
        preprocessing: Whether queries and items are raw: texts as strings, pictures of any size,
            sounds of any length; as in `mm.export` for a SavedModel.

    Raises:
        TypeError: If `model` is no functional model.
        ValueError: If it has no such embedding, an argument doesn't fit, or Keras doesn't run on
            TensorFlow.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_cmn({"image": mm.Features(8), "text": mm.Features(6)}, None)
    >>> index = mm.exporting.RetrievalIndex(model, query="text", items="image")
    >>> index.add({"image": np.random.rand(3, 8)}, ids=["a.jpg", "b.jpg", "c.jpg"])
    >>> found = index.search({"text": np.random.rand(1, 6)}, k=2)
    >>> found.ids.shape, len(index)
    ((1, 2), 3)

    Reference: Johnson et al., Billion-scale similarity search with GPUs, 2017, for more items than
    this serves.
    """

    def __init__(
        self,
        model: keras.Model,
        query: str,
        items: str,
        *,
        k: int = 10,
        preprocessing: bool | str = False,
    ):
        if keras.config.backend() != "tensorflow":
            raise ValueError(
                "A retrieval index needs TensorFlow as the backend of Keras. "
                f"Received: {keras.config.backend()!r}."
            )
        if not isinstance(model, keras.Model) or not isinstance(model.output, Mapping):
            raise TypeError(
                "`model` must be a keras.Model with a dict of outputs, which mm.build_cmn returns. "
                f"Received: {model!r} of type {type(model).__name__}."
            )
        known = [o.removesuffix(EMBEDDING) for o in model.output if o.endswith(EMBEDDING)]
        if not known:
            raise ValueError(
                "`model` must have embeddings, as mm.build_cmn(…, embedding=128) makes them. "
                f"Received: outputs {sorted(model.output)}."
            )
        check_choice("query", query, known)
        check_choice("items", items, known)
        check_int("k", k)
        check_choice("preprocessing", preprocessing, (False, True, "pad", "crop"))
        self._sides = tuple(
            Serving(inference_model(model, outputs=[name + EMBEDDING]), preprocessing)
            for name in (query, items)
        )
        card = make_card(self._sides[0], "saved_model", preprocessing, None, None, None)
        item_card = make_card(self._sides[1], "saved_model", preprocessing, None, None, None)
        width = model.output[items + EMBEDDING].shape[-1]
        self.card = {
            **card,
            "outputs": {
                "ids": {"shape": [None, None], "dtype": "string or int64"},
                "scores": {"shape": [None, None], "dtype": "float32"},
            },
            "index": {
                "query": query,
                "items": items,
                "item_inputs": item_card["inputs"],
                "width": width,
                "k": k,
                "count": 0,
            },
        }
        self._core: Any = None  # made with the first ids, whose type it has
        self._known: dict[Any, None] = {}

    @classmethod
    def load(cls, path: str | os.PathLike) -> "RetrievalIndex":
        """Returns a saved index, to which items can be added.

        A SavedModel is a program, which TensorFlow runs: load only those that you trust.

        Args:
            path: Of the folder.

        Raises:
            OSError: If nothing is there.
            ValueError: If it is no retrieval index.
        """
        path = pathlib.Path(path)
        if not path.exists():
            raise FileNotFoundError(f"`path` must name an existing folder. Received: path={path}.")
        card = read_card(path) if (path / SAVED_MODEL).is_file() else None
        if not card or "index" not in card:
            raise ValueError(
                "`path` must be the folder of a retrieval index, which `save` wrote. "
                f"Received: path={path}."
            )
        index = cls.__new__(cls)
        index.card = card
        index._core = tf.saved_model.load(os.fspath(path))
        index._known = dict.fromkeys(_decoded(index._core.ids.numpy()).tolist())
        return index

    def __len__(self) -> int:
        return len(self._known)

    @property
    def ids(self) -> list[str] | list[int]:
        """Of the items, in the order in which they were added."""
        return list(self._known)

    def add(self, items: Any, ids: Sequence[str | int] | None = None, batch_size: int = 32) -> None:
        """Adds items: all of them, or, if something doesn't fit, none.

        Args:
            items: `{input: array}` by the inputs of the items' modality; or batches of such dicts,
                alone or with labels after them, in one order in every pass. Other inputs in them
                are not looked at.
            ids: One for each item, e.g. its file name; strings or integers throughout. `None`:
                integers that count on.
            batch_size: Of whole arrays.

        Raises:
            ValueError: If an input is missing or has another shape, an item is absent (such a one
                could be near nothing), or ids are too few, there already, or of another type.
        """
        parts = []
        embedder = None
        for batch in _batches(items):
            embedder = embedder or _Embedder(self)
            missing = sorted(set(embedder.inputs) - set(batch))
            if missing:
                raise ValueError(
                    f"`items` must have the inputs {sorted(embedder.inputs)}. "
                    f"Received without: {missing}."
                )
            given = {name: np.asarray(batch[name]) for name in embedder.inputs}
            parts.append(embedder.predict(given, batch_size)["embedding"])
        if not parts:
            raise ValueError("`items` must have at least one item. Received: none.")
        embeddings = np.concatenate(parts)
        new = self._checked_ids(ids, len(embeddings))
        absent = [new[row] for row in np.flatnonzero(~embeddings.any(axis=1))]
        if absent:
            raise ValueError(
                "`items` must have the modality, or they would be near nothing: leave out those "
                f"that lack it. Received {len(absent)} without it: {absent[:5]}."
            )
        if self._core is None:
            self._core = self._make_core(tf.string if isinstance(new[0], str) else tf.int64)
        self._core.append(tf.constant(embeddings), tf.constant(new, self._core.ids.dtype))
        self._known.update(dict.fromkeys(new))

    def search(
        self, queries: Mapping[str, Any], k: int | None = None, batch_size: int = 32
    ) -> Neighbours:
        """Returns the k nearest items of each query; of equally near ones the first added first.

        An absent query is equally near to all: its scores are 0.

        Args:
            queries: `{input: array}` by the inputs of the queries' modality.
            k: At least 1; of an index of fewer items all come. `None`: that of the index.
            batch_size: Most queries that are compared at once.

        Raises:
            TypeError: If `queries` is no dict, or an array has a type that doesn't fit.
            ValueError: If a name is missing or unknown, a shape is another, or there are no items.
        """
        k = self.card["index"]["k"] if k is None else k
        check_int("k", k)
        if not len(self):
            raise ValueError("The index must have items to search: `add` some. Received: none.")
        found = _Searcher(self, k).predict(queries, batch_size)
        return Neighbours(_decoded(found["ids"]), found["scores"])

    def save(self, path: str | os.PathLike) -> pathlib.Path:
        """Writes a SavedModel, which takes the place of an earlier one at once.

        Args:
            path: Of the folder; replaced only if it is empty or has an earlier SavedModel in it.

        Raises:
            ValueError: If there are no items, or the folder has other contents.
            OSError: If `path` can't be written.
        """
        path = check_writable(path, SAVED_MODEL)
        if not len(self):
            raise ValueError("The index must have items to be saved: `add` some. Received: none.")
        core = self._core
        signatures = {
            "serving_default": core.serve,
            "search": core.search,
            "embed_items": core.embed_items,
            "append": core.append,
        }
        card = {**self.card, "index": {**self.card["index"], "count": len(self)}}
        with written_whole(path, SAVED_MODEL) as unfinished:
            tf.saved_model.save(core, os.fspath(unfinished), _concrete(signatures))
            embed_card(unfinished, "saved_model", card)
        return path

    def _make_core(self, id_type: tf.DType) -> NearestItems:
        index = self.card["index"]
        return NearestItems(*self._sides, index["width"], id_type, index["k"])

    def _checked_ids(self, ids: Any, count: int) -> list:
        if ids is None:
            start = len(self)
            ids = range(start, start + count)
        if isinstance(ids, str | bytes) or not hasattr(ids, "__len__") or len(ids) != count:
            raise ValueError(
                f"`ids` must be a sequence of {count}, one for each item. Received: "
                f"{len(ids) if hasattr(ids, '__len__') else ids!r}."
            )
        found = np.asarray(ids).tolist() if not isinstance(ids, list) else list(ids)
        found = [one.item() if isinstance(one, np.generic) else one for one in found]
        kinds = {type(one) for one in found} | {type(one) for one in list(self._known)[:1]}
        if len(kinds) != 1 or not kinds <= {str, int}:
            raise ValueError(
                "`ids` must be strings throughout, or integers throughout, in all of an index. "
                f"Received: {sorted(kind.__name__ for kind in kinds)}."
            )
        seen = dict(self._known)
        for one in found:
            if one in seen:
                raise ValueError(f"`ids` must be given once each. Received again: {one!r}.")
            seen[one] = None
        return found


class _Embedder(ExportedModel):
    """Checks and batches what is embedded."""

    def __init__(self, index: RetrievalIndex):
        self.inputs = _infos(index.card["index"]["item_inputs"])
        self.outputs = {"embedding": TensorInfo((None, index.card["index"]["width"]), "float32")}
        self._serving = None if index._core is not None else index._sides[1]
        self._function = None if index._core is None else index._core.embed_items

    def _run(self, batch):
        tensors = {name: tf.constant(array) for name, array in batch.items()}
        if self._function is not None:
            return {name: x.numpy() for name, x in self._function(tensors).items()}
        (embedding,) = self._serving(tensors).values()
        return {"embedding": np.asarray(embedding, "float32")}


class _Searcher(ExportedModel):
    """Checks and batches what is sought."""

    def __init__(self, index: RetrievalIndex, k: int):
        self.inputs = _infos(index.card["inputs"])
        self.outputs = {
            "ids": TensorInfo((None, None), index._core.ids.dtype.name),
            "scores": TensorInfo((None, None), "float32"),
        }
        self._core, self._k = index._core, tf.constant(k)

    def _run(self, batch):
        tensors = {name: tf.constant(array) for name, array in batch.items()}
        return {name: x.numpy() for name, x in self._core.search(tensors, self._k).items()}


def _infos(described: Mapping[str, Mapping[str, Any]]) -> dict[str, TensorInfo]:
    return {name: TensorInfo(tuple(one["shape"]), one["dtype"]) for name, one in described.items()}


def _concrete(functions: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the traced function of each, of one that was loaded too."""
    found = {}
    for name, function in functions.items():
        traced = getattr(function, "concrete_functions", None)
        found[name] = traced[0] if traced else function.get_concrete_function()
    return found


def _batches(items: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(items, Mapping):
        yield items
        return
    for element in items:
        inputs = element[0] if isinstance(element, tuple) else element
        if not isinstance(inputs, Mapping):
            raise TypeError(
                "`items` must be {input: array}, or batches of such dicts, with labels after them "
                f"or without. Received: {type(inputs).__name__}."
            )
        yield inputs


def _decoded(ids: np.ndarray) -> np.ndarray:
    """Returns ids as integers or as texts."""
    return np.char.decode(ids.astype("S"), "utf-8") if ids.dtype == object else ids
