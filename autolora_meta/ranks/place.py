"""Place: the position of a layer in its model, read from its name."""

import re
from dataclasses import dataclass

_BLOCK = re.compile(r"^(?:(?P<stack>.*?)\.)?(?P<number>\d+)(?:\.(?P<kind>.*))?$")


@dataclass(frozen=True)
class Place:
    """The position of a layer.

    Args:
        stack: what holds the blocks ("encoder.layer"); for a layer outside any block, its parent.
        block: number of the block; None outside any.
        kind: kind of module, the same in every block ("attention.query").
    """

    stack: str
    block: int | None
    kind: str

    @classmethod
    def of(cls, name: str) -> "Place":
        """Read a full module name; the first number in it is the block.

        >>> Place.of("encoder.layer.3.attention.query")
        Place(stack='encoder.layer', block=3, kind='attention.query')
        >>> Place.of("pooler.dense")
        Place(stack='pooler', block=None, kind='dense')
        """
        found = _BLOCK.match(name)
        if found:
            return cls(found["stack"] or "", int(found["number"]), found["kind"] or "layer")
        parent, _, leaf = name.rpartition(".")
        return cls(parent or leaf, None, leaf)


def alike(name: str) -> str:
    """Return the name without its numbers, the same for all blocks and all experts of a mixture.

    >>> alike("layers.3.experts.12.up"), alike("block.0.experts.expert_7.wi")
    ('layers.*.experts.*.up', 'block.*.experts.expert_*.wi')
    """
    return re.sub(r"\d+", "*", name)
