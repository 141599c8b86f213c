"""A described folder."""

import dataclasses
import pathlib
from collections.abc import Mapping

from mm_keras.data.folder import folder_inputs, read_folder
from mm_keras.data.rows import Places, Rows
from mm_keras.data.sources.rows import RowSource
from mm_keras.modalities import Modality


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderSource(RowSource):
    """A folder for each class; see `from_folder`.

    Args:
        path: Of the folder. Without `fractions` it holds a folder for each split, which are laid
            out as `from_folder` says. Or `{split: path}`.
        modalities: `{name: spec}`.
    """

    modalities: Mapping[str, Modality] = dataclasses.field(default_factory=dict)

    def _read(self, path):
        columns = read_folder(path, self.modalities)
        return Rows(columns, Places.whole(len(columns["sample"]), str(path)))

    def _paths(self):
        if isinstance(self.path, Mapping) or self.fractions is not None:
            return super()._paths()
        root = pathlib.Path(self.path)
        if not root.is_dir():
            raise FileNotFoundError(f"`path` must be an existing folder. Received: {root}.")
        return {
            entry.name: str(entry)
            for entry in sorted(root.iterdir())
            if entry.is_dir() and not entry.name.startswith(".")
        }

    def _inputs(self, modalities):
        return folder_inputs(modalities)
