"""Folders: a class each."""

import logging
import time

import numpy as np
import pytest

import mm_keras as mm
from tests.media import picture, tone, write_picture, write_wav

IMAGE = mm.Image((8, 8, 3), backbone="SmallCNN")
TEXT = mm.Text(4, 10, optional=True).adapt(["red hat"])


def gather(dataset):
    return next(dataset.batch(1000).as_numpy_iterator())


def test_one_modality(tmp_path):
    for name in ("köter/b.png", "köter/a/1.png", "cat/9.png", "cat/10.JPG"):
        write_picture(tmp_path / name, picture(100 if "cat" in name else 200))
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cat/.hidden").write_bytes(b"x")
    table = mm.data.read_folder(tmp_path, {"image": IMAGE})
    assert table["sample"] == ["cat/10", "cat/9", "köter/a/1", "köter/b"]
    data = mm.data.from_folder(tmp_path, {"image": IMAGE})
    batch, labels = gather(data)
    np.testing.assert_array_equal(labels, [0, 0, 1, 1])
    np.testing.assert_allclose(batch["image"][:, -1, -1, 0], [100, 100, 200, 200], atol=5)
    _, labels = gather(mm.data.from_folder(tmp_path, {"image": IMAGE}, classes=["köter", "cat"]))
    np.testing.assert_array_equal(labels, [1, 1, 0, 0])


@pytest.fixture
def several(tmp_path):
    for n, kind in enumerate(["a", "b"]):
        write_picture(tmp_path / f"image/{kind}/1.png", picture(50 * n + 50))
        write_wav(tmp_path / f"sound/{kind}/1.wav", tone(800, 8000), 8000)
    (tmp_path / "text/a").mkdir(parents=True)
    (tmp_path / "text/a/1.txt").write_text("Red hat\n")
    return tmp_path


def test_several_modalities_meet_by_name(several):
    modalities = {"image": IMAGE, "sound": mm.Audio(800, 8000), "text": TEXT}
    batch, labels = gather(mm.data.from_folder(several, modalities))
    np.testing.assert_array_equal(labels, [0, 1])
    np.testing.assert_array_equal(batch["text"], [TEXT.vectorize(["red hat"])[0], [0] * 4])
    np.testing.assert_array_equal(batch["text_present"], [[True], [False]])
    assert "image_present" not in batch


def test_what_lacks_a_file_is_a_bad_record_unless_optional(several):
    (several / "sound/b/1.wav").unlink()
    modalities = {"image": IMAGE, "sound": mm.Audio(800, 8000)}
    with pytest.raises(ValueError, match="row 1, sound: column 'sound': an empty cell"):
        mm.data.from_folder(several, modalities)
    report = mm.data.BadRecords()
    _, labels = gather(mm.data.from_folder(several, modalities, on_error="drop", report=report))
    np.testing.assert_array_equal(labels, [0])
    assert [record.origin for record in report] == [str(several)]
    modalities["sound"] = mm.Audio(800, 8000, optional=True)
    batch, _ = gather(mm.data.from_folder(several, modalities))
    np.testing.assert_array_equal(batch["sound_present"], [[True], [False]])


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "an empty text"), (b"\xff\xfe\xff", "no text in UTF-8")]
)
def test_bad_texts_name_their_file(several, content, reason, caplog):
    caplog.set_level(logging.CRITICAL, "mm_keras.data")
    (several / "text/a/1.txt").write_bytes(content)
    modalities = {"image": IMAGE, "text": TEXT}
    with pytest.raises(ValueError, match=rf"text: .*1\.txt: {reason}"):
        mm.data.from_folder(several, modalities)
    report = mm.data.BadRecords()
    policies = {"text": "absent"}
    batch, _ = gather(mm.data.from_folder(several, modalities, on_error=policies, report=report))
    assert not batch["text_present"].any()
    assert report.count == 1


def test_views_are_the_pictures_of_a_folder(tmp_path):
    for path in ("mug/7/b.png", "mug/7/a.png", "cup/x/only.png"):
        write_picture(tmp_path / path, picture(200 if path.endswith("a.png") else 100))
    spec = {"views": mm.Views(2, (8, 8, 3), optional_views=True)}
    batch, labels = gather(mm.data.from_folder(tmp_path, spec))
    np.testing.assert_array_equal(labels, [0, 1])
    np.testing.assert_array_equal(batch["views"][:, :, -1, -1, 0], [[100, 0], [200, 100]])
    np.testing.assert_array_equal(batch["views_present"], [[True, False], [True, True]])
    with pytest.raises(ValueError, match=r"at most 1 views of a sample.*2 for 'mug/7'"):
        mm.data.read_folder(tmp_path, {"views": mm.Views(1, (8, 8, 3))})


def test_folders_that_do_not_fit(several, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"too\. Did you mean 'image'\?"):
        mm.data.from_folder(several, {"images": IMAGE, "text": TEXT})
    with pytest.raises(FileNotFoundError, match="existing folder"):
        mm.data.from_folder(tmp_path / "absent", {"image": IMAGE})
    with pytest.raises(ValueError, match=r"files that end in one of .*Received: '1\.wav'"):
        mm.data.from_folder(several / "sound", {"image": IMAGE})
    with pytest.raises(TypeError, match="use `from_table`"):
        mm.data.from_folder(several, {"t": mm.Tabular(numeric=("x",))})
    (tmp_path / "empty/a").mkdir(parents=True)
    with pytest.raises(ValueError, match="a folder for each class, with files"):
        mm.data.from_folder(tmp_path / "empty", {"image": IMAGE})
    (tmp_path / "empty/1.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"folders only, one for each class.*'1\.png'"):
        mm.data.from_folder(tmp_path / "empty", {"image": IMAGE})
    write_picture(several / "image/a/1.jpg", picture(9))
    with pytest.raises(ValueError, match="one file for each sample and modality"):
        mm.data.from_folder(several, {"image": IMAGE, "text": TEXT})


def test_thousands_of_files_are_listed_fast_and_leave_a_small_graph(tmp_path):
    data = write_picture(tmp_path / "a/0.png", picture(9))
    for n in range(5000):
        (tmp_path / "a" / f"{n}.png").write_bytes(data)
    start = time.process_time()
    dataset = mm.data.from_folder(tmp_path, {"image": IMAGE})
    assert time.process_time() - start < 5
    assert len(dataset) == 5000
