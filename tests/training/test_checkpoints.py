"""Checkpoints: all of the state, whole files, damaged ones set aside."""

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.training import Checkpoints, Position


def make_model(width=4):
    model = mm.build_mcnn(
        {"a": mm.Features(4), "b": mm.Features(3)}, 2, width=width, modality_dropout=0.3
    )
    model.compile("adam", mm.losses.classification(), metrics=["accuracy"])
    return model


def train(model, epochs=2, seed=0, callbacks=()):
    noise = np.random.default_rng(seed)
    x = {"a": noise.normal(size=(12, 4)), "b": noise.normal(size=(12, 3))}
    return model.fit(
        x, np.arange(12) % 2, batch_size=4, epochs=epochs, shuffle=False, verbose=0,
        callbacks=list(callbacks),
    )  # fmt: skip


def state(model):
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def equal(first, second):
    return len(first) == len(second) and all(map(np.array_equal, first, second))


def test_training_goes_on_as_if_nothing_had_happened(tmp_path):
    model = make_model()
    train(model)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(model, Position(2, 5))
    saved = state(model)
    train(model)
    expected = state(model)
    assert not equal(saved, expected)

    keras.utils.set_random_seed(99)
    other = make_model()
    train(other, seed=1)
    assert checkpoints.restore(other) == Position(2, 5)
    assert equal(state(other), saved)  # with the running metrics
    train(other)  # draws the same modalities to drop
    assert equal(state(other), expected)


def test_callbacks_remember(tmp_path):
    def callbacks():
        return [
            keras.callbacks.EarlyStopping("loss", 0.01, patience=9, restore_best_weights=True),
            keras.callbacks.ReduceLROnPlateau("accuracy", patience=9, min_delta=0.02),
        ]

    model, used = make_model(), [*callbacks(), mm.training.ProgressBar()]
    train(model, 3, callbacks=used)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(model, Position(), used)
    fresh = callbacks()
    checkpoints.restore(model, [*fresh, mm.training.ProgressBar()])
    for old, new in zip(used, fresh, strict=False):
        for name in ("best", "wait", "monitor_op", "min_delta"):
            assert getattr(new, name) == getattr(old, name), name
    assert equal(fresh[0].best_weights, used[0].best_weights)
    before = model.get_weights()
    third = keras.callbacks.EarlyStopping("accuracy")
    with pytest.raises(ValueError, match=r"`callbacks` must be .*Received: .*'EarlyStopping 2'"):
        checkpoints.restore(model, [*fresh, third])
    assert equal(model.get_weights(), before)


def test_the_last_ones_are_kept(tmp_path):
    model, checkpoints = make_model(), Checkpoints(tmp_path / "new", keep=2)
    assert checkpoints.restore(model) is None
    for epoch, step in ((0, 7), (1, 0), (0, 30), (12, 3)):
        checkpoints.save(model, Position(epoch, step))
    assert [path.name for path in checkpoints.paths] == [
        "epoch-000001-step-000000000.checkpoint",
        "epoch-000012-step-000000003.checkpoint",
    ]
    assert checkpoints.restore(model).epoch == 12


@pytest.mark.parametrize("place", ["start", "weights", "end", "cut", "empty"])
def test_a_damaged_one_is_set_aside_and_the_one_before_used(tmp_path, place):
    model, checkpoints = make_model(), Checkpoints(tmp_path)
    checkpoints.save(model, Position(1))
    expected = model.get_weights()
    train(model)
    path = checkpoints.save(model, Position(2))
    content = bytearray(path.read_bytes())
    if place in ("cut", "empty"):
        content = content[: len(content) // 2 if place == "cut" else 0]
    else:
        kernel = keras.ops.convert_to_numpy(model.trainable_variables[0]).tobytes()
        spot = {"start": 0, "weights": content.index(kernel) + 3, "end": len(content) - 20}[place]
        content[spot] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=f"{path.name} is damaged: .* before it is used"):
        assert checkpoints.restore(model).epoch == 1
    assert equal(model.get_weights(), expected)
    aside = path.with_name(path.name + ".damaged")
    assert aside.read_bytes() == content
    assert not path.exists()


def test_damaged_ones_of_one_name_are_all_kept(tmp_path):
    model, checkpoints = make_model(), Checkpoints(tmp_path)
    for content in (b"first", b"second", b"third"):
        path = checkpoints.save(model, Position(1))
        path.write_bytes(content)
        with pytest.warns(UserWarning, match="is damaged"):
            assert checkpoints.restore(model) is None
    found = {aside.name.removeprefix(path.name): aside.read_bytes() for aside in tmp_path.iterdir()}
    assert found == {
        ".damaged": b"first",
        ".damaged-2": b"second",
        ".damaged-3": b"third",
    }
    assert not checkpoints.paths


def test_of_another_model(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(make_model(), Position())
    other = make_model(width=6)
    before = other.get_weights()
    with pytest.raises(ValueError, match=rf"`model` must be .*{path.name} holds, .*without .*\(4"):
        checkpoints.restore(other)
    assert equal(other.get_weights(), before)
    assert path.exists()
    train(other)
    checkpoints.save(other, Position(1, 1))
    other.compile("adam", mm.losses.classification(), metrics=["accuracy"])  # have seen no batch
    with pytest.raises(ValueError, match=r"of \d+ variables. Received: a model of \d+ variables"):
        checkpoints.restore(other)


FULL_DISK = """
import resource, sys
import mm_keras as mm

model = mm.build_mcnn({"a": mm.Features(4)}, 2, width=4)
model.compile("adam", mm.losses.classification())
checkpoints = mm.training.Checkpoints(sys.argv[1])
first = checkpoints.save(model, mm.training.Position(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (first.stat().st_size // 2,) * 2)
try:
    checkpoints.save(model, mm.training.Position(2))
except OSError as error:
    print(error)
print(checkpoints.restore(model).epoch)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are those of POSIX")
def test_no_room(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), tmp_path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    message, epoch = done.stdout.splitlines()[-2:]
    assert "epoch-000002-step-000000000.checkpoint can't be written: " in message
    assert "epoch-000001-step-000000000.checkpoint before it is whole" in message
    assert epoch == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000001-step-000000000.checkpoint"]


def test_what_a_killed_write_left_is_swept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    left = tmp_path / ".epoch-000001-step-000000000.checkpoint-x1"
    left.mkdir()
    (left / "half").write_bytes(b"1")
    checkpoints.save(make_model(), Position(1))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"keep": 0}, "`keep`"), ({"every": 0}, "`every`"), ({"folder": __file__}, "`folder` .*file")],
)
def test_errors(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        Checkpoints(**{"folder": tmp_path, **options})
