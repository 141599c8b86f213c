"""The README: its code runs, and its tables are the measured results."""

import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_code_blocks_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    namespace = {}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"README.md, block {number}", "exec"), namespace)
    assert namespace["pair"].count_params() < 2_600_000  # one MobileNetV2, not two
    assert namespace["prediction"]["label"].shape == (4, 10)
    assert namespace["small"].predict(namespace["inputs"])["label"].shape == (4, 10)
    zeros = namespace["mm"].compress.sparsity(namespace["sparse"]).layers
    assert zeros["image_projection"] == pytest.approx(0.8, abs=0.01)
    assert zeros["audio_projection"] == pytest.approx(0.5, abs=0.01)


def test_tables_are_the_results_files(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tables = importlib.import_module("tables")
    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert tables.render(text) == text, "run `python benchmarks/tables.py`"
        assert len(tables.BLOCK.findall(text)) >= 1
    assert "| `build_mcnn` | av_digits |" in README


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
