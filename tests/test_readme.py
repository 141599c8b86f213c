"""The README: its code runs, and its tables are the measured results."""

import importlib
import json
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


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("tables")


def test_tables_and_figures_are_those_of_the_results_files(tables):
    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert tables.render(text) == text, "run `python benchmarks/tables.py`"
        assert len(tables.BLOCK.findall(text)) >= (page in tables.TABLED)
    assert "| `build_mcnn` | av_digits |" in README


# Numbers in prose that no script measures.
SETTINGS = (
    "at least 5 times as fast",  # aims
    "at most 0.28 of the size",
    "below 0.35 of the float one",
    "within 5 % of one from memory",
    "1.3 times as fast",
    "Pruned to 80 %",  # what was asked for
    "PyKale 0.2.1",  # versions of other packages, in docs/peers.md
    "`kale/embed/multimodal_fusion.py` and `kale/pipeline/` of the wheel 0.2.1",
    "modules of the wheel 0.4.5",
    "`constants.py` of the wheel 1.6.3",
    "the models of the package 0.32.0",
    "requirements of the wheel 0.17.1",
    "TensorFlow 2.11 at most",
    "arXiv:2107.03049",
)
MEASURED = re.compile(r"[−+-]?\d+\.\d+|[−+-]?\d+(?= ?%| points| times)")


def prose_of(text):
    """Returns a page without code, tables, comments and the figures that are rendered."""
    for pattern in (
        r"```.*?```",
        r"<!-- results.*?<!-- end -->",
        r"<!-- value: .*?<!-- / -->",
        r"<!--.*?-->",
        r"^\|[^\n]*$",
        r"\]\([^)]*\)",
    ):
        text = re.sub(pattern, "", text, flags=re.DOTALL | re.MULTILINE)
    return " ".join(text.split())


def test_no_result_is_written_by_hand(tables):
    for page in tables.PAGES:
        prose = prose_of(page.read_text(encoding="utf-8"))
        if page.name == "README.md" and page.parent == ROOT:
            prose = prose.partition("## Is fusion worth it?")[2].partition(" ## ")[0]
            assert "Measured" in prose
        for setting in SETTINGS:
            prose = prose.replace(setting, "")
        prose = re.sub(r"`[^`]*`", "", prose)
        found = [prose[max(0, m.start() - 40) : m.end() + 20] for m in MEASURED.finditer(prose)]
        assert not found, f"{page.name}: mark figures as benchmarks/tables.py says: {found}"


def test_every_number_that_needs_no_mark_still_stands_somewhere(tables):
    prose = " ".join(prose_of(page.read_text(encoding="utf-8")) for page in tables.PAGES)
    assert [setting for setting in SETTINGS if setting not in prose] == []


def test_a_figure_is_computed_from_its_file(tables, monkeypatch, tmp_path):
    rows = {"a": {"accuracy %": [50.0, 60.0]}, "b": {"accuracy %": [51.0, 69.0]}}
    (tmp_path / "one.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.value("one | a | accuracy % | .1f") == "55.0"
    assert tables.value("one | a minus b | accuracy % | +.1f") == "−5.0"
    assert tables.value("one | b minus a | accuracy % | +.0f | each") == "+1, +9"
    page = "It is <!-- value: one | a | accuracy % | .0f -->54<!-- / --> %."
    assert tables.render(page) == page.replace("54", "55")
    with pytest.raises(ValueError, match="ends with its format, or with `each`"):
        tables.value("one | a | accuracy % | .1f | all")
    with pytest.raises(KeyError, match="c"):
        tables.value("one | c | accuracy % | .1f")


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
