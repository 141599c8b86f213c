"""A YAML description of an experiment, checked key by key."""

import dataclasses
import inspect
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import keras
import yaml

from mm_keras import modalities as specs
from mm_keras import training
from mm_keras._checks import check_choice, check_int, check_number, nearest
from mm_keras.data import ArraySource, FolderSource, TableSource, TFRecordSource
from mm_keras.data.sources import Described
from mm_keras.datasets.source import Source
from mm_keras.experiments.keys import as_mapping, check_keys
from mm_keras.experiments.optimizers import read_optimizer
from mm_keras.experiments.preparation import KEYS, Preparation, read_preparation
from mm_keras.modalities import Modality
from mm_keras.models import BUILDERS, Classification, Head, MultiLabel, Regression

Parsed = TypeVar("Parsed")

# What `fit.callbacks` may name: those of Keras that need no objects, and all of this package's.
CALLBACKS = {
    cls.__name__: cls
    for cls in (
        keras.callbacks.EarlyStopping,
        keras.callbacks.ReduceLROnPlateau,
        keras.callbacks.TerminateOnNaN,
        *(
            getattr(training, name)
            for name in training.__all__
            if name not in ("ProgressBar", "SelectEpoch")  # the command's own; takes a dataset
        ),
    )
    if isinstance(cls, type) and issubclass(cls, keras.callbacks.Callback)
}
SOURCES = {
    "tfds": Source,
    "table": TableSource,
    "folder": FolderSource,
    "arrays": ArraySource,
    "tfrecord": TFRecordSource,
}
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
COMPILE = (
    "optimizer",
    "learning_rate",
    "loss",
    "metrics",
    "jit_compile",
    "steps_per_execution",
)
HEADS = {cls.__name__: cls for cls in (Classification, MultiLabel, Regression)}
MODALITIES = {name: getattr(specs, name) for name in specs.__all__ if name != "Modality"}


