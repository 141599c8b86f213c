"""Trains what an experiment describes, and measures it."""

import contextlib
import time
from collections.abc import Mapping, Sequence

import keras
from rich.console import Console

from mm_keras import distribute
from mm_keras._graphs import dtype_policy
from mm_keras.data import check_dataset, domain_batches, labels_for_outputs
from mm_keras.distribute import Workers
from mm_keras.experiments.compilation import compile_for
from mm_keras.experiments.config import CALLBACKS, Experiment
from mm_keras.experiments.fitting import check_classes, check_splits
from mm_keras.experiments.measuring import Batches, measure_model
from mm_keras.experiments.outcome import Outcome
from mm_keras.modalities import Modality
from mm_keras.models import BUILDERS, Classification, inference_model
from mm_keras.models.heads import check_heads
from mm_keras.training import Checkpoints, ProgressBar


def run_experiment(
    experiment: Experiment,
    name: str = "model",
    console: Console | None = None,
    workers: Workers | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Outcome | None:
    """Trains and measures what an experiment describes.

    Args:
        experiment: From `read_config`, or made by hand.
        name: Of the model in tables and progress bars.
        console: Where the progress bar goes; `None`: standard output.
        workers: Of the strategy to train with: each of them calls this. `None`: this process.
        checkpoints: Where to keep the state of the training.
        resume: Whether to go on from the last of them, if there is one.
        callbacks: Besides those of the experiment.

    Returns:
        The outcome. Of several workers the chief alone measures it, on a copy of the model that is
        its own; the others return `None` at once.

    Raises:
        ValueError: Before training, if data and experiment don't fit: splits, classes, columns.
    """
    splits = experiment.splits
    sources = [one for one in (experiment.source, experiment.target) if one]
    with workers.chief_first() if workers else contextlib.nullcontext():
        modalities = _adapted(experiment)
        for source in sources if workers else ():  # TFDS prepares what nobody has used yet
            source.batches(splits.train, modalities, splits.batch_size)
    keras.utils.set_random_seed(experiment.seed)  # after TFDS, which may draw numbers
    heads = check_heads(experiment.num_classes)

    with workers.strategy.scope() if workers else contextlib.nullcontext():
        model = _built(experiment, modalities)

    def batches(source, split: str, shuffle: bool = False) -> Batches:
        return source.batches(split, modalities, splits.batch_size, shuffle, experiment.seed)

    def learnt_from(split: str, training: bool = False) -> Batches:
        def prepared(source) -> Batches:
            found = batches(source, split, training)
            if not training:
                return experiment.preparation.like_mixed(found, heads)
            return experiment.preparation(
                found, modalities, heads, splits.batch_size, experiment.seed
            )

        found = prepared(experiment.source)
        if experiment.target:
            pair = (found, prepared(experiment.target))
            known = [int(one.cardinality()) for one in pair]  # in batches, of which each gets half
            found = domain_batches(
                *(one.unbatch() for one in pair),
                splits.batch_size,
                steps=2 * max(known) if min(known) > 0 else None,
            )
        return labels_for_outputs(found, model)

    history, seconds = train_model(
        model,
        learnt_from(splits.train, training=True),
        learnt_from(splits.validation) if splits.validation else None,
        epochs=experiment.epochs,
        callbacks=[
            *(CALLBACKS[key](**options) for key, options in experiment.callbacks.items()),
            *callbacks,
        ],
        name=name,
        console=console,
        workers=workers,
        checkpoints=checkpoints,
        resume=resume,
    )
    if workers and workers.strategy.num_replicas_in_sync > 1:
        if not workers.is_chief:
            return None
        trained, model = model, _built(experiment, modalities)
        model.set_weights(trained.get_weights())
    shipped = inference_model(model)
    compile_for(shipped, experiment)
    test = batches(experiment.target or experiment.source, splits.test)
    test = experiment.preparation.like_mixed(test, heads)
    return measure_model(
        model,
        labels_for_outputs(test, shipped),
        history,
        seconds,
        classes=[head for head, spec in heads.items() if isinstance(spec, Classification)],
        shipped=shipped,
        name=name,
    )


def check_experiment(experiment: Experiment) -> None:
    """Raises for what would stop `run_experiment` before it trains: builds and reads little.

    The data's rows are read, and what of them is in memory is checked; files that rows name are
    not. The model is built, and thrown away.

    Args:
        experiment: As for `run_experiment`.
    """
    splits = experiment.splits
    modalities = _adapted(experiment)
    experiment.preparation.check(modalities, experiment.num_classes)
    for split in filter(None, (splits.train, splits.validation, splits.test)):
        experiment.source.batches(split, modalities, splits.batch_size)
    _built(experiment, modalities)


def _adapted(experiment: Experiment) -> dict[str, Modality]:
    """Returns the specs, adapted on the training split, after a check of splits and classes."""
    check_splits(experiment)
    check_classes(experiment)
    return experiment.source.adapt(experiment.modalities, experiment.splits.train)


def _built(experiment: Experiment, modalities: Mapping[str, Modality]) -> keras.Model:
    """Returns the compiled model."""
    with dtype_policy(experiment.precision):
        made = BUILDERS[experiment.builder](
            modalities, experiment.num_classes, **experiment.options
        )
    compile_for(made, experiment)
    return made


def train_and_measure(
    model: keras.Model,
    train: Batches,
    validation: Batches | None,
    test: Batches,
    *,
    epochs: int,
    classes: Sequence[str] = ("label",),
    shipped: keras.Model | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    name: str = "model",
    console: Console | None = None,
) -> Outcome:
    """Checks the data, trains a compiled model with a progress bar and measures it.

    Args:
        model: Compiled.
        train: Batches that are trained on.
        validation: Batches watched during training.
        test: Batches for the figures at the end.
        epochs: Passes over `train`.
        classes: Outputs that are classes, for confusion matrices.
        shipped: `inference_model(model)`, compiled, for the figures at the end; `None`: the model.
        callbacks: Of the training.
        name: Of the model in tables and progress bars.
        console: Where the progress bar goes; `None`: standard output.
    """
    trained = train_model(
        model, train, validation, epochs=epochs, callbacks=callbacks, name=name, console=console
    )
    return measure_model(model, test, *trained, classes=classes, shipped=shipped, name=name)


def train_model(
    model: keras.Model,
    train: Batches,
    validation: Batches | None,
    *,
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    name: str = "model",
    console: Console | None = None,
    workers: Workers | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
) -> tuple[dict[str, list[float]], float]:
    """Checks the data and trains a compiled model; returns the history and the seconds it took.

    Args:
        model: Compiled.
        train: Batches that are trained on.
        validation: Batches watched during training.
        epochs: Passes over `train`.
        callbacks: Of the training.
        name: In progress bars.
        console: Where the progress bar goes; `None`: standard output.
        workers: Those that train together; `None`: this process.
        checkpoints: Where to keep the state of the training. Without them, and without workers,
            the training is Keras' own `fit`.
        resume: Whether to go on from the last of them, if there is one.
    """
    check_dataset(train, model)
    options = {
        "validation_data": validation,
        "epochs": epochs,
        "verbose": 0,
        "callbacks": [ProgressBar(name, console), *callbacks],
    }
    start = time.perf_counter()
    if workers or checkpoints:
        history = distribute.fit(
            model, train, **options, checkpoints=checkpoints, resume=resume
        ).history
    else:  # the dataset shuffles itself
        history = model.fit(train, shuffle=False, **options).history
    seconds = time.perf_counter() - start
    return {key: [float(v) for v in values] for key, values in history.items()}, seconds
