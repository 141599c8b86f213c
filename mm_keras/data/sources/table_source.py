"""A described CSV file."""

import dataclasses
import os

from mm_keras.data.cells import read_table
from mm_keras.data.sources.rows import ColumnSource


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableSource(ColumnSource):
    """A CSV file, or one for each split.

    Args:
        path: Of the CSV file, or `{split: path}`.
        root: Folder that relative paths start from; `None`: that of the CSV file.
    """

    root: str | None = None

    def _read(self, path):
        return read_table(path)

    def _root(self, split):
        paths = self._paths()
        path = os.path.dirname(os.fspath(paths.get(split, paths.get("", ""))))
        return path if self.root is None else self.root

    def parted(self, parts):
        roots = {self._root(split) for splits, _ in parts.values() for split in splits}
        if len(roots) > 1:
            raise ValueError(
                "`root` must be given where splits of several folders are joined, whose paths "
                f"start elsewhere each. Received: root=None, files in {sorted(roots)}."
            )
        return super().parted(parts)
