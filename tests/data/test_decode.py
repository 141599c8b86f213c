"""Files to tensors: exactly what the spec says, or a reason."""

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.data import decode
from mm_keras.data.bad_records import reason_of
from mm_keras.data.decode.video import frame_numbers
from tests.media import picture, tone, write_picture, write_video, write_wav

SEED = tf.constant(0, tf.int64)


def read(decoder, path):
    """Reads eagerly, and again in a graph within tf.data."""
    value = decoder(tf.constant(str(path)), SEED).numpy()
    again = tf.data.Dataset.from_tensors(str(path)).map(lambda p: decoder(p, SEED))
    assert again.element_spec.shape == value.shape
    np.testing.assert_array_equal(next(iter(again)).numpy(), value)
    return value


def reason(decoder, path):
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the reason is what is tested
        decoder(tf.constant(str(path)), SEED)
    return reason_of(raised.value)


def test_png_is_read_exactly_and_jpeg_nearly(tmp_path):
    pixels = picture(200, (6, 8))
    decoder = decode.image_decoder((6, 8, 3))
    for name, tolerance in (("ü ñ.png", 0), ("b.jpg", 8), ("c.JPEG", 8)):
        write_picture(tmp_path / name, pixels)
        value = read(decoder, tmp_path / name)
        assert value.dtype == np.uint8
        np.testing.assert_allclose(value.astype(int), pixels, atol=tolerance)


def test_channels_are_those_of_the_spec(tmp_path):
    path = tmp_path / "rgba.png"
    colours = np.random.default_rng(0).integers(0, 255, (4, 5, 4), dtype="uint8")
    write_picture(path, colours)
    np.testing.assert_array_equal(read(decode.image_decoder((4, 5, 3)), path), colours[..., :3])
    np.testing.assert_array_equal(read(decode.image_decoder((4, 5, 4)), path), colours)
    assert read(decode.image_decoder((4, 5, 1)), path).shape == (4, 5, 1)
    assert reason(decode.image_decoder((4, 5, 2)), path) == (
        "the spec wants 2 channels, the picture has 4"
    )


@pytest.mark.parametrize("ending", [".png", ".jpg"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_truncated_pictures_are_refused(tmp_path, ending, kept):
    path = tmp_path / f"a{ending}"
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype="uint8")
    data = write_picture(path, noise)
    path.write_bytes(data[: int(kept * len(data))])
    kind = "PNG" if ending == ".png" else "JPEG"
    assert reason(decode.image_decoder((16, 16, 3)), path) == f"broken or truncated {kind}"


def test_what_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"hello")
    decoder = decode.image_decoder((8, 8, 3))
    assert reason(decoder, tmp_path / "a.png") == "an empty file"
    assert reason(decoder, tmp_path / "b.png") == "no picture in PNG, JPEG, BMP or GIF"
    assert "No such file" in reason(decoder, tmp_path / "c.png")


def test_another_size_is_an_error_unless_a_fit_is_asked(tmp_path):
    path = tmp_path / "a.png"
    pixels = np.zeros((4, 8, 3), "uint8")
    pixels[:, :2], pixels[:, 2:6], pixels[:, 6:] = 50, 100, 150
    write_picture(path, pixels)
    assert reason(decode.image_decoder((4, 4, 3)), path).startswith(
        "the spec wants 4x4 pixels, the picture has 4x8; resize=True"
    )
    stretched = read(decode.image_decoder((4, 4, 3), True), path)
    assert int(stretched[0, 0, 0]) == pytest.approx(50, abs=13)
    assert int(stretched[0, -1, 0]) == pytest.approx(150, abs=13)
    cut = read(decode.image_decoder((4, 4, 3), "crop"), path)
    np.testing.assert_array_equal(cut, np.full((4, 4, 3), 100))
    padded = read(decode.image_decoder((8, 8, 3), "pad"), path)
    np.testing.assert_array_equal(padded[:2], 0)
    np.testing.assert_array_equal(padded[2:6], pixels)
    np.testing.assert_array_equal(padded[6:], 0)
    np.testing.assert_array_equal(read(decode.image_decoder((4, 8, 3), True), path), pixels)
    with pytest.raises(ValueError, match=r"`resize` must be one of .*Did you mean 'crop'"):
        decode.image_decoder((4, 4, 3), "corp")


