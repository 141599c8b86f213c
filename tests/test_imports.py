"""What importing mm_keras costs, and which module may import which."""

import ast
import importlib
import json
import pathlib
import statistics
import subprocess
import sys

import pytest

import mm_keras as mm

PACKAGE = pathlib.Path(mm.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
IDS = [path.relative_to(PACKAGE).as_posix() for path in MODULES]

# A module sees its own part and those of a lower tier.
TIERS = [
    {"_checks", "_examples", "_files", "_graphs"},
    {"modalities"},
    {"layers", "losses"},
    {"encoders"},
    {"models"},
    {"evaluate", "exporting", "testing", "training"},
    {"distribute"},
    {"plots"},
    {"compress"},
    {"experiments"},
    {"cli"},
    {"__main__"},
]
TIER = {part: tier for tier, parts in enumerate(TIERS) for part in parts}
ONLY_SPECS = {"data", "datasets"}  # see modalities, and are seen from compress and the like on
TENSORFLOW = {"compress", "data", "datasets", "distribute", "exporting"}
TAPE = "evaluate/gradients.py"  # keras has no gradients: it asks the backend, within a function
HEAVY = [
    "matplotlib",
    "sklearn",
    "tensorflow_datasets",
    "tensorflow_model_optimization",
    "tf_keras",
]


def part_of(path):
    """The first part below the package: a folder, or a module without its ending."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree):
    """Yields (dotted name, whether at the top level) of each import."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    nested = {id(inner) for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in nested
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) not in nested


def may_import(part, other):
    if part == other or other in TIERS[0]:
        return True
    if part in ONLY_SPECS:
        return other in {"modalities", *ONLY_SPECS}
    if other in ONLY_SPECS:
        return TIER[part] > TIER["models"]
    return TIER[other] < TIER[part] or {part, other} == {"layers", "losses"}


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_imports_point_one_way(path):
    part = part_of(path)
    assert part == "__init__" or part in {*TIER, *ONLY_SPECS}, f"give {part} a place in TIERS"
    for name, _ in imports(tree_of(path)):
        head, *rest = name.split(".")
        if head != "mm_keras" or part == "__init__":
            continue
        if not rest or rest[0] not in {*TIER, *ONLY_SPECS}:  # the package as a whole
            assert TIER.get(part, 0) >= TIER["experiments"] or rest == ["__version__"], name
        else:
            assert may_import(part, rest[0]), f"{part} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_foreign_frameworks_stay_where_they_belong(path):
    part = part_of(path)
    for name, top_level in imports(tree_of(path)):
        head = name.split(".")[0]
        assert not name.startswith(("keras.src", "tensorflow.keras", "tensorflow.python")), name
        assert head != "pickle", name
        if head == "tensorflow" and path.relative_to(PACKAGE).as_posix() == TAPE:
            assert not top_level
        elif head == "tensorflow":
            assert part in TENSORFLOW, f"{part} imports tensorflow"
        if head in {"tensorflow_model_optimization", "tf_keras"}:
            assert path.relative_to(PACKAGE).as_posix() == "compress/legacy.py"
            assert not top_level


def uses(tree):
    """Yields what our own code never uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield f"assert, line {node.lineno}"
        elif isinstance(node, ast.Attribute):
            owner = node.value
            if isinstance(owner, ast.Name) and (owner.id, node.attr) in {
                ("tf", "keras"),
                ("tensorflow", "keras"),
                ("keras", "src"),
            }:
                yield f"{owner.id}.{node.attr}, line {node.lineno}"
            if node.attr == "Lambda":
                yield f"Lambda, line {node.lineno}"
        elif isinstance(node, ast.Name) and node.id in {"Lambda", "pickle"}:
            yield f"{node.id}, line {node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_what_our_own_code_never_uses(path):
    assert list(uses(tree_of(path))) == []


def test_what_is_never_used_would_be_found():
    source = "assert x\ntf.keras.Model\nkeras.src.x\nkeras.layers.Lambda(f)\npickle.dumps(x)"
    found = [use.split(",")[0] for use in uses(ast.parse(source))]
    assert sorted(found) == ["Lambda", "assert", "keras.src", "pickle", "tf.keras"]


@pytest.mark.parametrize("name", mm.__all__)
def test_every_public_name_resolves(name):
    assert getattr(mm, name) is not None
    assert name in dir(mm)


def test_public_names_of_every_part_resolve():
    for part in sorted({part_of(path) for path in MODULES} - {"__init__"}):
        module = importlib.import_module(f"mm_keras.{part}")
        for name in getattr(module, "__all__", []):
            assert hasattr(module, name), f"{part}.{name}"


def test_unknown_names_raise():
    with pytest.raises(AttributeError, match="module 'mm_keras' has no attribute 'build_nothing'"):
        mm.build_nothing  # noqa: B018


COST = """
import json, sys, time
start = time.process_time()
import keras
middle = time.process_time()
before = set(sys.modules)
import mm_keras
end = time.process_time()
loaded = sorted({name.split(".")[0] for name in set(sys.modules) - before})
print(json.dumps({"keras": middle - start, "mm_keras": end - middle, "loaded": loaded}))
"""


def test_import_is_cheap():
    """It brings in no heavy library, and costs at most 5 % more than Keras alone."""
    runs = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", COST], capture_output=True, text=True, check=True
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    assert not set(HEAVY) & set(runs[0]["loaded"])
    assert statistics.median(run["mm_keras"] / run["keras"] for run in runs) < 0.05, runs
