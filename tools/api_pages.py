"""A hook of MkDocs: a page for each subpackage, with every public name of it.

The names are read from the sources (`__all__`, and the imports that bring them), not from the
imported package: neither Keras nor TensorFlow is needed. What is public has a page, so that none is
forgotten; tests/test_docs.py compares with the package itself.
"""

import ast
import pathlib
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = "mm_keras"
# Subpackages in the order of the navigation: from what goes in to what comes out.
ORDER = (
    "modalities",
    "models",
    "data",
    "datasets",
    "layers",
    "losses",
    "encoders",
    "training",
    "distribute",
    "evaluate",
    "plots",
    "compress",
    "exporting",
    "experiments",
    "testing",
)


class Name(NamedTuple):
    """A public name.

    Args:
        name: As users write it: `mm.data.balance`.
        home: Where it is defined: `mm_keras.data.balance.balance`.
    """

    name: str
    home: str


def source_of(module: str) -> pathlib.Path:
    """Returns the file of a module or package."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public_names(module: str) -> dict[str, str]:
    """Returns `{name: where it is defined}` of what a package has in `__all__`."""
    tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
    imported, listed = {}, []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                imported[alias.asname or alias.name] = (node.module, alias.name)
        elif isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            listed = ast.literal_eval(node.value)
    return {name: _home(*imported.get(name, (module, name))) for name in listed}


def _home(module: str, name: str) -> str:
    """Returns the full name of what a module holds, through packages that only pass it on."""
    source = source_of(module)
    if source.name == "__init__.py":
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and name in {
                alias.asname or alias.name for alias in node.names
            }:
                return _home(node.module, name)
    return f"{module}.{name}"


def top_level() -> set[str]:
    """Returns the names that the package itself offers: `mm.build_mcnn`."""
    tree = ast.parse(source_of(PACKAGE).read_text(encoding="utf-8"))
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == f"{PACKAGE}.modalities":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_HOMES":
            names |= {name for own in ast.literal_eval(node.value).values() for name in own}
    return names


def subpackages() -> list[str]:
    """Returns the subpackages that have public names, in order."""
    found = [path.parent.name for path in sorted((ROOT / PACKAGE).glob("*/__init__.py"))]
    known = [name for name in ORDER if name in found]
    return known + [name for name in found if name not in ORDER]


def names_of(subpackage: str) -> list[Name]:
    """Returns the public names of a subpackage, sorted."""
    short = top_level()
    names = [
        Name(f"mm.{name}" if name in short else f"mm.{subpackage}.{name}", home)
        for name, home in public_names(f"{PACKAGE}.{subpackage}").items()
    ]
    return sorted(names, key=lambda name: name.home.rsplit(".", 1)[1].lower())


def pages() -> dict[str, str]:
    """Returns `{path below docs/: Markdown}` of all pages."""
    overview = "# API\n\n`import mm_keras as mm`, then:\n\n| part | what is in it |\n|---|---|\n"
    made = {"api/index.md": overview}
    for subpackage in subpackages():
        tree = ast.parse(source_of(f"{PACKAGE}.{subpackage}").read_text(encoding="utf-8"))
        about = ast.get_docstring(tree) or ""
        made["api/index.md"] += (
            f"| [mm.{subpackage}]({subpackage}.md) | {about.splitlines()[0]} |\n"
        )
        parts = [
            f"::: {one.home}\n    options:\n"
            f"      heading: {one.name}\n      toc_label: {one.name}\n"
            for one in names_of(subpackage)
        ]
        made[f"api/{subpackage}.md"] = "\n".join([f"# mm.{subpackage}\n\n{about}\n", *parts])
    return made


def on_config(config):
    """Puts the pages into the navigation."""
    api = [f"api/{subpackage}.md" for subpackage in subpackages()]
    config["nav"] = [
        {"API": ["api/index.md", *({f"mm.{page[4:-3]}": page} for page in api)]}
        if entry == {"API": "api/"}
        else entry
        for entry in config["nav"]
    ]
    return config


def on_files(files, config):
    """Adds the pages."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
