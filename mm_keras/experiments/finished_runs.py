"""The finished trainings of a comparison on disk: each is good for its settings and its data."""

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from mm_keras._files import written_whole
from mm_keras.experiments.config import Experiment


@dataclasses.dataclass(frozen=True)
class FinishedRuns:
    """One JSON file for each training of each row.

    A file is named by row, settings and training: a row that has changed has other files, and the
    earlier ones stay.

    Args:
        folder: Of the files.
        data: Digest of the data.
        settings: `{row: digest of its settings}`.
    """

    folder: pathlib.Path
    data: str
    settings: Mapping[str, str]

    def check(self) -> list[str]:
        """Returns the rows that have finished trainings, but with other settings only.

        Raises:
            ValueError: If the folder holds trainings on other data, or all rows have changed.
        """
        found = [json.loads(path.read_text("utf-8")) for path in sorted(self.folder.glob("*.json"))]
        what = "`folder` must be a new one, or that of the same comparison, which is then continued"
        if any(run.get("data") != self.data for run in found):
            raise ValueError(
                f"{what}. Received: folder={self.folder.parent}, whose runs have other data: its "
                "files were others when they were trained. Choose another folder, or delete "
                f"{self.folder} to train all rows anew."
            )
        finished = {(run.get("row"), run.get("settings")) for run in found}
        kept = [row for row, settings in self.settings.items() if (row, settings) in finished]
        names = {row for row, _ in finished}
        changed = [row for row in self.settings if row in names and row not in kept]
        if changed and not kept:
            raise ValueError(
                f"{what}: some rows may change, but not all. Received: "
                f"folder={self.folder.parent}, whose runs have other settings of {changed}. Choose "
                f"another folder, or delete {self.folder}."
            )
        return changed

    def read(self, row: str, training: str) -> dict[str, Any] | None:
        """Returns the figures of a finished training, or `None`."""
        path = self._path(row, training)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def write(self, row: str, training: str, figures: Mapping[str, Any]) -> None:
        """Keeps the figures of a training that has ended."""
        known = {"row": row, "settings": self.settings[row], "data": self.data}
        with written_whole(self._path(row, training)) as unfinished:
            unfinished.write_text(json.dumps({**known, **figures}), encoding="utf-8")

    def _path(self, row: str, training: str) -> pathlib.Path:
        name = re.sub(r"[^A-Za-z0-9]+", "_", row)
        return self.folder / f"{name}-{_short(row + self.settings[row])}-{training}.json"


def settings_of(experiment: Experiment, folds: int | None) -> str:
    """Returns a digest of what decides about a row's trainings, but for data and seed."""
    return _short(repr((dataclasses.replace(experiment, seed=0, output=""), folds)))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
