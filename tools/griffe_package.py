"""What the documentation must be told about this package's sources: an extension of griffe.

Specs are dataclasses by a decorator of our own, and named tuples have fields as dataclasses have;
examples of docstrings are doctests, which Markdown would take for quotations.
"""

import re

import griffe

SPEC = "mm_keras.modalities.base.spec"
DOCTEST = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)  # up to an empty line


def fenced(text: str) -> str:
    """Returns a docstring whose doctests are blocks of code."""
    text = re.sub(r"^Example:$", "**Example**", text, flags=re.MULTILINE)
    return DOCTEST.sub(lambda match: f"```pycon\n{match[0]}\n```", text)


class PackageExtension(griffe.Extension):
    """Makes griffe see fields and examples."""

    def on_class_instance(self, *, cls: griffe.Class, **kwargs) -> None:
        """Marks specs and named tuples as dataclasses, before griffe makes their signatures."""
        decorated = any(decorator.callable_path == SPEC for decorator in cls.decorators)
        named_tuple = any(str(base) in ("NamedTuple", "typing.NamedTuple") for base in cls.bases)
        if decorated or named_tuple:
            mark = griffe.ExprName("dataclasses.dataclass")
            cls.decorators.append(griffe.Decorator(mark, lineno=cls.lineno, endlineno=cls.lineno))

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        """Fences the doctests of a docstring."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)
