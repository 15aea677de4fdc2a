"""YAML that grows, is deep, or holds what JSON cannot: one sentence, at once."""

import itertools
import time

import pytest

from autolora_meta.errors import InputError
from autolora_meta.foundation.plain import refuse_odd
from autolora_meta.foundation.yaml_text import yaml_content, yaml_of

_NAMES = "abcdefghi"


def bomb(first: str, level: str) -> str:
    """Nine levels, each of which repeats the one above it ten times."""
    lines = [f"a: &a {first}"]
    lines += [
        f"{name}: &{name} {level.format(', '.join([f'*{above}'] * 10))}"
        for above, name in itertools.pairwise(_NAMES)
    ]
    return "\n".join(lines)


ODD = {
    "deep flow": "a: " + "[" * 10_000 + "]" * 10_000,
    "deep mappings": "a: " + "{a: " * 10_000 + "}" * 10_000,
    "deep block": "\n".join(" " * i + "a:" for i in range(1000)),
    "deep sequences": "- " * 10_000,
    "many aliases": bomb("[x]", "[{}]"),
    "many merges": bomb("{x: 1}", "{{<<: [{}]}}"),
    "inside itself": "search: &a {inner: *a}",
    "list inside itself": "a: &a [*a]",
    "huge": "name: " + "x" * 2_000_000,
    "digits": "seed: " + "9" * 5000,
    "hexadecimal digits": "seed: 0x" + "f" * 5000,
    "no digits": "seed: 0x_",
    "int": "seed: !!int x",
    "empty int": "seed: !!int ",
    "float": "seed: !!float x",
    "bool": "seed: !!bool x",
    "timestamp": "seed: !!timestamp x",
    "binary": "seed: !!binary eA==",
    "set": "seed: !!set {a, b}",
    "key": "? [a]\n: 1",
    "no text": 'name: "\\ud800"',
}


@pytest.mark.parametrize("case", ODD)
def test_odd_yaml_is_refused_at_once(case: str) -> None:
    start = time.process_time()
    with pytest.raises(InputError) as refused:
        refuse_odd(yaml_content(ODD[case], "mine.yaml"), "mine.yaml")
    assert len(str(refused.value)) < 500
    assert time.process_time() - start < 5


def test_anchors_merges_and_dates_are_read() -> None:
    text = "a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]\nname: 2024-01-01"
    found = yaml_content(text, "mine.yaml")
    assert found["b"] == {"x": 1, "y": 2} and found["c"] == [{"x": 1}, {"x": 1}]
    assert found["name"] == "2024-01-01"
    refuse_odd(found, "mine.yaml")


def test_what_is_written_is_read_as_it_was() -> None:
    for text in (
        "a\x85b",
        "\u2028",
        "\u2029\n",
        "1e3",
        "2024-01-01",
        "yes",
        "",
        " x",
        "\ufeff",
        "\t",
    ):
        assert yaml_content(yaml_of({text: [text]}), "mine.yaml") == {text: [text]}
