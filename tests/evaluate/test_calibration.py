"""Calibration: errors against loops, temperatures that mend it, sets that cover as promised."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

import mm_keras as mm
from mm_keras.evaluate import ConformalSets, calibrate, calibration_metrics, reliability
from tests.evaluate.trained import model, samples

RNG = np.random.default_rng(0)
PROBABILITIES = RNG.dirichlet([0.4] * 4, size=300)
LABELS = RNG.integers(4, size=300)


def test_metrics_against_loops():
    found = calibration_metrics(LABELS, PROBABILITIES, bins=10)
    gaps = []
    for low in np.arange(10) / 10:
        confidence = PROBABILITIES.max(axis=1)
        inside = (confidence > low) & (confidence <= low + 0.1 + 1e-12)
        if inside.any():
            right = PROBABILITIES[inside].argmax(axis=1) == LABELS[inside]
            gaps.append((inside.sum(), abs(right.mean() - confidence[inside].mean())))
    assert found["ECE"] == pytest.approx(sum(n * gap for n, gap in gaps) / 300)
    assert found["MCE"] == pytest.approx(max(gap for _, gap in gaps))
    assert found["NLL"] == pytest.approx(log_loss(LABELS, PROBABILITIES))
    one_hot = np.eye(4)[LABELS]
    parts = [brier_score_loss(one_hot[:, c], PROBABILITIES[:, c]) for c in range(4)]
    assert found["Brier"] == pytest.approx(sum(parts))
    assert calibration_metrics(one_hot, PROBABILITIES, bins=10) == found


def test_true_probabilities_are_calibrated_and_bold_ones_are_not():
    probabilities = RNG.dirichlet([1, 1, 1], size=20_000)
    labels = (probabilities.cumsum(axis=1) < RNG.uniform(size=(20_000, 1))).sum(axis=1)
    assert calibration_metrics(labels, probabilities)["ECE"] < 0.015
    bold = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
    assert calibration_metrics(labels, bold)["ECE"] > 0.1


def test_empty_bins_are_not_a_number():
    found = reliability([0, 0], [[1.0, 0.0], [1.0, 0.0]], bins=4)
    np.testing.assert_array_equal(found.count, [0, 0, 0, 2])
    np.testing.assert_array_equal(np.isnan(found.accuracy), [True, True, True, False])
    assert (found.confidence[3], found.accuracy[3]) == (1.0, 1.0)


def overconfident():
    """The trained model, its logits four times as large."""
    bold = keras.ops.softmax(4.0 * keras.ops.log(model().output["label"]))
    return keras.Model(model().input, {"label": bold})


@pytest.fixture(scope="module")
def calibrated():
    return calibrate(overconfident(), samples(500, 3))


def test_calibration_finds_the_temperature_and_keeps_the_classes(calibrated):
    inputs, labels = samples(1000, 4)
    plain = calibrate(model(), samples(500, 3)).get_layer("label_temperature").temperature
    assert calibrated.get_layer("label_temperature").temperature == pytest.approx(
        4 * plain, rel=1e-2
    )
    bold = overconfident().predict(inputs, verbose=0)["label"]
    mended = calibrated.predict(inputs, verbose=0)["label"]
    np.testing.assert_array_equal(bold.argmax(axis=1), mended.argmax(axis=1))
    before, after = calibration_metrics(labels, bold), calibration_metrics(labels, mended)
    assert after["ECE"] < 0.5 * before["ECE"]
    assert after["NLL"] < before["NLL"]


def test_every_head_has_its_own_temperature():
    specs = {"a": mm.Features(4)}
    heads = {"kind": 3, "tags": mm.MultiLabel(2), "size": mm.Regression(1)}
    built = mm.build_mcnn(specs, heads, width=4, seed=0)
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=(50, 4))}
    y = {"kind": rng.integers(3, size=50), "tags": rng.integers(2, size=(50, 2))}
    mended = calibrate(built, (x, y))
    layers = {layer.name: layer for layer in mended.layers}
    assert not layers["kind_temperature"].independent
    assert layers["tags_temperature"].independent
    assert layers["kind_temperature"].temperature != layers["tags_temperature"].temperature
    assert list(mended.output) == list(built.output)
    np.testing.assert_array_equal(
        mended.predict(x, verbose=0)["size"], built.predict(x, verbose=0)["size"]
    )


@pytest.mark.slow
def test_a_calibrated_model_is_loaded_in_a_fresh_process(calibrated, tmp_path):
    inputs, _ = samples(5, 5)
    mm.export(calibrated, tmp_path / "model.keras", format="keras", check=False)
    np.savez(tmp_path / "inputs.npz", **inputs)
    code = """
