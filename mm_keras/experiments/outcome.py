"""What came of an experiment."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from mm_keras import plots
from mm_keras.exporting import export
from mm_keras.models import inference_model


@dataclasses.dataclass
class Outcome:
    """What came of an experiment.

    Args:
        name: Of the model in tables.
        model: The trained model.
        history: `{metric: value of each epoch}`.
        test: `{metric: value}` on the test split.
        seconds: Wall-clock time of `fit`.
        latency_ms: Median milliseconds of `predict_on_batch` on one sample.
        predictions: `{head: (true, predicted)}` class numbers of classification heads on the test
            split.
    """

    name: str
    model: keras.Model
    history: dict[str, list[float]]
    test: dict[str, float]
    seconds: float
    latency_ms: float
    predictions: dict[str, tuple[np.ndarray, np.ndarray]]

    @property
    def parameters(self) -> int:
        """Number of parameters of the graph that ships."""
        return inference_model(self.model).count_params()

    def report(self) -> dict[str, Any]:
        """Returns the figures as plain JSON values."""
        return {
            "name": self.name,
            "test": self.test,
            "parameters": self.parameters,
            "training_seconds": round(self.seconds, 2),
            "latency_ms": round(self.latency_ms, 3),
            "history": self.history,
        }

    def write(
        self,
        folder: str | pathlib.Path,
        classes: Sequence[str] | None = None,
        training_data: str | None = None,
    ) -> None:
        """Writes the model (`.keras`, SavedModel), its diagram and confusion matrices.

        Args:
            folder: Made where it doesn't exist.
            classes: Names of the classes; `None`: their numbers.
            training_data: For the cards of the models: what it was trained on.
        """
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, format in (("model.keras", "keras"), ("saved_model", "saved_model")):
            # The check takes processes that import TensorFlow: `mm-keras export` makes it.
            export(
                self.model,
                folder / name,
                format=format,
                check=False,
                classes=dict.fromkeys(self.predictions, classes) if classes else None,
                metrics=self.test,
                training_data=training_data,
            )
        plots.model_diagram(self.model).savefig(folder / "model_diagram.png", dpi=150)
        for head, (true, predicted) in self.predictions.items():
            count = self.model.output[head].shape[-1]
            names = classes or [str(number) for number in range(count)]
            figure = plots.confusion_matrix(true, predicted, names, f"{self.name}: {head}")
            suffix = "" if len(self.predictions) == 1 else f"_{head}"
            figure.savefig(folder / f"confusion_matrix{suffix}.png", dpi=150)
