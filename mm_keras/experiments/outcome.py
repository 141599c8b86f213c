"""What came of an experiment."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from mm_keras import plots
from mm_keras._files import written_whole
from mm_keras.experiments.earlier_run import MODEL, delete_earlier_run
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
        classes: Mapping[str, Sequence[str]] | None = None,
        training_data: str | None = None,
    ) -> list[str]:
        """Writes the model (`.keras`, SavedModel), its diagram and confusion matrices.

        What was made of an earlier model in the folder is deleted. Then the model comes first, and
        everything else is tried, whatever fails: a trained model is not lost by a picture.

        Args:
            folder: Made where it doesn't exist.
            classes: `{head: names of its classes}`; a head left out has their numbers.
            training_data: For the cards of the models: what it was trained on.

        Returns:
            Names of what was deleted.

        Raises:
            OSError: If something could not be written. It names that, the reason, and where the
                model is.
        """
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        deleted = delete_earlier_run(folder)
        failed: dict[str, Exception] = {}

        def attempt(name: str, write: Callable[[pathlib.Path], Any]) -> None:
            try:
                write(folder / name)
            except Exception as error:  # whatever it is, the rest is written
                failed[name] = error

        def exported(path: pathlib.Path) -> None:
            # The check takes processes that import TensorFlow: `mm-keras export` makes it.
            export(
                self.model,
                path,
                format="keras" if path.suffix else "saved_model",
                check=False,
                classes=classes or None,
                metrics=self.test,
                training_data=training_data,
            )

        def without_card(path: pathlib.Path) -> None:
            with written_whole(path) as unfinished:
                inference_model(self.model).save(unfinished)

        attempt(MODEL, exported)
        if MODEL in failed:
            without_card(folder / MODEL)
        attempt("saved_model", exported)
        attempt("model_diagram.png", lambda p: plots.model_diagram(self.model).savefig(p, dpi=150))
        for head in self.predictions:
            suffix = "" if len(self.predictions) == 1 else f"_{head}"
            attempt(
                f"confusion_matrix{suffix}.png",
                lambda path, head=head: self._confusion(head, classes or {}).savefig(path, dpi=150),
            )
        if failed:
            reasons = "; ".join(f"{name}: {error}" for name, error in failed.items())
            raise OSError(
                f"Not everything could be written to {folder}, but the trained model is in "
                f"{folder / MODEL}{', without a card' if MODEL in failed else ''}. {reasons}"
            ) from next(iter(failed.values()))
        return deleted

    def _confusion(self, head: str, classes: Mapping[str, Sequence[str]]) -> Any:
        true, predicted = self.predictions[head]
        names = classes.get(head) or list(map(str, range(self.model.output[head].shape[-1])))
        return plots.confusion_matrix(true, predicted, names, f"{self.name}: {head}")
