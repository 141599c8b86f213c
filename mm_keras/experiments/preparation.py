"""What is done to training samples: balance, augmentation, dropout, weights, mixing."""

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from mm_keras import data
from mm_keras._checks import PRESENT, check_bool, check_choice
from mm_keras.data.elements import check_elements
from mm_keras.experiments.keys import as_mapping, check_keys
from mm_keras.modalities import Modality, Text, Video, Views
from mm_keras.models import Classification, Head
from mm_keras.models.heads import check_heads

KEYS = ("augment", "balance", "class_weights", "drop_modalities", "mix")
Batches = Any  # a tf.data.Dataset of (inputs, labels); TensorFlow itself is not needed here
AUTOTUNE = -1  # as tf.data.AUTOTUNE
SHUFFLED = 2_000  # samples among which the copies of a balanced stream are shuffled
OF_MODALITIES = (
    "AddNoise",
    "ColumnDropout",
    "RandomGain",
    "SpecAugment",
    "TabularNoise",
    "TimeMask",
    "TimeShift",
    "TokenDropout",
    "TokenSwap",
    "ViewMask",
    "ViewShuffle",
)
OF_PICTURES = (  # of keras.layers, those that keep the size
    "AutoContrast",
    "Equalization",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Solarization",
)
AUGMENTATIONS: dict[str, Callable] = {
    **{name: getattr(data, name) for name in OF_MODALITIES},
    **{name: getattr(keras.layers, name) for name in OF_PICTURES},
}


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What is done to the samples that are trained on, and to no others, in this order.

    Args:
        balance: Arguments of `mm.data.balance`.
        augment: `{modality: [(name, arguments), …]}` of augmentations of `mm.data` and layers of
            `keras.layers`.
        drop_modalities: The rate of `mm.data.drop_modalities`, or `{modality: rate}`.
        class_weights: `beta` of `mm.data.class_weights`, for every head of classes.
        mix: Arguments of `mm.data.mix`.
    """

    balance: Mapping[str, Any] | None = None
    augment: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]] = dataclasses.field(
        default_factory=dict
    )
    drop_modalities: float | Mapping[str, float] | None = None
    class_weights: float | None = None
    mix: Mapping[str, Any] | None = None

    @property
    def needs_labels(self) -> bool:
        """Whether something goes by the labels, which a target domain lacks."""
        return any(part is not None for part in (self.balance, self.class_weights, self.mix))

    def __call__(
        self,
        batches: Batches,
        modalities: Mapping[str, Modality],
        heads: Mapping[str, Head],
        batch_size: int,
        seed: int,
    ) -> Batches:
        """Returns prepared batches.

        Args:
            batches: Of a source.
            modalities: `{name: spec}`, adapted.
            heads: `{name: head}`.
            batch_size: Of the batches.
            seed: Of all draws.
        """
        if self.balance is not None:
            with naming("balance"):
                options = {**self.balance, "head": self._head(batches, heads)}
                classes = self._classes(heads)[options["head"] or next(iter(heads))]
                batches = data.balance(batches.unbatch(), classes, **options, seed=seed)
            batches = batches.shuffle(SHUFFLED, seed=seed).batch(batch_size)
        if self.augment:
            with naming("augment"):
                batches = data.augment(batches, self._steps(modalities), seed=seed)
        if self.drop_modalities is not None:
            with naming("drop_modalities"):
                batches = data.drop_modalities(batches, self.drop_modalities, seed=seed)
        if self.class_weights is not None:
            with naming("class_weights"):
                batches = data.add_class_weights(batches, self._weights(batches, heads))
        if self.mix is not None:
            with naming("mix"):
                classes = self._labels(batches, heads)
                batches = data.mix(batches, modalities, classes, **self.mix, seed=seed)
        return batches.prefetch(AUTOTUNE)

    def like_mixed(self, batches: Batches, heads: Mapping[str, Head]) -> Batches:
        """Returns what validates or tests, with labels of the form that mixing gives."""
        if self.mix is None:
            return batches
        return data.one_hot_labels(batches, self._labels(batches, heads))

    def check(self, modalities: Mapping[str, Modality], num_classes: Any) -> None:
        """Raises a `ValueError` or `TypeError` that names the key, before any work starts."""
        heads = check_heads(num_classes)
        inputs = {}
        for name, spec in modalities.items():
            dtype = "int32" if isinstance(spec, Text) else "float32"
            inputs[name] = np.zeros((2, *spec.input_shape), dtype)
            if spec.presence_shape is not None:
                inputs[name + PRESENT] = np.ones((2, *spec.presence_shape), "bool")
        labels = {
            name: np.arange(2) if isinstance(head, Classification) else np.zeros((2, head.units))
            for name, head in heads.items()
        }
        sample = data.from_arrays(inputs, labels, modalities).batch(2)
        # What counts real samples, or needs adapted specs, is checked with them.
        balance, weights = self.balance, self.class_weights
        if balance is not None:
            balance = {"counts": [1.0] * self._classes(heads)[self._head(sample, heads)], **balance}
        adapted = {
            name: [step for step in steps if not _takes_spec(step[0])]
            for name, steps in self.augment.items()
        }
        trial = dataclasses.replace(self, balance=balance, augment=adapted, class_weights=None)
        trial(sample, modalities, heads, 2, 0)
        if weights is not None:
            self._classes(heads)
            with naming("class_weights"):
                data.class_weights([1.0, 2.0], beta=weights)

    def _steps(self, modalities: Mapping[str, Modality]) -> dict[str, list]:
        return {
            name: [_made(step, modalities[name]) for step in steps]
            for name, steps in self.augment.items()
        }

    def _classes(self, heads: Mapping[str, Head]) -> dict[str, int]:
        """Returns the number of classes of each head of classes."""
        found = {n: head.units for n, head in heads.items() if isinstance(head, Classification)}
        if not found:
            raise ValueError(
                "`dataset.balance` and `dataset.class_weights` must be given for a head of "
                f"classes. Received: heads {dict(heads)}."
            )
        return found

    def _head(self, batches: Batches, heads: Mapping[str, Head]) -> str | None:
        """Returns the head that is balanced, if labels are a dict."""
        if not isinstance(check_elements(batches)[1], Mapping):
            return None
        known = self._classes(heads)
        head = self.balance.get("head") or (next(iter(known)) if len(known) == 1 else None)
        check_choice("head", head, known)
        return head

    def _labels(self, batches: Batches, heads: Mapping[str, Head]) -> Any:
        """Returns the numbers of classes in the form that labels have."""
        classes = {
            name: head.units if isinstance(head, Classification) else None
            for name, head in heads.items()
        }
        labels = check_elements(batches)[1]
        if isinstance(labels, Mapping):
            return {name: classes.get(name) for name in labels}
        return next(iter(classes.values()))

    def _weights(self, batches: Batches, heads: Mapping[str, Head]) -> Any:
        """Returns the weights of classes in the form that labels have."""
        classes = self._classes(heads)

        def weights(name: str, head: str | None) -> np.ndarray:
            counts = data.class_counts(batches, classes[name], head=head)
            return data.class_weights(counts, beta=self.class_weights)

        labels = check_elements(batches)[1]
        if isinstance(labels, Mapping):
            return {name: weights(name, name) for name in classes if name in labels}
        return weights(next(iter(classes)), None)


@contextlib.contextmanager
def naming(key: str) -> Iterator[None]:
    """Puts the key of the file before what an error says."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"dataset.{key}: {error}") from error


