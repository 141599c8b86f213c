"""Text as token ids."""

import concurrent.futures
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from mm_keras._checks import check_choice, check_int, check_number
from mm_keras.modalities.base import MODEL, Modality, spec


@spec
class Text(Modality):
    """Text as token ids, 0 for padding; padding is masked everywhere.

    The vectorizer belongs to the spec: `adapt` learns a vocabulary and returns a new spec that
    carries it, `vectorize` makes the ids, and a saved model gives the spec back through
    `mm.modalities_of`. Longer texts are cut after `max_tokens`.

    Args:
        max_tokens: Length T of the id sequence.
        vocabulary_size: Number of ids, padding (0) and unknown (1) included.
        backbone: `"Words"` (embedded words), `"Conv1D"`, `"BiGRU"`, `"Transformer"`, or a
            `keras.Model` from ids, or from `{"token_ids", "padding_mask"}` as keras_hub's
            backbones are, to `(B, T, C)`.
        embedding: Width of the word embedding.
        depth: Number of Conv1D, GRU or Transformer layers.
        heads: Number of attention heads of `"Transformer"`.
        kernel_size: Width in tokens of `"Conv1D"`.
        stochastic_depth: Rate at which residual branches of `"Transformer"` are dropped.
        split: `"whitespace"` or `"character"`.
        standardize: `"lower_and_strip_punctuation"`, `"lower"`, `"strip_punctuation"` or `None`.
        vocabulary: Learnt by `adapt`; the tokens in order of their ids from 2 on.

    Example:

    >>> import mm_keras as mm
    >>> text = mm.Text(max_tokens=4, vocabulary_size=10).adapt(["a red cat", "a red dog"])
    >>> text.vectorize(["a cat", "red"]).shape
    (2, 4)
    """

    max_tokens: int
    vocabulary_size: int
    _: dataclasses.KW_ONLY
    backbone: Any = "Words"
    embedding: int = 64
    depth: int = 1
    heads: int = 4
    kernel_size: int = 3
    stochastic_depth: float = 0.0
    split: str = "whitespace"
    standardize: str | None = "lower_and_strip_punctuation"
    vocabulary: tuple[str, ...] = ()

    BACKBONES: ClassVar[tuple[str, ...]] = ("Words", "Conv1D", "BiGRU", "Transformer")
    units: ClassVar[str] = "token ids, 0 for padding"
    dtype: ClassVar[str] = "int32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("max_tokens", self.max_tokens)
        check_int("vocabulary_size", self.vocabulary_size, minimum=3)
        if not isinstance(self.backbone, keras.Model) and not str(self.backbone).startswith(MODEL):
            check_choice("backbone", self.backbone, self.BACKBONES)
        for argument in ("embedding", "depth", "heads", "kernel_size"):
            check_int(argument, getattr(self, argument))
        check_number("stochastic_depth", self.stochastic_depth, below=1.0)
        if self.stochastic_depth and self.backbone != "Transformer":
            raise ValueError(
                "`stochastic_depth` must be 0 for a backbone other than 'Transformer'. "
                f"Received: stochastic_depth={self.stochastic_depth}, backbone={self.backbone!r}."
            )
        if self.backbone == "Transformer" and self.embedding % self.heads:
            raise ValueError(
                "`embedding` must be a multiple of `heads`. "
                f"Received: embedding={self.embedding}, heads={self.heads}."
            )
        check_choice("split", self.split, ["whitespace", "character"])
        check_choice(
            "standardize",
            self.standardize,
            [None, "lower_and_strip_punctuation", "lower", "strip_punctuation"],
        )
        if not isinstance(self.vocabulary, tuple):
            raise TypeError(
                f"`vocabulary` must be a tuple of tokens. Received: vocabulary={self.vocabulary!r}."
            )
        if len(self.vocabulary) > self.vocabulary_size - 2:
            raise ValueError(
                f"`vocabulary` must have at most vocabulary_size - 2 = {self.vocabulary_size - 2} "
                f"tokens. Received: {len(self.vocabulary)} tokens."
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.max_tokens,)

    def vectorizer(self) -> keras.layers.TextVectorization:
        """Returns a `keras.layers.TextVectorization` with this spec's vocabulary."""
        return keras.layers.TextVectorization(
            max_tokens=self.vocabulary_size,
            standardize=self.standardize,
            split=self.split,
            output_sequence_length=self.max_tokens,
            vocabulary=list(self.vocabulary) or None,
        )

    def adapt(self, texts: Any) -> "Text":
        """Returns this spec with the vocabulary of `texts` (strings, or a tf.data of strings)."""
        self._check_texts(texts)
        vectorizer = self.vectorizer() if not self.vocabulary else self._blank().vectorizer()
        if isinstance(texts, Sequence):
            texts = np.asarray(texts, dtype=object)
        vectorizer.adapt(texts)
        learnt = vectorizer.get_vocabulary(include_special_tokens=False)
        return dataclasses.replace(self, vocabulary=tuple(str(token) for token in learnt))

    def _blank(self) -> "Text":
        return dataclasses.replace(self, vocabulary=())

    def vectorize(self, texts: Any) -> Any:
        """Returns ids `(B, max_tokens)` of strings: NumPy for lists, tensors within tf.data."""
        if not self.vocabulary:
            raise ValueError(
                "`vectorize` needs a vocabulary: call `spec = spec.adapt(texts)` first, or pass "
                "`vocabulary=`. Received: an empty vocabulary."
            )
        self._check_texts(texts)
        if isinstance(texts, Sequence | np.ndarray):
            ids = self._vectorizer()(np.asarray(texts, dtype=object))
            return keras.ops.convert_to_numpy(ids).astype("int32")
        return self._vectorizer()(texts)

    @staticmethod
    def _check_texts(texts: Any) -> None:
        if isinstance(texts, str):
            raise TypeError(
                f"`texts` must be a sequence of strings. Received: texts={texts!r}; pass [texts]."
            )

    def _vectorizer(self) -> keras.layers.TextVectorization:
        if "_made" not in self.__dict__:  # a lookup table is costly: make it once
            # Within tf.data this thread traces a graph, which the table must outlive.
            with concurrent.futures.ThreadPoolExecutor(max_workers=1) as another_thread:
                made = another_thread.submit(self.vectorizer).result()
            object.__setattr__(self, "_made", made)
        return self.__dict__["_made"]
