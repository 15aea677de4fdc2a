"""YAML of plain values: each key once, nothing that grows when it is read, all as written."""

from io import StringIO
from typing import Any

import yaml

from autolora_meta.errors import InputError
from autolora_meta.foundation.plain import DEEPEST, LARGEST

_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")


class _Loader(yaml.SafeLoader):
    """A SafeLoader of what JSON holds, too: a date is a text, and a set is refused.

    It refuses repeated keys, of which YAML keeps the last in silence, and what is nested deep.
    """

    depth = 0
    yaml_constructors = {  # noqa: RUF012
        kind: build
        for kind, build in yaml.SafeLoader.yaml_constructors.items()
        if kind is None or kind.rpartition(":")[2] in _PLAIN
    }
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, form) for tag, form in forms if not tag.endswith(":timestamp")]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=f"nested too deep, in more than {DEEPEST} levels",
                problem_mark=self.peek_event().start_mark,
            )
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        # What the constructors of numbers stumble over: !!int x, 0x_, 5,000 digits.
        except (ValueError, LookupError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            raise yaml.MarkedYAMLError(
                problem=f"no {kind}: {str(node.value)[:40]!r}", problem_mark=node.start_mark
            ) from None

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen, repeated = set[str](), set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                (repeated if key.value in seen else seen).add(key.value)
        if repeated:
            raise yaml.MarkedYAMLError(
                problem=f"{', '.join(sorted(repeated))} stands twice", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: Any) -> None:
        super().flatten_mapping(node)  # merges; each level of aliases may multiply the keys
        if len(node.value) > LARGEST:
            raise yaml.MarkedYAMLError(
                problem="a mapping grows beyond measure by what is merged into it",
                problem_mark=node.start_mark,
            )


class _Dumper(yaml.SafeDumper):
    """A SafeDumper of texts that read back as they were: rare ends of lines are escaped."""


def _written(dumper: _Dumper, text: str) -> Any:
    style = '"' if _ENDS & {*text} else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_ENDS = {"\x85", "\u2028", "\u2029"}
_Dumper.add_representer(str, _written)


def yaml_of(value: Any) -> str:
    """Return YAML that `yaml_content` reads as `value`, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def yaml_content(text: str, place: str) -> Any:
    """Return what `text` holds: what JSON can hold, too; a date stays a text.

    Values that `*names` repeat are one object: `plain.refuse_odd` finds what they grow to.

    Args:
        text: YAML.
        place: where it is from, for the message.

    Raises:
        InputError: it is not valid YAML, repeats a key, or is too deep or too long.
    """
    if len(text) > LARGEST:
        raise InputError(f"{place} holds {len(text):,} characters; at most {LARGEST:,} are read")
    try:
        stream = StringIO(text)
        stream.name = place  # messages then name it
        return yaml.load(stream, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise InputError(f"{place} is not valid YAML: {error}") from None
