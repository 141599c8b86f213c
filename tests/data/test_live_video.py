"""examples/live_video.py on a recorded video with sound."""

import importlib.util
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm

DATA = os.environ.get("MM_KERAS_DATA")
pytestmark = pytest.mark.skipif(DATA is None, reason="MM_KERAS_DATA names no folder of real data")
SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "live_video.py"


@pytest.fixture(scope="module")
def example():
    pytest.importorskip("av")
    spec = importlib.util.spec_from_file_location("live_video", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clip():
    return str(pathlib.Path(DATA) / "grid_clips" / "bbaf2n.mpg")


def test_windows_hold_what_the_file_holds(example, clip):
    events = list(example.events_of(clip))
    windows = list(
        mm.data.align_streams(
            iter(sorted(events, key=lambda e: e[1])),
            example.LAYOUT,
            window=example.WINDOW,
            start=0.0,
        )
    )
    assert sum(name == "video" for name, _, _ in events) == 75  # 3 s at 25 a second
    frames = mm.data.decode.video_decoder(mm.Video(75, (28, 42, 1), backbone="SmallCNN"), True)
    frames = frames(tf.constant(clip), tf.constant(0, tf.int64)).numpy().astype("float32")
    found = np.concatenate([window.inputs["video"] for window in windows[:4]])
    assert np.abs(found - frames[:64]).mean() < 3  # two ways of scaling
    sound = mm.data.decode.audio_decoder(mm.Audio(4 * 5120, 8000), "crop")
    sound = sound(tf.constant(clip), tf.constant(0, tf.int64)).numpy()
    heard = np.concatenate([window.inputs["audio"] for window in windows[:4]])
    assert np.corrcoef(sound, heard)[0, 1] > 0.98  # two ways of resampling


def test_it_prints_predictions_and_latencies(example, clip, capsys):
    example.main([clip, "--hop", "0.64", "--speed", "2"])
    *lines, last = capsys.readouterr().out.strip().splitlines()
    assert [line.split(" s:")[0].strip() for line in lines] == ["0.00", "0.64", "1.28", "1.92"]
    assert all("class " in line and "100 % there" in line for line in lines)
    latencies = [float(line.split(", ")[-1].removesuffix(" ms")) for line in lines]
    assert min(latencies) > 20  # windows wait 50 ms of the video for late items, here 25
    assert last.startswith("4 windows, median latency")
