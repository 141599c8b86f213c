"""Corruptions, and curves of a model under them."""

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.evaluate import (
    CORRUPTIONS,
    RobustnessCurve,
    effective_robustness,
    relative_robustness,
    robustness_curves,
)
from tests.evaluate.trained import NAMES, model, samples

RNG = np.random.default_rng(0)
BATCHES = {
    mm.Image: RNG.integers(1, 256, (6, 16, 12, 3)).astype("uint8"),
    mm.Video: RNG.integers(1, 256, (6, 4, 16, 12, 3)).astype("uint8"),
    mm.Views: RNG.integers(1, 256, (6, 2, 16, 12, 3)).astype("uint8"),
    mm.Audio: RNG.uniform(0.1, 1, (6, 1000)).astype("float32"),
    mm.Text: np.concatenate([RNG.integers(2, 9, (6, 30)), np.zeros((6, 5))], 1).astype("int32"),
    mm.Tabular: RNG.normal(size=(6, 40)).astype("float32"),
    mm.Features: RNG.normal(size=(6, 40)).astype("float32"),
}
CASES = [(kind, name) for kind, functions in CORRUPTIONS.items() for name in functions]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{k.__name__}-{n}" for k, n in CASES])
def test_corruptions_spoil_more_the_more_severe_they_are(kind, name):
    x, corrupt = BATCHES[kind], CORRUPTIONS[kind][name]
    before = x.copy()
    distances = []
    for severity in (0.0, 0.3, 1.0):
        found = corrupt(x, severity, np.random.default_rng(1))
        assert (found.shape, found.dtype) == (x.shape, x.dtype)
        np.testing.assert_array_equal(found, corrupt(x, severity, np.random.default_rng(1)))
        distances.append(np.linalg.norm(found.astype("float64") - x))
    np.testing.assert_array_equal(x, before)
    assert distances[0] == 0 < distances[1] < distances[2]


def test_sound_noise_has_the_ratio_it_says():
    x = BATCHES[mm.Audio]
    noise = CORRUPTIONS[mm.Audio]["noise"](x, 0.75, RNG) - x  # −10 dB
    ratio = 10 * np.log10(np.mean(x**2) / np.mean(noise**2))
    assert ratio == pytest.approx(-10, abs=0.5)


def test_shifts_move_and_dropouts_silence():
    x = BATCHES[mm.Audio]
    shifted = CORRUPTIONS[mm.Audio]["shift"](x, 0.5, RNG)
    for before, after in zip(x, shifted, strict=True):
        kept = after[after != 0]
        assert len(kept) >= 750
        assert any(np.array_equal(before[i : i + len(kept)], kept) for i in (0, 1000 - len(kept)))
    silent = CORRUPTIONS[mm.Audio]["dropout"](x, 1.0, RNG) == 0
    assert silent.mean() == pytest.approx(0.9, abs=0.06)


def test_crops_leave_a_window():
    x = BATCHES[mm.Image]
    cropped = CORRUPTIONS[mm.Image]["crop"](x, 1.0, RNG)
    assert ((cropped == 0) | (cropped == x)).all()
    assert ((cropped != 0).any(axis=3).sum(axis=(1, 2)) == 4 * 3).all()


def test_padding_stays_padding_and_omissions_close_up():
    x = BATCHES[mm.Text]
    assert not CORRUPTIONS[mm.Text]["typos"](x, 1.0, RNG)[:, 30:].any()
    left = CORRUPTIONS[mm.Text]["omissions"](x, 0.5, RNG)
    for before, after in zip(x, left, strict=True):
        kept = after[after != 0]
        assert 0 < len(kept) < 30
        assert not after[len(kept) :].any()
        rest = iter(before)
        assert all(token in rest for token in kept)  # in order


def test_swaps_keep_each_columns_values():
    x = BATCHES[mm.Tabular]
    swapped = CORRUPTIONS[mm.Tabular]["swaps"](x, 1.0, RNG)
    np.testing.assert_array_equal(np.sort(swapped, axis=0), np.sort(x, axis=0))


def test_curves_fall_for_what_matters_and_stay_for_what_does_not():
    data = samples(400, 2)
    curves = {
        (curve.modality, curve.corruption): curve for curve in robustness_curves(model(), data)
    }
    assert set(curves) == {(name, kind) for name in NAMES for kind in ("noise", "swaps")}
    clean = np.mean(model().predict(data[0], verbose=0)["label"].argmax(axis=1) == data[1])
    assert all(curve.values[0] == pytest.approx(clean) for curve in curves.values())
    loud, noise = curves["loud", "swaps"], curves["noise", "swaps"]
    assert loud.values[-1] < clean - 0.2
    assert abs(noise.values[-1] - clean) < 0.08
    assert relative_robustness(noise) > relative_robustness(loud)
    again = robustness_curves(model(), data, {"loud": CORRUPTIONS[mm.Features]})
    assert again[1].values == loud.values  # seeded, whatever else is measured


def test_own_corruptions_and_metrics():
    data = samples(64, 2)
    silent = {"loud": {"gone": lambda x, severity, rng: np.zeros_like(x)}}
    (curve,) = robustness_curves(
        model(), data, silent, severities=(0, 0.5), metric=lambda y, p: float(p[:, 0].sum())
    )
    changed = data[0] | {"loud": np.zeros_like(data[0]["loud"])}
    expected = [model().predict(x, verbose=0)["label"][:, 0].sum() for x in (data[0], changed)]
    assert curve.values == pytest.approx(expected, rel=1e-5)


def test_robustness_in_closed_form():
    curve = RobustnessCurve("image", "noise", (0.0, 0.5, 1.0), (0.9, 0.8, 0.3))
    assert relative_robustness(curve) == pytest.approx((0.85 + 0.55) / 2)
    moved = curve._replace(values=tuple(value - 0.2 for value in curve.values))
    assert effective_robustness(curve, moved) == pytest.approx(0)
    flat = curve._replace(values=(0.5, 0.5, 0.5))
    assert effective_robustness(flat, curve) == pytest.approx(0.5 - 0.7 + 0.4)
    with pytest.raises(ValueError, match="`baseline` must be of the same modality"):
        effective_robustness(curve, curve._replace(corruption="blur"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"severities": (0.2, 1.0)}, "`severities` must rise from 0"),
        ({"severities": (0.0, 0.5, 0.5)}, "`severities` must rise from 0"),
        ({"severities": (0.0, 2.0)}, "to at most 1"),
        ({"severities": (0.0,)}, "two steps or more"),
        ({"severities": (-1.0, 1.0)}, "`severities` must be at least 0"),
        ({"corruptions": {"load": {}}}, "`corruptions` must be one of.*Did you mean 'loud'"),
        ({"head": "lable"}, "`head` must be one of"),
        ({"metric": "auc"}, "`metric` must be one of"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        robustness_curves(model(), samples(4, 0), **options)