def test_wav_is_read_exactly_and_channels_are_averaged(tmp_path):
    sound = tone(800, 8000)
    write_wav(tmp_path / "a.wav", np.stack([sound, sound / 2], axis=1), 8000)
    value = read(decode.audio_decoder(mm.Audio(800, 8000)), tmp_path / "a.wav")
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, 0.75 * sound, atol=1e-4)


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100])
def test_any_rate_is_resampled(tmp_path, rate):
    write_wav(tmp_path / "a.wav", tone(rate, rate), rate)
    spec = mm.Audio(8000, 8000)
    value = read(decode.audio_decoder(spec, length="fit"), tmp_path / "a.wav")
    inner = slice(200, -200)  # the filter rings at both ends
    np.testing.assert_allclose(value[inner], tone(8000, 8000)[inner], atol=0.01)
    assert reason(decode.audio_decoder(spec, resample=False), tmp_path / "a.wav") == (
        f"the spec wants 8000 Hz, the sound has {rate} Hz; resample=True would convert it"
    )


@pytest.mark.parametrize(
    ("samples", "works"), [(700, ("pad", "fit")), (900, ("crop", "fit")), (800, (None, "fit"))]
)
def test_another_length_is_an_error_unless_a_fit_is_asked(tmp_path, samples, works):
    path = tmp_path / "a.wav"
    write_wav(path, tone(samples, 8000), 8000)
    for length in (None, "pad", "crop", "fit"):
        decoder = decode.audio_decoder(mm.Audio(800, 8000), length=length)
        if length in works or samples == 800:
            expected = np.zeros(800)
            expected[: min(samples, 800)] = tone(samples, 8000)[:800]
            np.testing.assert_allclose(read(decoder, path), expected, atol=1e-4)
        else:
            assert reason(decoder, path) == (
                f"the spec wants 800 samples, the sound has {samples}; "
                "length='fit' would cut or pad it"
            )


def test_truncated_and_empty_wav(tmp_path):
    path = tmp_path / "a.wav"
    decoder = decode.audio_decoder(mm.Audio(800, 8000), "fit")
    data = write_wav(path, tone(800, 8000), 8000)
    path.write_bytes(data[:-100])
    assert reason(decoder, path) == "broken or truncated WAV"
    write_wav(path, np.zeros(0), 8000)
    assert reason(decoder, path) == "no sound in it"


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.flac", "PCM_16"),
        ("a.wav", "PCM_24"),
        ("a.wav", "FLOAT"),
        ("a.wav", "PCM_U8"),
        ("ü.aiff", "PCM_16"),
    ],
)
def test_other_sound_by_libsndfile(tmp_path, name, subtype):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / name
    soundfile.write(path, tone(800, 8000), 8000, subtype=subtype)
    decoder = decode.audio_decoder(mm.Audio(800, 8000))
    np.testing.assert_allclose(read(decoder, path), tone(800, 8000), atol=0.01)
    path.write_bytes(path.read_bytes()[:-300])
    assert any(word in reason(decoder, path) for word in ("truncated", "lost sync"))
    path.write_bytes(b"hello")
    assert reason(decoder, path).startswith("no sound that libsndfile reads")


FRAMES = np.stack([picture(10 * t + 20, (6, 8)) for t in range(20)])


