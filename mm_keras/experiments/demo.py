"""The demo: is sight and sound better than either?"""

import pathlib

from rich.console import Console

from mm_keras import plots
from mm_keras.datasets.source import Source
from mm_keras.experiments.config import Experiment, Splits
from mm_keras.experiments.outcome import Outcome
from mm_keras.experiments.outcome_table import outcome_table
from mm_keras.experiments.run import run_experiment
from mm_keras.experiments.write_metrics import write_metrics
from mm_keras.modalities import Audio, Image

MODALITIES = {
    "audio": Audio(6400, 8000, backbone="SmallCNN", mel_bins=32, stride=0.02, window=0.032),
    "image": Image((8, 8, 1), backbone="SmallCNN"),
}
EPOCHS = 12


def demo_experiment(names: tuple[str, ...], epochs: int = EPOCHS, seed: int = 0) -> Experiment:
    """Returns the experiment on `av_digits` that uses the named modalities."""
    return Experiment(
        modalities={name: MODALITIES[name] for name in names},
        num_classes=10,
        # The fusion whose lead holds in every seed of benchmarks/results/av_digits.json.
        options={"fusion": "cross_attention"} if len(names) > 1 else {},
        source=Source("av_digits", cache=True),
        splits=Splits(batch_size=32),
        epochs=epochs,
        seed=seed,
    )


def run_demo(
    folder: str | pathlib.Path,
    epochs: int = EPOCHS,
    seed: int = 0,
    console: Console | None = None,
) -> list[Outcome]:
    """Trains image only, audio only and both on `av_digits`, and writes everything to a folder.

    The folder receives the fused model as `.keras` and SavedModel, its diagram, its confusion
    matrix, the learning curves of all three, and `metrics.json`.

    Args:
        folder: Made where it doesn't exist.
        epochs: Of each training.
        seed: Of weights and shuffling.
        console: Where table and progress bars go; `None`: standard output.
    """
    console = console or Console()
    folder = pathlib.Path(folder)
    outcomes = [
        run_experiment(demo_experiment(names, epochs, seed), label, console)
        for label, names in (
            ("image only", ("image",)),
            ("audio only", ("audio",)),
            ("image + audio", ("audio", "image")),
        )
    ]
    fused = outcomes[-1]
    if deleted := fused.write(folder, training_data="av_digits"):
        console.print(f"Deleted, since made of an earlier model: {', '.join(deleted)}.")
    curves = plots.learning_curves({outcome.name: outcome.history for outcome in outcomes})
    curves.savefig(folder / "learning_curves.png", dpi=150)
    write_metrics(outcomes, folder / "metrics.json", dataset="av_digits", epochs=epochs, seed=seed)
    console.print(outcome_table(outcomes, "av_digits: handwritten and spoken digits, with noise"))
    return outcomes
