"""EXIF orientation, against Pillow."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

import mm_keras as mm
from mm_keras.data.decode.orientation import orientation_of

PIXELS = np.kron(np.random.default_rng(0).integers(0, 255, (3, 5, 3)), np.ones((8, 8, 1)))


def write_jpeg(path, orientation=None, before=b""):
    """Writes a JPEG, with a maker's name and the orientation in EXIF, after further bytes."""
    exif = Image.Exif()
    if orientation is not None:
        exif[0x010F] = "a maker"
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(PIXELS.astype("uint8")).save(buffer, "jpeg", quality=95, exif=exif)
    data = buffer.getvalue()
    path.write_bytes(data[:2] + before + data[2:])


def read(paths, shape, **options):
    table = {"image": [str(path) for path in paths], "label": np.zeros(len(paths), "int64")}
    spec = {"image": mm.Image(shape, backbone="SmallCNN")}
    data = mm.data.from_table(table, spec, **options)
    return np.stack([inputs["image"].numpy() for inputs, _ in data]).astype(int)


@pytest.mark.parametrize("turned", [False, True], ids=["1 to 4", "5 to 8"])
def test_all_orientations_are_those_of_pillow(tmp_path, turned):
    paths = [tmp_path / f"{5 * turned or 1}{n}.jpg" for n in range(4)]
    for number, path in enumerate(paths):
        write_jpeg(path, number + (5 if turned else 1))
    expected = np.stack([ImageOps.exif_transpose(Image.open(path)) for path in paths]).astype(int)
    found = read(paths, (40, 24, 3) if turned else (24, 40, 3))
    np.testing.assert_allclose(found, expected, atol=8)  # two decoders
    assert np.abs(np.diff(found, axis=0)).max(axis=(1, 2, 3)).min() > 50  # no two are alike


def test_exif_can_be_left_alone_and_comes_after_other_segments(tmp_path):
    path = tmp_path / "a.jpg"
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 20) + b"Exif? no, a comment."
    write_jpeg(path, 6, before=comment)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path))).astype(int)
    np.testing.assert_allclose(read([path], (40, 24, 3))[0], upright, atol=8)
    lying = read([path], (24, 40, 3), exif=False)[0]
    np.testing.assert_allclose(lying, np.asarray(Image.open(path)).astype(int), atol=8)
    small = read([path], (20, 12, 3), resize=True)[0]  # turned first, then scaled
    assert np.abs(small - upright.reshape(20, 2, 12, 2, 3).mean((1, 3))).mean() < 8


def test_bytes_that_say_nothing_are_upright(tmp_path):
    plain, odd = tmp_path / "plain.jpg", tmp_path / "odd.jpg"
    write_jpeg(plain)
    write_jpeg(odd, 9)
    pair = read([plain, odd], (24, 40, 3))
    np.testing.assert_array_equal(pair[0], pair[1])
    tiff = b"\xff\xd8Exif\0\0MM\0*" + struct.pack(">I", 8)
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    assert orientation_of(tiff + struct.pack(">H", 1) + entry) == 6
    for data in (
        b"\x89PNG" + tiff[2:] + struct.pack(">H", 1) + entry,  # no JPEG
        tiff + struct.pack(">H", 9) + entry.replace(b"\x01\x12", b"\x01\x13"),  # ends early
        tiff + struct.pack(">H", 1) + entry.replace(b"\0\x03", b"\0\x04"),  # of another kind
        tiff + struct.pack(">H", 0),
        tiff.replace(b"MM", b"XX"),
        b"\xff\xd8",
    ):
        assert orientation_of(data) == 1


def test_exif_must_be_a_bool():
    with pytest.raises(TypeError, match="`exif` must be a bool"):
        mm.data.decode.image_decoder((8, 8, 3), exif="yes")


def test_it_works_on_a_chunk_with_a_broken_file(tmp_path):
    good, bad = tmp_path / "a.jpg", tmp_path / "b.jpg"
    write_jpeg(good, 3)
    bad.write_bytes(good.read_bytes()[:-200])
    report = mm.data.BadRecords()
    found = read([good, bad], (24, 40, 3), on_error="drop", report=report)
    assert report.count == 1
    np.testing.assert_allclose(found[0], np.asarray(Image.open(good))[::-1, ::-1], atol=8)
