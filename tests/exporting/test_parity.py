"""The check of a written file: it lets a right one through and no wrong one."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from mm_keras.exporting import FORMATS, ParityError, parity, writers
from mm_keras.exporting.parity import check_parity, presence_patterns, random_inputs
from mm_keras.exporting.serving import Serving
from tests.exporting.conftest import SUFFIXES
from tests.exporting.custom_layers import Doubled

TABLE = mm.Tabular(numeric=("age",), categorical={"city": ("Oslo", "Rome")}, normalize=False)


def small(seed=0):
    keras.utils.set_random_seed(seed)
    return mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3, optional=True)}, 3, width=8)


@pytest.mark.slow
@pytest.mark.parametrize("format", SUFFIXES)
def test_right_files_pass(trio, trio_files, format):
    check_parity(Serving(trio), trio_files[format], format, FORMATS[format].tolerance)


@pytest.mark.slow
def test_raw_inputs_are_checked_too(trio, raw_files):
    for format, strings in (("saved_model", True), ("litert", False), ("onnx", False)):
        serving = Serving(trio, True, strings)
        check_parity(serving, raw_files[format], format, FORMATS[format].tolerance)


@pytest.mark.slow
def test_a_wrong_saved_model_does_not_pass(trio, trio_files):
    keras.utils.set_random_seed(1)
    other = keras.models.clone_model(trio)
    with pytest.raises(ParityError, match=r"'saved_model' file must give .* 'label' differs by"):
        check_parity(Serving(other), trio_files["saved_model"], "saved_model", 1e-4)


def with_writer(monkeypatch, format, write):
    changed = FORMATS[format]._replace(write=write)
    monkeypatch.setitem(FORMATS, format, changed)


@pytest.mark.parametrize("format", ["litert", "onnx"])
def test_a_wrong_file_is_not_kept(monkeypatch, tmp_path, format):
    """Nor does it take the place of an earlier one."""
    path = mm.export(small(), tmp_path / f"m{SUFFIXES[format]}", format=format)
    before, write = path.read_bytes(), FORMATS[format].write
    with_writer(monkeypatch, format, lambda serving, path: write(Serving(small(seed=1)), path))
    with pytest.raises(ParityError, match=r"must give what the model gives. Output 'label' .*kept"):
        mm.export(small(), path, format=format)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    mm.export(small(), path, format=format, check=False)
    assert path.read_bytes() != before


def test_a_file_that_forgets_who_is_absent_is_found(monkeypatch, tmp_path):
    class Forgetful(Serving):
        def __call__(self, inputs):
            present = inputs["b_present"]
            return super().__call__({**inputs, "b_present": present | ~present})

    with_writer(
        monkeypatch,
        "litert",
        lambda serving, path: writers.write_litert(Forgetful(serving.model), path),
    )
    with pytest.raises(ParityError, match="'label' differs"):
        mm.export(small(), tmp_path / "m.tflite", format="litert")
    assert not any(tmp_path.iterdir())


def test_a_broken_file_is_found(monkeypatch, tmp_path):
    def write(serving, path):
        path.write_bytes(b"PK" * 100)

    with_writer(monkeypatch, "litert", write)
    with pytest.raises(ParityError, match=r"(?s)must load and predict in a process of its own.*"):
        mm.export(small(), tmp_path / "m.tflite", format="litert")


@pytest.mark.slow
def test_a_keras_file_may_need_modules_of_others(tmp_path):
    inputs = keras.Input((3,), name="x")
    model = keras.Model(inputs, Doubled(name="doubled")(inputs))
    path = mm.export(model, tmp_path / "m.keras", format="keras")
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(mm.load(path).predict(x, verbose=0), 2 * x)


def test_layers_that_no_other_process_can_load(monkeypatch, tmp_path):
    monkeypatch.setattr(Doubled, "__module__", "__main__")
    inputs = keras.Input((3,), name="x")
    model = keras.Model(inputs, Doubled(name="doubled")(inputs))
    with pytest.raises(ValueError, match=r"`check` must be False .*`__main__`.*\['doubled'\]"):
        mm.export(model, tmp_path / "m.keras", format="keras")
    mm.export(model, tmp_path / "m.keras", format="keras", check=False)


def test_random_inputs_have_the_units_of_their_modality():
    keras.utils.set_random_seed(0)
    model = mm.build_mcnn(
        {
            "image": mm.Image((6, 6, 1), backbone="SmallCNN"),
            "row": TABLE.adapt({"age": [20.0, 60.0], "city": ["Oslo", "Rome"]}),
            "views": mm.Views(7, (4, 4, 1), backbone="SmallCNN", optional_views=True),
            "words": mm.Text(5, 9),
        },
        2,
        width=4,
    )
    drawn = random_inputs(Serving(model))
    count = len(drawn["image"])
    assert drawn["image"].min() >= 0
    assert 200 < drawn["image"].max() <= 255
    assert set(drawn["row"][:, 1]) == {0, 1, 2}
    assert abs(drawn["row"][:, 0].mean() - 40) < 20
    assert set(drawn["words"].ravel()) == set(range(9))
    assert drawn["views_present"].shape == (count, 7)
    assert 0 < drawn["views_present"].mean() < 1
    again = random_inputs(Serving(model))
    assert all(np.array_equal(drawn[name], again[name]) for name in drawn)


def test_patterns():
    rng = np.random.default_rng(0)
    assert presence_patterns(0, rng).shape == (1, 0)
    assert len(np.unique(presence_patterns(5, rng), axis=0)) == 32
    assert presence_patterns(6, rng).shape == (32, 6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float32"])
def test_half_precision_is_compared_as_such(monkeypatch, tmp_path, policy):
    """Outputs that are 1 % off are allowed in half precision only."""
    keras.config.set_dtype_policy(policy)
    try:
        serving = Serving(small())
    finally:
        keras.config.set_dtype_policy("float32")

    def predict(serving, path, format, batches):
        return [{"label": serving(batch)["label"].numpy() * 1.01} for batch in batches]

    monkeypatch.setattr(parity, "_predict_in_child", predict)
    if policy == "float32":
        with pytest.raises(ParityError, match="differs by"):
            check_parity(serving, tmp_path, "saved_model", 1e-4)
    else:
        check_parity(serving, tmp_path, "saved_model", 1e-4)
        with pytest.raises(ValueError, match=r"`model` must compute in float32 for .*'litert'"):
            mm.export(serving.model, tmp_path / "m.tflite", format="litert")
