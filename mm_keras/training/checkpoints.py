"""The state of a training on disk: whole or not at all, checked, the last few kept."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Sequence

import keras
import numpy as np

from mm_keras._checks import check_int
from mm_keras._files import written_whole
from mm_keras.training.callback_states import check_states, get_states, set_states

MANIFEST = "manifest.json"
NAME = re.compile(r"epoch-(\d{6})-step-(\d{9})\.checkpoint")
FORMAT = 1
DAMAGE = (zipfile.BadZipFile, struct.error, zlib.error)  # by what is damaged, also built-in errors


class DamagedCheckpoint(ValueError):
    """A file that is not what was written."""


@dataclasses.dataclass(frozen=True)
class Position:
    """Where a training is.

    Args:
        epoch: That is under way, or to begin, counted from 0.
        step: Steps of it that are done.
        stopped: Whether a callback has ended the training.
    """

    epoch: int = 0
    step: int = 0
    stopped: bool = False


class Checkpoints:
    """Keeps the state of a training in a folder, for `mm.distribute.fit(…, checkpoints=…)`.

    A checkpoint is one file with all that decides how training goes on: weights, statistics and
    random states of the model, the optimizer, the running metrics, the callbacks, epoch and step. A
    file is written whole beside the others and then takes its name, so that a process killed at
    any moment leaves the earlier ones as they were. Each part has a SHA-256: a damaged file is set
    aside as `….damaged`, with a warning, and the one before is used; a second one of that name as
    `….damaged-2`.

    Of callbacks, attributes that are numbers, strings, arrays, and lists or dicts of these are
    kept: what Keras' own and this package's consist of.

    Args:
        folder: Made where it doesn't exist; for this training alone.
        keep: Number of checkpoints kept, the last ones.
        every: Steps between checkpoints within an epoch; `None`: only at the end of each epoch.

    Raises:
        ValueError: If an argument doesn't fit.

    Example:

    >>> import tempfile
    >>> import keras
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4)}, 2, width=4)
    >>> model.compile("adam", mm.losses.classification())
    >>> checkpoints = mm.training.Checkpoints(tempfile.mkdtemp())
    >>> path = checkpoints.save(model, mm.training.Position(epoch=3))
    >>> path.name
    'epoch-000003-step-000000000.checkpoint'
    >>> checkpoints.restore(model).epoch
    3
    """

    def __init__(self, folder: str | os.PathLike, keep: int = 3, every: int | None = None):
        check_int("keep", keep)
        if every is not None:
            check_int("every", every)
        self.folder = pathlib.Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"`folder` must name a folder. Received: {folder}, which is a file.")
        self.keep = keep
        self.every = every

    @property
    def paths(self) -> list[pathlib.Path]:
        """The checkpoints there are, the oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if NAME.fullmatch(path.name))

    def save(
        self,
        model: keras.Model,
        position: Position,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> pathlib.Path:
        """Writes a checkpoint and removes those beyond the last `keep`.

        Raises:
            OSError: If it can't be written: the disk is full, say. Earlier ones are left whole.
        """
        self._sweep()
        states, arrays = get_states(callbacks)
        variables = _variables(model, metrics=position.step > 0)
        path = self.folder / f"epoch-{position.epoch:06d}-step-{position.step:09d}.checkpoint"
        manifest = {
            "format": FORMAT,
            "position": dataclasses.asdict(position),
            "variables": [variable.path for variable in variables],
            "callbacks": states,
            "parts": [],
        }
        try:
            with written_whole(path) as unfinished, open(unfinished, "xb") as file:
                with zipfile.ZipFile(file, "w") as archive:
                    for value in (*variables, *arrays):
                        array = keras.ops.convert_to_numpy(value)
                        content = array.tobytes()
                        archive.writestr(str(len(manifest["parts"])), content)
                        manifest["parts"].append(_summary(array, content))
                    archive.writestr(MANIFEST, json.dumps(manifest))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            kept = self.paths
            raise OSError(
                f"The checkpoint {path} can't be written: {error}. "
                + (
                    f"{kept[-1].name} before it is whole: make room and go on from there."
                    if kept
                    else "There is none before it."
                )
            ) from error
        for old in self.paths[: -self.keep]:
            old.unlink()
        return path

    def restore(
        self, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback] = ()
    ) -> Position | None:
        """Puts the state of the last whole checkpoint back; returns where it was, `None`: nowhere.

        Args:
            model: Built and compiled as it was. Within an epoch its metrics go on too, so these
                must be built: by a batch, or as `mm.distribute.fit` does it.
            callbacks: As they were; several of a class in the same order.

        Raises:
            ValueError: If the checkpoint is of another model or of other callbacks. Nothing is
                changed then.
        """
        for path in reversed(self.paths):
            try:
                manifest, parts = _read(path)
            except DamagedCheckpoint as error:
                aside = _free_name(path)
                path.replace(aside)
                warnings.warn(
                    f"The checkpoint {path.name} is damaged: {error}. It is set aside as "
                    f"{aside.name}; the one before it is used.",
                    stacklevel=2,
                )
                continue
            check_states(callbacks, manifest["callbacks"])
            _assign(model, manifest, parts, path)
            set_states(callbacks, manifest["callbacks"], parts[len(manifest["variables"]) :])
            return Position(**manifest["position"])
        return None

    def _sweep(self) -> None:
        """Removes what killed processes left of checkpoints that they were writing."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name.startswith(".epoch-") and path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)


def _free_name(path: pathlib.Path) -> pathlib.Path:
    """Returns where to set a damaged file aside, beside those of its name that are there."""
    aside, number = path.with_name(f"{path.name}.damaged"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{number}")
    return aside


def _variables(model: keras.Model, metrics: bool) -> list[keras.Variable]:
    """Returns all that training changes, with or without the running metrics of the epoch."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)
    kept = [] if optimizer is None else optimizer.variables
    running = model.metrics_variables if metrics else []
    return [*model.variables, *kept, *running]