@dataclasses.dataclass(frozen=True)
class Splits:
    """Which splits of the dataset serve for what, and in what batches.

    Args:
        train: Split that is trained on.
        validation: Split watched during training; `None`: none.
        test: Split for the figures at the end.
        batch_size: In samples.
    """

    train: str = "train"
    validation: str | None = "validation"
    test: str = "test"
    batch_size: int = 32

    def __post_init__(self) -> None:
        check_int("batch_size", self.batch_size)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A model, the data it learns from, and how.

    Args:
        modalities: `{name: spec}`.
        builder: Name of a builder.
        num_classes: As the builder takes it.
        options: Further arguments of the builder.
        source: The dataset: a `Source` of TFDS, or one of `mm.data`.
        splits: Its parts.
        preparation: What is done to the samples that are trained on.
        target: For `build_afe`: the dataset of the domain whose labels are not used in training.
        optimizer: Name of a Keras optimizer, or its serialised form,
            `{"class_name": …, "config": …}`.
        learning_rate: Of the optimizer; `None`: its default.
        loss: Name of a Keras loss, or `{head: name}`; `None`: that of each head.
        metrics: Names of Keras metrics, or `{head: names}`.
        jit_compile: Whether to compile with XLA: `"auto"`: by the device, as
            `mm.training.jit_compile` says.
        steps_per_execution: Steps that run without coming back to Python.
        precision: Dtype policy that the model is built under.
        epochs: Passes over the training split.
        callbacks: `{name: arguments}` of callbacks for training.
        checkpoint_steps: Steps between checkpoints; `None`: one at the end of each epoch.
        seed: Of weights, shuffling and dropout.
        output: Folder that is written.
    """

    modalities: dict[str, Modality]
    num_classes: Any
    source: Source | Described
    builder: str = "build_mcnn"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    splits: Splits = dataclasses.field(default_factory=Splits)
    preparation: Preparation = dataclasses.field(default_factory=Preparation)
    target: Source | Described | None = None
    optimizer: Any = "adam"
    learning_rate: float | None = None
    loss: Any = None
    metrics: Any = ("accuracy",)
    jit_compile: bool | str = "auto"
    steps_per_execution: int = 1
    precision: str = "float32"
    epochs: int = 10
    callbacks: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    checkpoint_steps: int | None = None
    seed: int = 0
    output: str = "runs/train"


class _UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key given twice, which plain YAML silently overwrites."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise ValueError(
                f"line {node.start_mark.line + 1}: each key must be given once. "
                f"Received twice: {repeated}."
            )
        return super().construct_mapping(node, deep)


def read_config(path: str | pathlib.Path) -> Experiment:
    """Reads an experiment from a YAML file.

    Args:
        path: Of the file; `mm-keras train --help` shows an example.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: For a file that is no YAML, an unknown key (the nearest valid one is named), a
            key given twice, or a value that doesn't fit.
    """
    return read_yaml(path, parse_config)


def read_yaml(path: str | pathlib.Path, parse: Callable[[Any], Parsed]) -> Parsed:
    """Returns what `parse` makes of a YAML file; its errors name the file."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`path` must be an existing YAML file. Received: path={path}.")
    try:
        return parse(yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} must be YAML. Received: {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def parse_config(config: Mapping[str, Any]) -> Experiment:
    """Makes an experiment of the nested dict that a YAML file holds."""
    check_keys(
        "config",
        config,
        ["modalities", "builder", "dataset", "precision", "compile", "fit", "seed", "output"],
    )
    for key in ("modalities", "builder", "dataset"):
        if key not in config:
            raise ValueError(f"`config` must have the key {key!r}. Received: {sorted(config)}.")
    modalities = {
        name: _modality(name, options)
        for name, options in as_mapping("modalities", config["modalities"]).items()
    }
    builder = _builder(config["builder"])
    parts = {
        **builder,
        **_dataset(config["dataset"], modalities, builder["num_classes"]),
        **_compilation(config),
        **_part("fit", config, ["epochs", "callbacks", "checkpoint_steps"]),
        **{key: config[key] for key in ("precision", "seed", "output") if key in config},
    }
    check_int("fit.epochs", parts.get("epochs", 1))
    if parts.get("checkpoint_steps") is not None:
        check_int("fit.checkpoint_steps", parts["checkpoint_steps"])
    parts["callbacks"] = _callbacks(parts.get("callbacks", {}))
    check_choice("precision", parts.get("precision", "float32"), PRECISIONS)
    check_int("seed", parts.get("seed", 0), minimum=0)
    if ("target" in parts) != (parts["builder"] == "build_afe"):
        raise ValueError(
            "`dataset.target` must be given with build_afe, which adapts to another domain, and "
            f"with no other builder. Received: builder {parts['builder']!r}, "
            f"{'a' if 'target' in parts else 'no'} target."
        )
    if "target" in parts and parts["preparation"].needs_labels:
        raise ValueError(
            "`dataset.balance`, `dataset.class_weights` and `dataset.mix` must not be given with "
            "build_afe, whose target has no labels to go by. Received: "
            f"{[key for key in KEYS if key in config['dataset']]}."
        )
    parts["preparation"].check(modalities, parts["num_classes"])
    return Experiment(modalities=modalities, **parts)


def _compilation(config: Mapping[str, Any]) -> dict[str, Any]:
    part = _part("compile", config, COMPILE)
    check_choice("compile.jit_compile", part.get("jit_compile", "auto"), ["auto", True, False])
    check_int("compile.steps_per_execution", part.get("steps_per_execution", 1))
    rate = part.get("learning_rate")
    if rate is not None:
        check_number("compile.learning_rate", rate)
    if "optimizer" in part:
        part["optimizer"] = read_optimizer("compile.optimizer", part["optimizer"], rate)
        own = part["optimizer"]["config"] if isinstance(part["optimizer"], Mapping) else {}
        if rate is None and isinstance(own.get("learning_rate"), int | float):
            part["learning_rate"] = own["learning_rate"]  # for what trains further
    return part


def _part(where: str, config: Mapping[str, Any], valid: Iterable[str]) -> dict[str, Any]:
    part = config.get(where, {})
    check_keys(where, part, valid)
    return dict(part)


def _made(where: str, cls: type, options: Mapping[str, Any]) -> Any:
    """Makes a dataclass of options after a check of their names."""
    fields = dataclasses.fields(cls)
    names = [field.name for field in fields]
    missing = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        and field.name not in options
    ]
    unknown = [key for key in options if key not in names]
    if missing and unknown:  # one of these was meant, perhaps
        raise ValueError(
            f"`{where}` must have the keys {missing}, which are missing, and no others than "
            f"{names}.{nearest(unknown[0], names)} Received: {unknown[0]!r}."
        )
    check_keys(where, options, names)
    if missing:
        raise ValueError(f"`{where}` must have the keys {missing}. Received: {sorted(options)}.")
    return cls(**options)


