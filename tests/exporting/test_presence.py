"""Missing modalities survive each export."""

import itertools

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.exporting.parity import random_inputs
from mm_keras.exporting.serving import Serving
from tests.exporting.conftest import SUFFIXES

NAMES = ("audio", "image", "text")
PATTERNS = list(itertools.product([True, False], repeat=3))


@pytest.fixture(scope="module")
def inputs(trio):
    """Returns one sample in each pattern; what is absent holds what would spoil everything."""
    drawn = random_inputs(Serving(trio))
    inputs = {name: np.repeat(drawn[name][:1], len(PATTERNS), axis=0) for name in drawn}
    for name, column in zip(NAMES, np.array(PATTERNS).T, strict=True):
        inputs[f"{name}_present"] = column[:, None]
        inputs[name][~column] = 7 if name == "text" else np.nan
    return inputs


@pytest.mark.slow
@pytest.mark.parametrize("format", SUFFIXES)
def test_every_pattern_gives_the_same_answer(trio, trio_files, inputs, format):
    expected = trio.predict(inputs, verbose=0)["label"]
    assert np.isfinite(expected).all()
    assert len(np.unique(expected.round(6), axis=0)) == len(PATTERNS), "each pattern counts"
    loaded = mm.load(trio_files[format])
    for batch_size in (1, 3, 32):
        found = loaded.predict(inputs, batch_size=batch_size, verbose=0)["label"]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_samples_of_the_check_have_every_pattern(trio):
    drawn = random_inputs(Serving(trio))
    present = np.concatenate([drawn[f"{name}_present"] for name in NAMES], axis=1)
    assert {tuple(row) for row in present.tolist()} == set(PATTERNS)
