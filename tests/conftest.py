"""Every test starts from the same random state, whatever ran before it and beside it."""

import keras
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    keras.utils.set_random_seed(0)
