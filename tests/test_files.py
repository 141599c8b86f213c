"""`_files`: what is killed or fails leaves the old file or folder whole."""

import pathlib
import subprocess
import sys
import time

import pytest

from mm_keras import _files
from mm_keras._files import check_writable, written_whole

# The module alone, without Keras: a process starts in no time. It writes generation after
# generation, in many small steps, until it is killed.
WRITE_FOREVER = f"""
import importlib.util, itertools, sys
spec = importlib.util.spec_from_file_location("files", {_files.__file__!r})
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
path = sys.argv[1]
for generation in itertools.count():
    text = str(generation) * 20000
    with files.written_whole(path, *sys.argv[2:]) as unfinished:
        if sys.argv[2:]:
            unfinished.mkdir()
            for name in "abcmark":
                (unfinished / name).write_text(text)
        else:
            with unfinished.open("w") as file:
                for start in range(0, len(text), 500):
                    file.write(text[start:start + 500])
    if generation == 1:
        print("ready", flush=True)
"""


def killed_after(seconds, *arguments):
    """Runs the writer, kills it and returns once it is gone."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_FOREVER, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout.readline() == "ready\n"
        time.sleep(seconds)
        writer.kill()
    assert writer.returncode == -9


def is_whole(text):
    return len(text) % 20000 == 0 and text == text[: len(text) // 20000] * 20000 and text


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    for trial in range(8):
        killed_after(0.003 * trial, tmp_path / "file.txt")
        assert is_whole((tmp_path / "file.txt").read_text())


def test_a_killed_writer_leaves_a_whole_folder(tmp_path):
    for trial in range(8):
        killed_after(0.003 * trial, tmp_path / "folder", "mark"[:1])
        texts = {(tmp_path / "folder" / name).read_text() for name in "abcmark"}
        assert len(texts) == 1, "of one generation"
        assert is_whole(texts.pop())


def test_leftovers_of_a_killed_writer_are_hidden_and_do_not_matter(tmp_path):
    killed_after(0, tmp_path / "folder", "m")
    for found in tmp_path.iterdir():
        assert found.name == "folder" or found.name.startswith(".folder-")
    with written_whole(tmp_path / "folder", "m") as unfinished:
        unfinished.mkdir()
        (unfinished / "m").write_text("new")
    assert (tmp_path / "folder" / "m").read_text() == "new"


def test_without_the_exchange_of_two_paths(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "_exchange", lambda first, second: False)
    for text in ("old", "new"):
        with written_whole(tmp_path / "folder", "m") as unfinished:
            unfinished.mkdir()
            (unfinished / "m").write_text(text)
    assert (tmp_path / "folder" / "m").read_text() == "new"
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("earlier", [None, "m"], ids=["file", "folder"])
def test_what_fails_leaves_no_trace(tmp_path, earlier):
    with pytest.raises(RuntimeError, match="disk full"), written_whole(tmp_path / "x", earlier):
        raise RuntimeError("disk full")
    assert not any(tmp_path.iterdir())


def test_no_folder_of_other_contents_is_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"or one with saved_model.pb, which is replaced. .*other"):
        check_writable(tmp_path / "thesis", "saved_model.pb")


def test_a_folder_that_got_other_contents_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "folder"

    def write():
        with written_whole(path, "m") as unfinished:
            unfinished.mkdir()
            path.mkdir()
            (path / "precious").touch()

    with pytest.raises(ValueError, match="has other contents"):
        write()
    assert (path / "precious").exists()


def test_errors(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"`path` must name a file. Received: path=.*is a folder"):
        check_writable(tmp_path)
    with pytest.raises(ValueError, match=r"`path` must name a folder. Received: .*is a file"):
        check_writable(tmp_path / "file", "m")
    with pytest.raises(OSError, match=r"`path` must be where files can be written. .*is no folder"):
        check_writable(tmp_path / "file" / "below" / "x")
    if pathlib.Path("/proc/version").exists():  # where nobody, not even root, may write
        with pytest.raises(OSError, match=r"can't be written|is no folder"):
            check_writable("/proc/version/x")


def test_a_folder_that_is_closed_to_us(tmp_path, monkeypatch):
    monkeypatch.setattr(_files.os, "access", lambda path, mode: False)  # root may do anything
    with pytest.raises(OSError, match=r"can't be written"):
        check_writable(tmp_path / "x")
