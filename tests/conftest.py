"""What all tests share: one random state to start from, and the embedded digits, prepared once."""

import keras
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Every test starts from the same random state, whatever ran before it and beside it."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory):
    """Returns the folder in which TFDS keeps av_digits, for all tests of a process."""
    return tmp_path_factory.mktemp("tfds")
