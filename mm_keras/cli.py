"""The command `mm-keras`: it reads arguments, calls the package and prints."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from mm_keras._examples import COMPARISON, EXAMPLE


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0, or 2 for input that doesn't fit."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from rich.console import Console

    try:
        return options.run(options, Console())
    except (ValueError, TypeError, OSError) as error:
        Console(stderr=True).print(f"mm-keras: {error}", style="red", markup=False, highlight=False)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mm-keras", description="Multimodal networks for Keras 3, from the command line."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="train image, audio and both on embedded digits")
    demo.add_argument("--output", default="runs/demo", help="folder to write (%(default)s)")
    demo.add_argument("--epochs", type=_positive, help="of each training")
    demo.add_argument("--seed", type=int, default=0, help="of weights and shuffling (%(default)s)")
    demo.set_defaults(run=_demo)

    train = commands.add_parser(
        "train",
        help="train what a YAML file describes",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument("config", metavar="CONFIG.yaml")
    train.add_argument("--output", help="folder to write, instead of the file's")
    train.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="train in N processes: those that TF_CONFIG or Slurm tell of, else of this machine; "
        "the batch is that of all together. `auto`: the cluster's, or all GPUs of this machine",
    )
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on with the interrupted run in the output folder, if there is one",
    )
    train.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a finished run in the output folder, and delete what was exported from it",
    )
    train.add_argument(
        "--profile",
        action="store_true",
        help="write a trace of 20 steps for TensorBoard to the output folder; docs/distribute.md "
        "says how to read it",
    )
    train.set_defaults(run=_train)

    compress = commands.add_parser(
        "compress",
        help="make a trained model small and fast, and show what it cost",
        description="Makes variants of a trained model, writes them, and prints one table: "
        "accuracy on the test split, size, latency, memory. int8, dynamic, float16 and 16x8 are "
        "quantized after training, in seconds; pruned, clustered, qat and combined (pruned, "
        "clustered, quantized) are trained further.",
    )
    compress.add_argument(
        "model", metavar="RUN", help="folder that `mm-keras train` wrote, or a .keras file"
    )
    compress.add_argument("--config", help="YAML file with the dataset, for a .keras file")
    compress.add_argument(
        "--variants",
        default="int8,dynamic,float16",
        help="with commas, or all: int8, dynamic, float16, 16x8, pruned, clustered, qat, combined "
        "(%(default)s)",
    )
    compress.add_argument("--sparsity", type=float, help="share of zeros when pruned (0.8)")
    compress.add_argument("--clusters", type=_positive, help="values of a clustered kernel (16)")
    compress.add_argument("--epochs", type=_positive, help="of each further training (2)")
    compress.add_argument(
        "--learning-rate", type=float, help="of it (the run's to prune, else a tenth)"
    )
    compress.add_argument("--output", help="folder to write (RUN/compressed)")
    compress.set_defaults(run=_compress)

    compare = commands.add_parser(
        "compare",
        help="train several systems and each modality alone, with several seeds or folds",
        description="Trains every system and every single modality under one budget and prints "
        "mean, interval and a paired test. Started again after a crash, it goes on.",
        epilog=COMPARISON,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    compare.add_argument("config", metavar="CONFIG.yaml")
    compare.add_argument("--output", help="folder to write, instead of the file's")
    compare.add_argument(
        "--folds", type=_positive, help="of the training and test samples, instead of the file's"
    )
    compare.set_defaults(run=_compare)

    predict = commands.add_parser(
        "predict",
        help="write what a trained model says of each row of a table without labels",
        description="Reads a CSV or .npz file as that of training was read, and writes a CSV file "
        "with its columns and the predictions. What cannot be read is absent where the modality is "
        "optional; else the row has no prediction, which is told.",
    )
    predict.add_argument(
        "model", metavar="RUN", help="folder that `mm-keras train` wrote, or a .keras file"
    )
    predict.add_argument("data", metavar="DATA", help="CSV or .npz file, with columns as trained")
    predict.add_argument("--config", help="YAML file of the training, for a .keras file")
    predict.add_argument(
        "--probabilities", action="store_true", help="a column for each class, too"
    )
    predict.add_argument("--batch-size", type=_positive, help="rows at a time (that of training)")
    predict.add_argument("--output", help="CSV file (predictions.csv beside DATA)")
    predict.set_defaults(run=_predict)

    inspect = commands.add_parser(
        "inspect",
        help="show what is in a dataset: classes, shapes, missing and broken records, samples",
        description="Prints class counts, shapes, missing and broken records, and draws samples. "
        "A YAML file is read as `mm-keras train` reads it. Of a CSV file or a folder of classes, "
        "the kinds of columns are concluded from endings and cells, and printed: state them in "
        "YAML to train.",
    )
    inspect.add_argument("data", metavar="DATA", help="CONFIG.yaml, a CSV file or a folder")
    inspect.add_argument("--labels", help="column of labels of a CSV file (label, if there is one)")
    inspect.add_argument("--samples", type=_positive, default=8, help="drawn (%(default)s)")
    inspect.add_argument("--output", default="contact_sheet.png", help="picture (%(default)s)")
    inspect.set_defaults(run=_inspect)

    export = commands.add_parser(
        "export",
        help="write a trained model for TensorFlow, phones (LiteRT) or ONNX",
        description="Converts a .keras file, or that of a folder that `mm-keras train` wrote, and "
        "checks in a fresh process that the written file predicts what the model predicts.",
    )
    export.add_argument("model", metavar="MODEL", help="a .keras file, or a folder with one")
    export.add_argument("--format", required=True, help="keras, saved_model, litert or onnx")
    export.add_argument("--output", help="path to write (beside MODEL)")
    export.add_argument(
        "--preprocessing",
        nargs="?",
        const="stretch",
        choices=["stretch", "pad", "crop"],
        help="take raw pictures, sounds and texts; pictures of another size are stretched, or "
        "padded or cropped (both in a SavedModel only)",
    )
    export.add_argument("--no-check", action="store_true", help="do not compare file and model")
    export.set_defaults(run=_export)

    info = commands.add_parser("info", help="show versions, devices and builders")
    info.set_defaults(run=_info)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, received {text}")
    return value


def _workers(text: str) -> int | str:
    return text if text == "auto" else _positive(text)


def _demo(options: argparse.Namespace, console) -> int:
    from mm_keras.experiments.demo import EPOCHS, run_demo

    run_demo(options.output, options.epochs or EPOCHS, options.seed, console)
    console.print(f"\nWritten to {options.output}: model, SavedModel, pictures, metrics.json.")
    console.print("What to try next:")
    console.print("  mm-keras train --help      an experiment of your own, in a few lines of YAML")
    console.print("  mm-keras info              versions, devices, builders and backbones")
    console.print("  README.md                  the same in Python, with your own data")
    return 0


def _train(options: argparse.Namespace, console) -> int:
    import pathlib
    import shutil

    from mm_keras import distribute, plots
    from mm_keras.data.bad_records import plain_errors
    from mm_keras.experiments import outcome_table, read_config, run_experiment
    from mm_keras.experiments.earlier_run import other_exports
    from mm_keras.experiments.interruption import run_checkpoints
    from mm_keras.experiments.write_metrics import write_metrics

    found = distribute.cluster_workers()
    if options.workers not in ("auto", found):
        if found:
            raise ValueError(
                f"`--workers` must be {found}, as TF_CONFIG or Slurm says, or auto. "
                f"Received: {options.workers}."
            )
        if options.workers and options.workers > 1:
            command = [sys.executable, "-m", "mm_keras", "train", options.config]
            command += ["--workers", str(options.workers)]
            command += ["--output", options.output] if options.output else []
            command += [
                f"--{name}" for name in ("resume", "overwrite", "profile") if getattr(options, name)
            ]
            return distribute.launch(command, options.workers)
    # Before anything else that uses TensorFlow.
    workers = distribute.Workers(distribute.strategy()) if options.workers else None

    experiment = read_config(options.config)
    described = pathlib.Path(options.config).read_bytes()  # it may be the copy of an earlier run
    folder = pathlib.Path(options.output or experiment.output)
    with workers.chief_first() if workers else contextlib.nullcontext():
        checkpoints = run_checkpoints(
            folder, options.config, experiment, options.resume, options.overwrite
        )
    with plain_errors():
        outcome = run_experiment(
            experiment,
            experiment.builder,
            console,
            workers,
            checkpoints,
            options.resume,
            [distribute.Profiler(folder / "profile")] if options.profile else [],
        )
    if outcome is None:  # the chief has it, and writes
        workers.exchange(0)
        return 0
    classes = {
        head: names
        for head in outcome.predictions
        if len(names := experiment.source.classes_of(head)) == outcome.model.output[head].shape[-1]
    }
    try:
        deleted = outcome.write(folder, classes, training_data=experiment.source.name)
    finally:  # also where a picture can't be written
        write_metrics([outcome], folder / "metrics.json", seed=experiment.seed)
        (folder / "config.yaml").write_bytes(described)
    if deleted:
        console.print(f"Deleted, since made of an earlier model: {', '.join(deleted)}.")
    if left := other_exports(folder):
        console.print(f"Of an earlier model, and still there: {', '.join(left)}.")
    for metric in outcome.test:
        if metric in outcome.history:
            figure = plots.learning_curves({outcome.name: outcome.history}, metric)
            figure.savefig(folder / f"learning_curve_{metric}.png", dpi=150)
    console.print(outcome_table([outcome], experiment.source.name))
    report = getattr(experiment.source, "report", None)
    if report is not None and report.count:
        report.write_csv(folder / "bad_records.csv")
        console.print(f"{report.count} bad records: see bad_records.csv.")
        for words in report.losses:
            console.print(words, style="red", markup=False, highlight=False)
    shutil.rmtree(checkpoints.folder)
    console.print(f"Written to {folder}.")
    if workers:
        workers.exchange(0)  # the others wait, lest their end be taken for a failure
    return 0


def _compress(options: argparse.Namespace, console) -> int:
    import pathlib

    from mm_keras.data.bad_records import plain_errors
    from mm_keras.experiments import read_trained
    from mm_keras.experiments.compression import Settings, compress_trained, variants

    given = {
        name: value
        for name in ("sparsity", "clusters", "epochs", "learning_rate")
        if (value := getattr(options, name)) is not None
    }
    settings = Settings(**given)
    names = variants(options.variants)
    model, experiment = read_trained(options.model, options.config)
    run = pathlib.Path(options.model)
    folder = options.output or (run if run.is_dir() else run.parent) / "compressed"
    with plain_errors():
        compress_trained(model, experiment, names, settings, folder, console)
    console.print(f"Written to {folder}.", highlight=False)
    return 0


def _compare(options: argparse.Namespace, console) -> int:
    import dataclasses

    from mm_keras.data.bad_records import plain_errors
    from mm_keras.experiments import compare, read_comparison

    comparison = read_comparison(options.config)
    if options.folds:
        comparison = dataclasses.replace(comparison, folds=options.folds)
    folder = options.output or comparison.experiment.output
    with plain_errors():
        compare(comparison, folder, console)
    console.print(f"Written to {folder}: comparison.json, comparison.csv, comparison.png.")
    return 0


def _predict(options: argparse.Namespace, console) -> int:
    import pathlib

    from mm_keras.data.bad_records import plain_errors
    from mm_keras.experiments import classes_of, predict_rows, read_trained

    model, experiment = read_trained(options.model, options.config)
    data = pathlib.Path(options.data)
    output = pathlib.Path(options.output or data.parent / "predictions.csv")
    with plain_errors():
        found = predict_rows(
            model,
            experiment,
            data,
            classes=classes_of(options.model),
            probabilities=options.probabilities,
            batch_size=options.batch_size,
            console=console,
        )
    found.write_csv(output)
    if found.unread:
        console.print(f"{len(found.unread)} of {found.count} rows have no prediction.")
    console.print(
        f"Predictions for {found.count - len(found.unread)} rows in {output}.", highlight=False
    )
    return 0


def _inspect(options: argparse.Namespace, console) -> int:
    import logging
    import pathlib

    from mm_keras import plots
    from mm_keras.data.bad_records import plain_errors
    from mm_keras.experiments import inspect_data

    logger = logging.getLogger("mm_keras.data")
    level = logger.level
    logger.setLevel(logging.ERROR)  # what it would say is printed below
    try:
        with plain_errors():
            found = inspect_data(options.data, labels=options.labels, samples=options.samples)
    finally:
        logger.setLevel(level)
    for part in found.tables():
        console.print(part)
    figure = plots.contact_sheet(found.inputs, found.titles, found.modalities)
    output = pathlib.Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=120)
    console.print(f"Samples drawn in {output}.", highlight=False)
    return 0


def _export(options: argparse.Namespace, console) -> int:
    from mm_keras.exporting import export_file

    resize = {None: False, "stretch": True}.get(options.preprocessing, options.preprocessing)
    path = export_file(
        options.model,
        options.format,
        options.output,
        preprocessing=resize,
        check=not options.no_check,
    )
    checked = "not compared with the model" if options.no_check else "predicts what the model does"
    console.print(f"Written to {path}: {checked}.", highlight=False)
    return 0


def _info(options: argparse.Namespace, console) -> int:
    import keras

    from mm_keras.encoders import BACKBONES
    from mm_keras.experiments.versions import versions
    from mm_keras.layers import FUSIONS
    from mm_keras.models import BUILDERS

    rows = {
        **versions(),
        "devices": ", ".join(keras.distribution.list_devices()),
        "builders": ", ".join(BUILDERS),
        "fusions": ", ".join(FUSIONS),
        "backbones": ", ".join(BACKBONES),
    }
    for key, value in rows.items():
        console.print(f"{key:<12}{value}", highlight=False)
    return 0