def read_preparation(options: Mapping[str, Any], modalities: Mapping[str, Modality]) -> Preparation:
    """Makes a preparation of those of `KEYS` that a file has."""
    made: dict[str, Any] = dict(options)
    for key, function, own in (
        ("balance", data.balance, ("num_classes",)),
        ("mix", data.mix, ("modalities", "num_classes")),
    ):
        if key in options:
            given = options[key]
            where = f"dataset.{key}"
            given = {"method": given} if isinstance(given, str) else as_mapping(where, given)
            out = {"dataset", "seed", "each_epoch", "num_parallel_calls", *own}
            valid = [name for name in inspect.signature(function).parameters if name not in out]
            check_keys(where, given, valid)
            made[key] = dict(given)
    if "class_weights" in options:
        made["class_weights"] = _beta(options["class_weights"])
    if "augment" in options:
        check_keys("dataset.augment", options["augment"], modalities)
        made["augment"] = {
            name: _named(f"dataset.augment.{name}", given)
            for name, given in options["augment"].items()
        }
    return Preparation(**made)


def _beta(given: Any) -> float | None:
    if isinstance(given, Mapping):
        check_keys("dataset.class_weights", given, ["beta"])
        return given.get("beta", 0.999)
    with naming("class_weights"):
        check_bool("class_weights", given)
    return 0.999 if given else None


def _named(where: str, given: Any) -> list[tuple[str, dict[str, Any]]]:
    """Returns `[(name, arguments)]` of a name, `{name: arguments, …}`, or a list of such."""
    found = []
    for entry in given if isinstance(given, list) else [given]:
        entries = {entry: None} if isinstance(entry, str) else as_mapping(where, entry)
        for name, arguments in entries.items():
            check_choice(where, name, AUGMENTATIONS)
            arguments = dict(as_mapping(f"{where}.{name}", arguments or {}))
            valid = inspect.signature(AUGMENTATIONS[name].__init__).parameters
            out = ("self", "spec", "seed", "kwargs", "data_format", "bounding_box_format")
            check_keys(f"{where}.{name}", arguments, [key for key in valid if key not in out])
            found.append((name, arguments))
    return found


def _takes_spec(name: str) -> bool:
    return "spec" in inspect.signature(AUGMENTATIONS[name].__init__).parameters


def _made(step: tuple[str, Mapping[str, Any]], spec: Modality) -> Any:
    """Makes an augmentation for a modality; of pictures, for all frames or for each view."""
    name, arguments = step
    make = AUGMENTATIONS[name]
    if _takes_spec(name):
        make = functools.partial(make, spec)
    try:
        made = make(**arguments)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error
    if name in OF_PICTURES and isinstance(spec, Video):
        return data.AllFrames(made)
    return data.EachView(made) if name in OF_PICTURES and isinstance(spec, Views) else made
