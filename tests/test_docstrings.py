"""The examples in docstrings give what they say."""

import doctest
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages

import pytest

import autolora_meta


def examples() -> Iterator[doctest.DocTest]:
    """Return the examples of all modules, but for those whose first line is skipped."""
    for module in walk_packages(autolora_meta.__path__, "autolora_meta."):
        for found in doctest.DocTestFinder().find(import_module(module.name)):
            if found.examples and not found.examples[0].options.get(doctest.SKIP):
                yield found


@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example.name)
def test_an_example_gives_what_it_says(example: doctest.DocTest) -> None:
    said: list[str] = []
    assert not doctest.DocTestRunner().run(example, out=said.append).failed, "".join(said)