def _summary(array: np.ndarray, content: bytes) -> dict:
    digest = hashlib.sha256(content).hexdigest()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": digest}


def _read(path: pathlib.Path) -> tuple[dict, list[np.ndarray]]:
    """Returns the manifest and the arrays, all of them checked."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read(MANIFEST))
            parts = []
            for number, part in enumerate(manifest["parts"]):
                content = archive.read(str(number))
                if hashlib.sha256(content).hexdigest() != part["sha256"]:
                    raise DamagedCheckpoint(f"part {number} is not what was written")
                parts.append(np.frombuffer(content, part["dtype"]).reshape(part["shape"]))
    except (*DAMAGE, EOFError, KeyError, RuntimeError, ValueError) as error:
        raise DamagedCheckpoint(str(error)) from error
    if manifest["format"] != FORMAT:
        raise ValueError(
            f"{path} must be of format {FORMAT}. Received: format {manifest['format']}, which "
            "another version of mm_keras wrote."
        )
    return manifest, parts


def _assign(
    model: keras.Model, manifest: dict, parts: Sequence[np.ndarray], path: pathlib.Path
) -> None:
    variables = _variables(model, metrics=manifest["position"]["step"] > 0)
    stored = _kinds(manifest["variables"], (part.shape for part in parts))
    found = _kinds((v.path for v in variables), (tuple(v.shape) for v in variables))
    if found != stored:
        lacking = [f"{name} {shape}" for name, shape in stored if (name, shape) not in found]
        raise ValueError(
            f"`model` must be built and compiled as the one whose training {path} holds, of "
            f"{len(stored)} variables. Received: a model of {len(found)} variables"
            + (f", without {', '.join(lacking[:5])}." if lacking else ".")
        )
    for variable, part in zip(variables, parts, strict=False):
        variable.assign(part)


def _kinds(paths: Iterable[str], shapes: Iterable[tuple]) -> list[tuple[str, tuple]]:
    """Returns names and shapes; names without the numbers that another model before adds."""
    return [
        (re.sub(r"_\d+(?=/|$)", "", path), tuple(shape))
        for path, shape in zip(paths, shapes, strict=False)
    ]
