"""Layers of a model as a grid."""

import pytest

from autolora_meta.reporting.layer_grid import layer_grid
from tests.reporting.plots.drawn import NAMES


def test_the_grid_is_blocks_by_kinds_with_a_row_for_what_has_no_block() -> None:
    grid = layer_grid(NAMES)
    assert grid.rows == ("0", "1", "pooler")
    assert grid.columns == ("query", "attention.output.dense", "output.dense", "dense")
    assert grid.blocks == (0, 0, 0, 1, 1, 1, None)
    assert len(set(grid.cells)) == len(NAMES)


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["encoder.block.0.q", "decoder.block.0.q"], ("encoder.block 0", "decoder.block 0")),
        (["layer1.0.conv", "layer2.0.conv"], ("layer1 0", "layer2 0")),
        (["0", "1"], ("0", "1")),
        (["head"], ("head",)),
        (["h.1.experts.0.w", "h.1.experts.1.w"], ("1",)),
    ],
)
def test_layers_never_share_a_cell(names: list[str], rows: tuple[str, ...]) -> None:
    grid = layer_grid(names)
    assert grid.rows == rows
    assert len(set(grid.cells)) == len(names)
