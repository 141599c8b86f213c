"""Progress bar and the choice of compilation."""

import io

import keras
import numpy as np
import pytest
from rich.console import Console

from mm_keras.training import ProgressBar, jit_compile


def test_progress_bar_counts_every_step():
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"], jit_compile=False)
    console = Console(file=io.StringIO(), width=160)
    bar = ProgressBar("a model", console)
    model.fit(np.zeros((10, 2)), np.zeros(10), batch_size=4, epochs=2, verbose=0, callbacks=[bar])
    printed = console.file.getvalue()
    assert "a model" in printed
    assert "100%" in printed
    assert "2/2 mae 0.00" in printed


@pytest.mark.parametrize(
    ("devices", "expected"),
    [(["cpu:0"], False), (["cpu:0", "gpu:0"], "auto"), (["tpu:0", "tpu:1"], "auto")],
)
def test_xla_is_off_on_cpu_only(monkeypatch, devices, expected):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: devices)
    assert jit_compile() == expected


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_choose_by_themselves(monkeypatch, backend):
    # JAX without XLA runs one operation at a time; Keras on PyTorch can't list devices.
    monkeypatch.setattr(keras.config, "backend", lambda: backend)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0"])
    assert jit_compile() == "auto"
