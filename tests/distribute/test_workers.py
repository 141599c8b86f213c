"""Real worker processes on the loopback: what they train is what one process trains."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.distribute.launch import _free_ports
from tests.distribute.cases import CASES, CLIPPED, EPOCHS, LOSS, samples

ROOT = pathlib.Path(mm.__file__).parent.parent
BUILDERS = ["mcnn", "dml", "afe"]
pytestmark = pytest.mark.slow


def command(folder, phases):
    return [sys.executable, "-m", "tests.distribute.worker", str(folder), ",".join(phases)]


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **more}


def read(folder, count):
    return [json.loads((folder / f"rank_{rank}.json").read_text()) for rank in range(count)]


def run(folder, phases, **more):
    done = subprocess.run(
        command(folder, phases), env=environment(**more), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return read(folder, 1)


@pytest.fixture(scope="module")
def alone():
    """Returns, for each case, the history of Keras' own `fit` on one device, and the model."""
    found = {}
    for name, case in CASES.items():
        model = case.model()
        data = case.data(model)
        history = model.fit(
            data, epochs=EPOCHS, validation_data=data, verbose=0, shuffle=False, **case.options
        )
        found[name] = history.history, model
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two workers, of which the second is killed in the end; their output and what they found."""
    folder = tmp_path_factory.mktemp("two")
    phases = [*CASES, "average", "uneven", "resumed", "killed"]
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(2)]
    workers = []
    for rank in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        workers.append(
            subprocess.Popen(
                command(folder, phases),
                env=environment(TF_CONFIG=json.dumps(config)),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    printed = [worker.communicate(timeout=400)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, -9], printed
    return read(folder, 2), printed, folder


def assert_same_curves(found, expected, validated=False):
    assert set(found) == {name for name in expected if validated or not name.startswith("val_")}
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5, rtol=0, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_two_workers_train_as_one(two, alone, name):
    found = [rank[name] for rank in two[0]]
    validated = "val_loss" in found[0]["history"]
    assert validated or name in CLIPPED
    assert_same_curves(found[0]["history"], alone[name][0], validated)
    for weight, expected in zip(found[0]["weights"], alone[name][1].get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-4)
    assert found[0]["history"] == found[1]["history"]
    assert found[0]["digest"] == found[1]["digest"]


def test_figures_and_predictions_are_those_of_all_samples(two, alone):
    model = alone["mcnn"][1]
    data = samples(19, seed=3).batch(8)
    for rank in two[0]:
        np.testing.assert_allclose(
            rank["predicted"], model.predict(data, verbose=0)["label"], atol=1e-5
        )
        np.testing.assert_allclose(rank["evaluated"], model.evaluate(data, verbose=0), atol=1e-5)


def test_statistics_of_parts_are_averaged(two):
    """A worker sees every second sample: momentum 0.9 twice, then the mean of both workers."""
    case = CASES["dense"]
    batches = [inputs["a"].numpy() for inputs, *_ in case.data(None).take(2)]
    mean = np.zeros((2, 6))
    for batch in batches:
        mean = 0.9 * mean + 0.1 * np.stack([batch[rank::2].mean(0) for rank in range(2)])
    for rank in two[0]:
        np.testing.assert_allclose(rank["average"]["mean"], mean.mean(0), rtol=1e-5)
        assert not rank["average"]["synchronized"]
    assert two[0][0]["average"]["digest"] == two[0][1]["average"]["digest"]


def test_uneven_shards_end_cleanly_and_count_every_sample_once(two):
    order = [0, 1, 10, 11, 2, 3, 12, 13, 4, 5, 14, 15, 6, 7, 8, 9]
    rows = list(samples(40).take(16))
    rows = [rows[number] for number in order]
    stacked = tf.nest.map_structure(lambda *parts: tf.stack(parts), *rows)
    data = tf.data.Dataset.from_tensor_slices(stacked)
    data = data.take(12).batch(4).concatenate(data.skip(12).batch(2))
    model = CASES["mcnn"].model()
    expected = model.evaluate(data, return_dict=True, verbose=0)
    history = model.fit(data, verbose=0, shuffle=False)
    for rank in two[0]:
        found = rank["uneven"]
        assert found["evaluated"] == pytest.approx(expected, abs=1e-5)
        assert found["steps"] == 5
        assert found["loss"] == pytest.approx(history.history["loss"], abs=1e-5)


def test_a_stop_that_one_worker_asks_for_stops_all_after_the_same_step(two):
    one, other = (rank["uneven"] for rank in two[0])
    assert one["stopped_at"] == other["stopped_at"] == 2
    assert one["digest"] == other["digest"]


def test_only_the_chief_writes_and_what_it_loads_reaches_all(two, alone):
    found, printed, folder = two
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert [name for name in files if "rank_1" in name] == ["rank_1.json"]
    assert {"rank_0/second.keras", "rank_0.second.csv"} <= set(files)
    losses = alone["dense"][0]["loss"]
    for rank in found:  # the second epoch alone, with the optimizer's state of the first
        assert rank["resumed"]["loss"] == pytest.approx(losses[1:], abs=1e-5)
    assert found[0]["resumed"]["digest"] == found[1]["resumed"]["digest"]
    assert "Epoch 2/2" in printed[0]
    assert "Epoch" not in printed[1]


def test_a_lost_worker_stops_the_others_with_a_message(two):
    lost = two[0][0]["killed"]
    assert lost["message"].startswith("Worker 0 of 2 stops, since another worker of the cluster")
    assert "task:1" in lost["message"]
    assert lost["seconds"] < 60


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    code = "import sys, mm_keras as mm; sys.exit(mm.distribute.launch(sys.argv[2:], 3))"
    done = subprocess.run(
        [sys.executable, "-c", code, "--", *command(folder, BUILDERS)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return read(folder, 3)


@pytest.mark.parametrize("name", BUILDERS)
def test_three_workers_train_as_one(three, alone, name):
    """The last batch of mcnn has one sample: two workers have none of it."""
    assert [rank["count"] for rank in three] == [3, 3, 3]
    assert [rank["chief"] for rank in three] == [True, False, False]
    assert_same_curves(three[0][name]["history"], alone[name][0])
    assert len({rank[name]["digest"] for rank in three}) == 1


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    return run(tmp_path_factory.mktemp("mirrored"), [*CASES, "refused"], LOGICAL_CPUS="2")[0]


def test_several_replicas_do_not_accumulate(mirrored):
    message = mirrored["refused"]["message"]
    assert "`gradient_accumulation_steps` of the optimizer must be None with several" in message
    assert message.endswith("Received: 2, 2 replicas.")


@pytest.mark.parametrize("name", CLIPPED)
def test_clipping_is_of_the_whole_gradient(mirrored, alone, name):
    """And it does something: without, the loss goes another way."""
    history, model = alone[name]
    for found, expected in zip(mirrored[name]["weights"], model.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert mirrored[name]["limit"] == CLIPPED[name][name]  # as it was
    plain = CASES[name].model()
    plain.compile(keras.optimizers.SGD(0.5, 0.9), LOSS, jit_compile=False)
    other = plain.fit(CASES[name].data(plain), epochs=EPOCHS, verbose=0, shuffle=False).history
    assert abs(other["loss"][-1] - history["loss"][-1]) > 0.05


@pytest.mark.parametrize("name", CASES)
def test_two_replicas_train_as_one(mirrored, alone, name):
    assert_same_curves(mirrored[name]["history"], alone[name][0])
    one, other = mirrored[name]["replicas"]
    assert one == other


@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="there is no GPU")
def test_gpus_train_as_one(alone):
    strategy = mm.distribute.strategy("mirrored")
    for name in BUILDERS:
        with strategy.scope():
            model = CASES[name].model()
        data = CASES[name].data(model)
        history = mm.distribute.fit(
            model, data, epochs=EPOCHS, validation_data=data, verbose=0, **CASES[name].options
        )
        for metric, values in alone[name][0].items():
            np.testing.assert_allclose(history.history[metric], values, atol=1e-3)
