"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import mm_keras

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(mm_keras.__path__, mm_keras.__name__ + ".")
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert not result.failed


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [
        t for name in MODULES for t in finder.find(importlib.import_module(name)) if t.examples
    ]
    assert len(found) >= 12
