"""Files and folders are written whole beside the old ones, and then take their place at once."""

import contextlib
import ctypes
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator


def check_writable(path: str | os.PathLike, earlier: str | None = None) -> pathlib.Path:
    """Returns `path`, or raises where nothing can be written; nothing is made.

    Args:
        path: Of a file, or of a folder.
        earlier: `None` if a file is to be written. For a folder: what an earlier one must contain
            to be replaced, `"saved_model.pb"` say, so that no other folder is ever lost.

    Raises:
        ValueError: If a folder stands where a file is to go, or a file or another folder's contents
            where a folder is to go.
        OSError: If the folder around it can't be made or written.
    """
    path = pathlib.Path(path)
    if earlier is None:
        if path.is_dir():
            raise ValueError(f"`path` must name a file. Received: path={path}, which is a folder.")
    elif path.exists() and not path.is_dir():
        raise ValueError(f"`path` must name a folder. Received: path={path}, which is a file.")
    elif path.is_dir() and any(path.iterdir()) and not (path / earlier).exists():
        raise ValueError(
            f"`path` must be a new folder, an empty one, or one with {earlier}, which is replaced. "
            f"Received: path={path}, which has other contents."
        )
    parent = path.absolute().parent
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir():
        reason = f"{parent} is no folder"
    elif not os.access(parent, os.W_OK | os.X_OK):
        reason = f"{parent} can't be written"
    else:
        return path
    raise OSError(
        f"`path` must be where files can be written. Received: path={path}, but {reason}."
    )


@contextlib.contextmanager
def written_whole(path: str | os.PathLike, earlier: str | None = None) -> Iterator[pathlib.Path]:
    """Gives a path to write a file or a folder to, which takes the place of `path` at the end.

    Until then, and for good if the block raises or the process is killed, what stood at `path` is
    left as it was. A killed process leaves a hidden folder `.<name>-…` beside it, which nothing
    reads and anyone may delete.

    Args:
        path: As for `check_writable`, which is called first.
        earlier: As for `check_writable`.

    Example:

    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with written_whole(folder / "a.txt") as unfinished:
    ...     _ = unfinished.write_text("whole")
    ...     (folder / "a.txt").exists()
    False
    >>> (folder / "a.txt").read_text()
    'whole'
    """
    path = check_writable(path, earlier)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}-", ignore_cleanup_errors=True
    ) as folder:
        unfinished = pathlib.Path(folder) / path.name
        yield unfinished
        if path.is_dir():
            check_writable(path, earlier)  # it may have changed meanwhile
            _exchange_folders(unfinished, path)
        else:
            unfinished.replace(path)


def _exchange_folders(new: pathlib.Path, old: pathlib.Path) -> None:
    """Puts `new` in the place of `old`, at once where the system can; `old` ends beside it."""
    if not _exchange(new, old):
        aside = new.with_name(f"{old.name}.old")
        old.rename(aside)
        new.rename(old)
        shutil.rmtree(aside)


def _exchange(first: pathlib.Path, second: pathlib.Path) -> bool:
    """Exchanges two paths in one step; returns whether the system has such a call."""
    names = os.fsencode(first.absolute()), os.fsencode(second.absolute())
    library = ctypes.CDLL(None)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return library.renamex_np(*names, 2) == 0  # RENAME_SWAP
    if hasattr(library, "renameat2"):
        here = -100  # AT_FDCWD
        return library.renameat2(here, names[0], here, names[1], 2) == 0  # RENAME_EXCHANGE
    return False
