"""The documentation: every public name has a page, and the guide's code does what it says."""

import importlib
import pathlib
import re

import numpy as np
import pytest

import mm_keras as mm

ROOT = pathlib.Path(__file__).parent.parent
EXTEND = ROOT / "docs" / "extend.md"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("api_pages", ROOT / "tools" / "api_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_subpackage_with_public_names_has_a_page(tool):
    packages = {path.parent.name for path in (ROOT / "mm_keras").glob("*/__init__.py")}
    assert set(tool.subpackages()) == packages
    assert {"api/index.md", *(f"api/{name}.md" for name in packages)} == set(tool.pages())
    named = {*mm.__all__} & packages
    assert packages - named <= {"modalities"}  # whose names are all at the top


def test_every_public_name_is_on_its_page_and_found_where_the_page_looks(tool):
    top = {name for name in mm.__all__ if name not in tool.subpackages()}
    listed = {}
    for subpackage in tool.subpackages():
        module = importlib.import_module(f"mm_keras.{subpackage}")
        page = tool.pages()[f"api/{subpackage}.md"]
        for name in module.__all__:
            listed[name] = f"mm.{name}" if name in top else f"mm.{subpackage}.{name}"
            assert f"      heading: {listed[name]}\n" in page
        homes = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
        assert len(homes) == len(module.__all__)
        for home in homes:
            origin, name = home.rsplit(".", 1)
            assert getattr(importlib.import_module(origin), name) is getattr(module, name), home
    assert {name for name in top if listed.get(name) != f"mm.{name}"} == set()


def test_a_new_name_would_appear_by_itself(tool, monkeypatch, tmp_path):
    package = tmp_path / "mm_keras" / "plots"
    package.mkdir(parents=True)
    (tmp_path / "mm_keras" / "__init__.py").write_text("_HOMES = {}\n")
    (package / "__init__.py").write_text(
        '"""New."""\nfrom mm_keras.plots.new_chart import new_chart\n__all__ = ["new_chart"]\n'
    )
    (package / "new_chart.py").write_text("def new_chart():\n    pass\n")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    assert "::: mm_keras.plots.new_chart.new_chart" in tool.pages()["api/plots.md"]


def test_pages_are_in_the_navigation_and_links_lead_somewhere():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name in navigation
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            made = target.startswith("api/")  # by tools/api_pages.py
            assert made or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
def test_the_guide_runs_in_order():
    blocks = re.findall(r"```python\n(.*?)```", EXTEND.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 8
    found = {"__name__": "my_package"}
    exec("import keras\nkeras.utils.set_random_seed(0)", found)
    try:
        for number, block in enumerate(blocks, start=1):
            exec(compile(block, f"extend.md, block {number}", "exec"), found)
    finally:
        mm.encoders.ENCODERS.pop(found.get("Points"), None)
    model = found["model"]
    assert sorted(model.input) == ["cloud", "cloud_present", "image"]
    assert mm.modalities_of(model)["cloud"] == found["Points"](20, optional=True)
    assert found["accuracy"] > 0.8
    inputs = next(iter(found["test"].batch(8)))[0]
    inputs = {name: np.array(value) for name, value in inputs.items()}
    inputs["cloud_present"][:] = False
    absent = model.predict(inputs, verbose=0)["label"]
    inputs["cloud"][:] = np.nan
    np.testing.assert_array_equal(model.predict(inputs, verbose=0)["label"], absent)
