"""Overlays: how one is laid over another."""

from collections.abc import Mapping
from typing import Any

from autolora_meta.config.overlay import merged
from autolora_meta.foundation.options import Options


def test_a_section_of_any_options_says_what_an_overlay_drops() -> None:
    class Shape(Options):
        kind: str = "square"
        side: int = 1

        @classmethod
        def kept_under(cls, below: Any, above: Mapping[str, Any]) -> dict[str, Any]:
            return {} if "kind" in above else super().kept_under(below, above)

    class Drawing(Options):
        name: str = ""
        shape: Shape | None = None

    first = {"name": "a", "shape": {"kind": "square", "side": 3}}
    changed = merged(Drawing, [first, "shape.side=4", "name=b"])
    assert changed == {"name": "b", "shape": {"kind": "square", "side": 4}}
    assert merged(Drawing, [first, "shape.kind=circle"]) == {
        "name": "a",
        "shape": {"kind": "circle"},
    }
    assert first["shape"] == {"kind": "square", "side": 3}
