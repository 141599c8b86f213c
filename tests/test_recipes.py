"""The recipes: their code runs, in order, and does what they say."""

import pathlib
import re

import numpy as np
import pytest

import mm_keras as mm

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "recipes.md"


@pytest.mark.slow
def test_code_blocks_run_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 16
    found = {"CACHE": tmp_path / "cache", "FOLDER": str(tmp_path / "index")}
    exec("import keras\nkeras.utils.set_random_seed(0)", found)
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"recipes.md, block {number}", "exec"), found)

    assert found["transfer"].copied == {"image_backbone": "image_backbone"}
    kernel = found["target"].get_layer("image_backbone").get_layer("stage1_in_conv").kernel.numpy()
    source = found["source"].get_layer("image_backbone").get_layer("stage1_in_conv").kernel.numpy()
    assert np.any(kernel != source)  # fine-tuned
    np.testing.assert_allclose(kernel, source, atol=0.05)
    test = found["test"].filter(found["high"]).map(found["pictures"])
    few = test.map(lambda inputs, label: (inputs, label - 5)).batch(100)
    assert found["target"].evaluate(few, verbose=0, return_dict=True)["accuracy"] > 0.5

    assert found["joint"].evaluate(found["complete"], verbose=0, return_dict=True)["accuracy"] > 0.3
    assert {"digit", "parity"} == set(found["heads"].output)
    assert list(found["listener"].input) == ["audio"]
    validated = found["robust"].evaluate(found["validation"], verbose=0, return_dict=True)
    assert validated["accuracy"] > 0.3
    numbers = [int(label) for _, label in found["balanced"]]
    assert np.bincount(numbers).tolist() == [max(found["counts"])] * 10
    assert found["window"].found["audio"].all()
    slim = found["slim"].get_layer("left_backbone")
    assert isinstance(slim, mm.layers.Rematerialized)
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert {curve.modality for curve in found["curves"]} == {"image", "audio"}
    assert found["seen"].heatmaps.shape == (100, 8, 8)
    reach = np.abs(found["parts"].whole - found["parts"].without).mean()
    assert np.abs(found["parts"].gap).mean() < 0.2 * reach
    assert "fusion/image" in found["maps"]
    assert found["sets"].predict(found["probabilities"]).any()

    assert list(found["lean"].output) == ["label"]
    assert sorted(found["balanced_model"].optimizer.rates) == [0.5, 1.0]
    assert found["thawed"].get_layer("image_backbone").trainable
    names = found["found"].ids
    assert names.shape == (3, 3)
    np.testing.assert_array_equal(found["again"].search(found["queries"], k=3).ids, names)
    served = [[name.decode() for name in row] for row in found["served"]["ids"].numpy()]
    assert [row[:3] for row in served] == names.tolist()