def _modality(name: str, options: Any) -> Modality:
    options = dict(as_mapping(f"modalities.{name}", options))
    kind = options.pop("type", None)
    check_choice(f"modalities.{name}.type", kind, MODALITIES)
    return _made(f"modalities.{name}", MODALITIES[kind], options)


def builder_of(where: str, options: Any, further: Iterable[str] = ()) -> tuple[str, dict[str, Any]]:
    """Returns a builder's name and its options after a check of both."""
    options = dict(as_mapping(where, options))
    name = options.pop("name", "build_mcnn")
    check_choice(f"{where}.name", name, BUILDERS)
    valid = {*inspect.signature(BUILDERS[name]).parameters} - {"modalities", "num_classes"}
    check_keys(where, options, sorted({*valid, *further, "name"}))
    return name, options


def _builder(options: Any) -> dict[str, Any]:
    name, options = builder_of("builder", options, ["num_classes"])
    if "num_classes" not in options:
        raise ValueError(f"`builder` must have the key 'num_classes'. Received: {sorted(options)}.")
    num_classes = options.pop("num_classes")
    if isinstance(num_classes, Mapping):
        num_classes = (
            _head("label", num_classes)
            if "type" in num_classes
            else {head: _head(head, value) for head, value in num_classes.items()}
        )
    return {"builder": name, "num_classes": num_classes, "options": options}


def _head(name: str, options: Any) -> int | Head:
    if not isinstance(options, Mapping):
        return options
    options = dict(options)
    kind = options.pop("type", "Classification")
    check_choice(f"builder.num_classes.{name}.type", kind, HEADS)
    return _made(f"builder.num_classes.{name}", HEADS[kind], options)


def _callbacks(config: Any) -> dict[str, dict[str, Any]]:
    """Returns `{name: arguments}`, each of which makes a callback: a trial of it says so now."""
    made = {}
    for name, arguments in as_mapping("fit.callbacks", config).items():
        check_choice("fit.callbacks", name, CALLBACKS)
        arguments = dict(as_mapping(f"fit.callbacks.{name}", arguments or {}))
        valid = inspect.signature(CALLBACKS[name].__init__).parameters
        check_keys(f"fit.callbacks.{name}", arguments, [key for key in valid if key != "self"])
        CALLBACKS[name](**arguments)
        made[name] = arguments
    return made


def _dataset(options: Any, modalities: Mapping[str, Modality], num_classes: Any) -> dict[str, Any]:
    options = dict(as_mapping("dataset", options))
    target = options.pop("target", None)
    split_keys = [field.name for field in dataclasses.fields(Splits)]
    splits = {key: options.pop(key) for key in split_keys if key in options}
    preparation = {key: options.pop(key) for key in KEYS if key in options}
    further = [*split_keys, *KEYS]
    made = {
        "source": _source("dataset", options, further, modalities, num_classes),
        "splits": Splits(**splits),
        "preparation": read_preparation(preparation, modalities),
    }
    if target is not None:  # like the source, but for what is said
        target = {**options, **as_mapping("dataset.target", target)}
        made["target"] = _source("dataset.target", target, (), modalities, num_classes)
    return made


def _source(where: str, options, further: Iterable[str], modalities, num_classes) -> Any:
    options = dict(options)
    kind = options.pop("type", "tfds")
    check_choice(f"{where}.type", kind, SOURCES)
    cls = SOURCES[kind]
    source_keys = {field.name for field in dataclasses.fields(cls)} - {"modalities"}
    check_keys(where, options, [*sorted(source_keys), *further, *(["target"] if further else [])])
    if kind == "folder":
        options["modalities"] = modalities
    if "classes" in source_keys:
        options["classes"] = _classes(options.get("labels"), options.get("classes"), num_classes)
    return _made(where, cls, options)


def _classes(labels: Any, given: Any, num_classes: Any) -> Any:
    """Returns what labels are: numbers for heads that predict such, unless the file says more."""

    def of(head: Any) -> str | None:
        return "numbers" if isinstance(head, Regression | MultiLabel) else None

    if isinstance(labels, Mapping):
        heads = num_classes if isinstance(num_classes, Mapping) else {}
        given = given if isinstance(given, Mapping) else dict.fromkeys(labels, given)
        return {head: given.get(head) or of(heads.get(head)) for head in labels}
    return given or of(num_classes)
