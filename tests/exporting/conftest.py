"""One model with three optional modalities, and its files, for all tests of this folder."""

import keras
import pytest

import mm_keras as mm

SUFFIXES = {"keras": ".keras", "saved_model": "", "litert": ".tflite", "onnx": ".onnx"}
TEXTS = ["red shoe", "blue shirt", "green shoe with red laces"]


@pytest.fixture(scope="session")
def trio():
    """Returns the model that ships: a picture, a sound and a text, any of which may be missing."""
    keras.utils.set_random_seed(0)
    return mm.inference_model(
        mm.build_mcnn(
            {
                "image": mm.Image((12, 10, 3), backbone="SmallCNN", optional=True),
                "audio": mm.Audio(4000, 8000, mel_bins=16, stride=0.05, optional=True),
                "text": mm.Text(6, 30, embedding=8, optional=True).adapt(TEXTS),
            },
            3,
            width=8,
            fusion="gated",
        )
    )


@pytest.fixture(scope="session")
def trio_files(trio, tmp_path_factory):
    """Returns `{format: path}`."""
    folder = tmp_path_factory.mktemp("trio")
    return {
        format: mm.export(trio, folder / f"m{suffix}", format=format, check=False)
        for format, suffix in SUFFIXES.items()
    }


@pytest.fixture(scope="session")
def raw_files(trio, tmp_path_factory):
    """Returns `{format: path}` of files that take raw inputs."""
    folder = tmp_path_factory.mktemp("raw")
    return {
        format: mm.export(
            trio, folder / f"m{SUFFIXES[format]}", format=format, check=False, preprocessing=True
        )
        for format in ("saved_model", "litert", "onnx")
    }