def test_video_frames_are_taken_from_the_middle_of_equal_parts(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "ü.mkv"
    write_video(path, FRAMES)
    for count, expected in [(20, range(20)), (5, [2, 6, 10, 14, 18]), (1, [10])]:
        value = read(decode.video_decoder(mm.Video(count, (6, 8, 3))), path)
        np.testing.assert_array_equal(value, FRAMES[list(expected)])
    grey = read(decode.video_decoder(mm.Video(2, (6, 8, 1))), path)
    np.testing.assert_allclose(grey[..., 0], FRAMES[[5, 15], ..., 0], atol=2)
    small = read(decode.video_decoder(mm.Video(2, (3, 4, 3)), resize=True), path)
    np.testing.assert_allclose(small[:, -1, -1, 0], FRAMES[[5, 15], -1, -1, 0], atol=2)


def test_random_frames_are_one_of_each_part_and_depend_on_the_seed_alone(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "a.mkv"
    write_video(path, FRAMES)
    decoder = decode.video_decoder(mm.Video(5, (6, 8, 3)), sampling="random")
    drawn = [
        [int(v) // 10 - 2 for v in decoder(tf.constant(str(path)), tf.constant(seed))[:, -1, -1, 0]]
        for seed in range(12)
    ]
    assert all(4 * part <= frame < 4 * part + 4 for row in drawn for part, frame in enumerate(row))
    assert len({tuple(row) for row in drawn}) > 6
    again = decoder(tf.constant(str(path)), tf.constant(3))[:, -1, -1, 0]
    assert [int(v) // 10 - 2 for v in again] == drawn[3]


def test_frame_numbers_of_short_videos_repeat():
    assert frame_numbers(2, 4).tolist() == [0, 0, 1, 1]
    assert frame_numbers(7, 7).tolist() == list(range(7))


def test_videos_too_short_broken_or_none(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "a.mkv"
    write_video(path, FRAMES[:3])
    spec = mm.Video(6, (6, 8, 3))
    assert reason(decode.video_decoder(spec), path) == (
        "the spec wants 6 frames, the video has 3; length='pad' would repeat some"
    )
    value = read(decode.video_decoder(spec, length="pad"), path)
    np.testing.assert_array_equal(value, FRAMES[[0, 0, 1, 1, 2, 2]])
    path.write_bytes(b"hello")
    assert reason(decode.video_decoder(spec), path).startswith("no video that FFmpeg reads")
    with pytest.raises(ValueError, match=r"`length`.*Did you mean 'pad'"):
        decode.video_decoder(spec, length="pat")
    with pytest.raises(ValueError, match="1 or 3 channels"):
        decode.video_decoder(mm.Video(6, (6, 8, 2)))


def test_truncated_mp4_says_how_far_it_goes(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height = stream.width = 32
        for value in range(0, 200, 10):
            noise = np.random.default_rng(value).integers(0, 255, (32, 32, 3), dtype="uint8")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    decoder = decode.video_decoder(mm.Video(4, (32, 32, 3)))
    read(decoder, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert any(word in reason(decoder, path) for word in ("truncated", "no video"))


def test_sound_of_a_video(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "a.mkv"
    write_video(path, FRAMES, sound=tone(16000, 8000))
    decoder = decode.audio_decoder(mm.Audio(16000, 8000))
    np.testing.assert_allclose(read(decoder, path), tone(16000, 8000), atol=1e-3)
    write_video(path, FRAMES)
    assert reason(decoder, path) == "no sound track"


def test_npy(tmp_path):
    values = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "a.npy", values)
    decoder = decode.array_decoder((2, 3))
    np.testing.assert_array_equal(read(decoder, tmp_path / "a.npy"), values)
    assert reason(decode.array_decoder((3, 2)), tmp_path / "a.npy") == (
        "the spec wants the shape (3, 2), the file has (2, 3)"
    )
    np.save(tmp_path / "a.npy", values / np.where(values, 1, np.nan))
    assert reason(decoder, tmp_path / "a.npy") == "NaN or infinity"
    np.save(tmp_path / "a.npy", np.array([[object()] * 3] * 2), allow_pickle=True)
    assert "allow_pickle" in reason(decoder, tmp_path / "a.npy")