import json, sys, numpy, keras, mm_keras
model = keras.models.load_model(sys.argv[1] + "/model.keras")
inputs = dict(numpy.load(sys.argv[1] + "/inputs.npz"))
print(json.dumps(model.predict(inputs, verbose=0)["label"].tolist()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    np.testing.assert_allclose(
        json.loads(done.stdout.splitlines()[-1]),
        calibrated.predict(inputs, verbose=0)["label"],
        atol=1e-6,
    )


@pytest.mark.parametrize("score", ["least_ambiguous", "adaptive"])
@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_sets_cover_as_promised_on_average_over_splits(score, coverage):
    inputs, labels = samples(600, 6)
    probabilities = model().predict(inputs, verbose=0)["label"]
    covered, sizes, splits = [], [], 300
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(600)
        known, new = order[:100], order[100:]
        sets = ConformalSets(coverage, score).fit(labels[known], probabilities[known])
        found = sets.predict(probabilities[new])
        covered.append(found[np.arange(500), labels[new]].mean())
        sizes.append(found.sum(axis=1))
    # The share covered by one calibration set of 100 has a deviation of about 0.04.
    error = 4 * np.std(covered) / np.sqrt(splits)
    assert np.mean(covered) >= coverage - error
    if score == "least_ambiguous":
        assert np.mean(covered) <= coverage + 1 / 101 + error
    else:
        assert min(size.min() for size in sizes) == 1
    assert 0.5 < np.mean(sizes) < 3


def test_sets_cover_whatever_the_model_says():
    labels = RNG.integers(4, size=4000)
    sets = ConformalSets(0.8).fit(labels[:2000], RNG.dirichlet([0.4] * 4, size=2000))
    found = sets.predict(RNG.dirichlet([0.4] * 4, size=2000))
    assert found[np.arange(2000), labels[2000:]].mean() == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(
    "call",
    [
        lambda heads: ConformalSets().fit(LABELS, PROBABILITIES).predict(heads),
        lambda heads: ConformalSets().fit(LABELS, heads),
        lambda heads: calibration_metrics(LABELS, heads),
        lambda heads: reliability(LABELS, heads),
    ],
)
def test_a_dict_of_heads_is_refused(call):
    message = r"`probabilities` must be an array.*probabilities\['label'\]\. Received: a dict"
    with pytest.raises(TypeError, match=message):
        call({"label": PROBABILITIES})


def test_sets_of_what_is_no_array_of_probabilities():
    sets = ConformalSets().fit(LABELS, PROBABILITIES)
    with pytest.raises(ValueError, match=r"`probabilities` must be \(n, C\).*Received shape: \(\)"):
        sets.predict(0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration_metrics(LABELS, 3 * PROBABILITIES), "rows of numbers.*not logits"),
        (lambda: calibration_metrics(LABELS[:5], PROBABILITIES), "same samples. Received: 5 and"),
        (lambda: calibration_metrics(LABELS + 1, PROBABILITIES), "from 0 to 3. Received: 1 to 4"),
        (lambda: reliability([], np.zeros((0, 4))), r"at least one sample.*\(0, 4\)"),
        (lambda: reliability(LABELS, PROBABILITIES, 0), "`bins` must be an integer of at least 1"),
        (lambda: ConformalSets(1.0), "`coverage` must be at least 0.0 and below 1"),
        (lambda: ConformalSets(0.0), "`coverage` must be above 0"),
        (lambda: ConformalSets(score="raps"), "`score` must be one of"),
        (lambda: ConformalSets().predict(PROBABILITIES), "`fit` must be called before"),
        (
            lambda: ConformalSets(0.9).fit(LABELS[:8], PROBABILITIES[:8]),
            "at least 9 samples to promise a coverage of 0.9. Received: 8",
        ),
        (
            lambda: calibrate(
                mm.build_mcnn({"a": mm.Features(4)}, mm.Classification(3, logits=True)),
                ({"a": np.ones((2, 4))}, [0, 1]),
            ),
            "probabilities as the output 'label', not logits",
        ),
        (
            lambda: calibrate(model(), (samples(4, 0)[0], {"kind": np.zeros(4)})),
            r"labels of an output out of \['label'\]",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
