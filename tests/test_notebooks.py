"""The notebooks: `.ipynb` and `.py` of each agree, without outputs. `make notebooks` runs them."""

import ast
import importlib.util
import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))
IDS = [path.stem for path in SCRIPTS]


@pytest.fixture(scope="module")
def tool():
    pytest.importorskip("jupytext")
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "tools" / "notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_nine(tool):
    assert [name[0] for name in IDS] == list("012345678")
    assert tool.scripts() == SCRIPTS
    assert {path.with_suffix(".ipynb") for path in SCRIPTS} == {
        *(ROOT / "notebooks").glob("*.ipynb")
    }


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_the_pair_agrees(tool, path):
    script = path.read_text(encoding="utf-8")
    notebook = path.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert tool.with_repository(script) == script, "run `make pair`"
    assert tool.paired(script) == notebook, "run `make pair`"
    cells = json.loads(notebook)["cells"]
    assert not any(cell.get("outputs") for cell in cells)
    assert all(cell.get("execution_count") is None for cell in cells)
    # Colab's badge first, then a cell that installs where the package is missing.
    assert f"github/{tool.repository()}/blob/main/notebooks/{path.stem}.ipynb)" in "".join(
        cells[0]["source"]
    )
    first = next(cell for cell in cells if cell["cell_type"] == "code")
    assert 'find_spec("mm_keras") is None' in "".join(first["source"])
    assert f"git+https://github.com/{tool.repository()}" in "".join(first["source"])


def switches(tree):
    return [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "FULL"
    ]


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_it_has_a_switch_and_defines_no_models(tool, path):
    script = path.read_text(encoding="utf-8")
    tree = ast.parse(script)
    assert switches(tree) == [False]
    assert switches(ast.parse(tool.switched_on(script))) == [True]
    names = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert any(name.startswith("mm.build_") for name in names)
    assert not {name for name in names if name.startswith(("keras.layers", "keras.Model"))}


def test_another_repository_reaches_badge_and_installation(tool, monkeypatch):
    monkeypatch.setattr(tool, "repository", lambda: "someone/fork.keras")
    text = tool.with_repository(SCRIPTS[0].read_text(encoding="utf-8"))
    assert "colab/github" not in text
    assert "com/github/someone/fork.keras/blob/main/notebooks/0_quickstart.ipynb" in text
    assert '"mm_keras @ git+https://github.com/someone/fork.keras"' in text
    monkeypatch.setattr(tool, "repository", lambda: "else/where")
    assert "someone" not in tool.with_repository(text)
