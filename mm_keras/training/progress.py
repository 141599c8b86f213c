"""A progress bar for `fit`."""

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class ProgressBar(keras.callbacks.Callback):
    """One line for a whole `fit`: steps done, time left, and the latest metrics of each epoch.

    Pass it in `callbacks` with `verbose=0`. On an output that is no terminal it prints one line at
    the end.

    Args:
        description: Stands before the bar.
        console: A `rich.console.Console`; `None`: standard output.
    """

    def __init__(self, description: str = "training", console: Console | None = None):
        super().__init__()
        self.description = description
        self.console = console or Console()
        self._progress = None

    def on_train_begin(self, logs=None):
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=self.console,
        )
        self._progress.start()
        steps = self.params.get("steps")
        total = steps * self.params["epochs"] if steps else None
        self._task = self._progress.add_task(self.description, total=total, metrics="")

    def on_train_batch_end(self, batch, logs=None):
        self._progress.advance(self._task)

    def on_epoch_end(self, epoch, logs=None):
        shown = {name: value for name, value in (logs or {}).items() if "loss" not in name}
        text = " ".join(f"{name} {value:.2f}" for name, value in shown.items())
        self._progress.update(self._task, metrics=f"{epoch + 1}/{self.params['epochs']} {text}")

    def on_train_end(self, logs=None):
        task = self._progress.tasks[self._task]
        self._progress.update(self._task, total=task.completed)
        self._progress.stop()
