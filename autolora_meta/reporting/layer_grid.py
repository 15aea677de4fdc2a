"""The layers of a model as a grid: blocks downwards, kinds of module across."""

from collections.abc import Sequence
from dataclasses import dataclass

from autolora_meta.ranks.place import Place


@dataclass(frozen=True)
class LayerGrid:
    """Where each layer stands.

    Args:
        rows: labels of the rows, blocks by number, in the order of the model.
        columns: labels of the columns, kinds of module, shortened as far as they stay distinct.
        cells: (row, column) of each layer. (L,)
        blocks: number of the block of each layer, None for a layer outside any block. (L,)
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[int, int], ...]
    blocks: tuple[int | None, ...]


def layer_grid(names: Sequence[str]) -> LayerGrid:
    """Sort full module names into a grid.

    By `Place`: "encoder.layer.3.attention.query" stands in row 3, column "attention.query". A layer
    outside any block has a row of its own, such as "pooler".

    >>> names = ["enc.layer.0.att.q", "enc.layer.0.out", "enc.layer.1.att.q", "pooler.dense"]
    >>> grid = layer_grid(names)
    >>> grid.rows, grid.columns
    (('0', '1', 'pooler'), ('q', 'out', 'dense'))
    >>> grid.cells
    ((0, 0), (0, 1), (1, 0), (2, 2))
    """
    places = [Place.of(name) for name in names]
    rows = list(dict.fromkeys((place.stack, place.block) for place in places))
    columns = list(dict.fromkeys(place.kind for place in places))
    short = _shortest_suffixes(list(dict.fromkeys(stack for stack, _ in rows)))
    one_stack = len({stack for stack, number in rows if number is not None}) == 1
    labels = [
        short[stack] if number is None else str(number) if one_stack else f"{short[stack]} {number}"
        for stack, number in rows
    ]
    kinds = _shortest_suffixes(columns)
    return LayerGrid(
        rows=tuple(labels),
        columns=tuple(kinds[kind] for kind in columns),
        cells=tuple((rows.index((p.stack, p.block)), columns.index(p.kind)) for p in places),
        blocks=tuple(place.block for place in places),
    )


def _shortest_suffixes(names: Sequence[str]) -> dict[str, str]:
    """Each dotted name, cut to its shortest end that no other of them ends with."""
    short = {}
    for name in names:
        parts = name.split(".")
        ends = [".".join(parts[-i:]) for i in range(1, len(parts) + 1)]
        others = [f".{other}" for other in names if other != name]
        short[name] = next((e for e in ends if not any(o.endswith(f".{e}") for o in others)), name)
    return short
