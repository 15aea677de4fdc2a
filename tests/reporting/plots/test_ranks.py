"""Figures of ranks: heatmaps, their means, spread, agreement and course."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from autolora_meta.errors import InputError
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting import plots
from autolora_meta.reporting.layer_grid import layer_grid
from tests.reporting.plots.drawn import NAMES, PATTERN


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_cells_of_the_heatmap_hold_the_ranks() -> None:
    figure = plots.rank_heatmap(PATTERN)
    places = {
        (round(text.get_position()[1]), round(text.get_position()[0])): text.get_text()
        for text in figure.axes[0].texts
    }
    cells = layer_grid(NAMES).cells
    assert places == {cell: str(r) for cell, r in zip(cells, PATTERN.ranks, strict=True)}


def test_the_heatmap_takes_a_result_that_holds_ranks() -> None:
    figure = plots.rank_heatmap(SimpleNamespace(ranks=PATTERN))  # type: ignore[arg-type]
    assert sorted(_texts(figure)) == sorted(map(str, PATTERN.ranks))


def _seeds(count: int, agree: bool = True) -> list[RankPattern]:
    """Patterns of blocks whose rank rises with depth, the same in each search, or shuffled."""
    names = [f"h.{i}.{kind}" for i in range(6) for kind in ("attn.c_attn", "mlp.c_fc")]
    draw = np.random.default_rng(0)
    ranks = np.repeat(np.arange(6), 2)
    each = [ranks if agree else draw.permutation(ranks) for _ in range(count)]
    return [RankPattern(tuple(names), tuple(map(int, r)), (8,) * 12, 6, 1.0) for r in each]


def test_heatmaps_side_by_side_share_layers_and_colours() -> None:
    narrow = RankPattern(NAMES[:2], (8, 3), (10, 10), k=8, scale=1.0)
    figure = plots.rank_heatmaps({"ours": PATTERN, "theirs": narrow})
    ours, theirs, _ = figure.axes
    assert [len(ax.texts) for ax in (ours, theirs)] == [7, 7]
    assert sorted(text.get_text() for text in theirs.texts) == ["0"] * 5 + ["3", "8"]
    assert ours.images[0].get_clim() == theirs.images[0].get_clim()
    assert theirs.get_title(loc="left").splitlines() == ["theirs", "total rank 11, 110 parameters"]


def test_ranks_of_different_models_are_not_drawn_together() -> None:
    other = RankPattern(("h.0.attn.c_attn",), (2,), (10,), k=4, scale=2.0)
    wider = RankPattern(NAMES[:1], (2,), (99,), k=4, scale=2.0)
    with pytest.raises(InputError, match=r"one has no layer 'h\.0\.attn\.c_attn'"):
        plots.rank_heatmaps({"a": PATTERN, "b": other})
    with pytest.raises(InputError, match="costs 99 parameters in one and 10 in the other"):
        plots.rank_spread([PATTERN, wider])


def test_dots_of_the_spread_are_the_ranks_and_bars_their_mean() -> None:
    first, second = PATTERN, PATTERN.with_ranks((0, 1, 4, 3, 2, 1, 2))
    figure = plots.rank_spread([first, second, second])
    panels = {ax.get_title(loc="left"): ax for ax in figure.axes}
    assert list(panels) == ["query", "attention.output.dense", "output.dense", "pooler.dense"]
    dots, bars = panels["output.dense"].collections
    sizes = dict(zip(map(tuple, dots.get_offsets().tolist()), dots.get_sizes(), strict=True))  # type: ignore[union-attr]
    assert set(sizes) == {(0, 2), (0, 4), (1, 1)}
    assert sizes[0, 4] == pytest.approx(2 * sizes[0, 2])
    means = [path.vertices[0, 1] for path in bars.get_paths()]  # type: ignore[index]
    assert means == pytest.approx([10 / 3, 1])
    (line,) = panels["output.dense"].lines
    equal = np.mean([p.parameters for p in (first, second, second)]) / (7 * 10)
    assert line.get_ydata()[0] == pytest.approx(equal)  # type: ignore[index]


def test_cells_of_mean_ranks_are_the_means_of_each_group() -> None:
    other = PATTERN.with_ranks((0, 1, 4, 3, 2, 1, 2))
    figure = plots.mean_ranks({"a": [PATTERN, other, other], "b": [other]})
    a, b = (ax for ax in figure.axes if ax.get_title(loc="left")[:1] in ("a", "b"))
    means = [(x + 2 * y) / 3 for x, y in zip(PATTERN.ranks, other.ranks, strict=True)]
    said = [float(text.get_text()) for text in a.texts]
    assert said == pytest.approx(means, abs=0.05)
    assert sorted(float(text.get_text()) for text in b.texts) == sorted(other.ranks)
    assert a.get_title(loc="left").splitlines()[1].startswith("3 patterns, ")
    assert a.images[0].norm is not None and a.images[0].get_clim() == b.images[0].get_clim()


def test_stability_shows_mean_deviation_and_kendall_s_w() -> None:
    figure = plots.rank_stability(_seeds(3))
    left, right = figure.axes[:2]
    assert {t.get_text() for t in left.texts} == {f"{i:.1f}" for i in range(6)}
    assert [t.get_text() for t in right.texts] == ["0.0"] * 12 + ["W 1.00"] * 2
    assert "Kendall's W 1.00, p 0.0001" in right.get_title(loc="left")
    mixed = plots.rank_stability(_seeds(3, agree=False)).axes[1]
    assert "Kendall's W" in mixed.get_title(loc="left")
    assert all(float(t.get_text()[2:]) < 0.9 for t in mixed.texts if t.get_text()[0] == "W")
    two = plots.rank_stability(_seeds(2)).axes[1]
    assert not any("W" in t.get_text() for t in two.texts) and "W" not in two.get_title(loc="left")
    with pytest.raises(InputError, match="at least two searches, each with layers; given 1"):
        plots.rank_stability(_seeds(1))


def test_ranks_over_time_are_sorted_by_kind_with_what_moved_above() -> None:
    names = ("layer.0.q", "layer.0.v", "layer.1.q", "layer.1.v")
    history = torch.tensor([[1, 1, 1, 1], [2, 1, 0, 1], [2, 0, 0, 2]])
    figure = plots.ranks_over_time([0, 30, 31], history, names, moved=[0, 1, 1])
    above, table, _ = figure.axes
    assert above.lines[0].get_ydata().tolist() == [0, 1, 1]  # type: ignore[union-attr]
    mesh = table.collections[0].get_array()
    assert mesh is not None and mesh.tolist() == [[1, 2, 2], [1, 0, 0], [1, 1, 0], [1, 1, 2]]
    assert [t.get_text() for t in table.get_yticklabels()] == ["q", "v"]
    with pytest.raises(InputError, match=r"given \(3, 4\) for 2 steps and 4 layers"):
        plots.ranks_over_time([0, 1], history, names)
    with pytest.raises(InputError, match="2 records of moved ranks are given for 3 steps"):
        plots.ranks_over_time([0, 1, 2], history, names, moved=[0, 1])


@pytest.mark.parametrize("blocks", [12, 36, 126])
def test_labels_of_many_blocks_do_not_touch(blocks: int) -> None:
    names = [f"model.layers.{i}.mlp.up_proj" for i in range(blocks)]
    pattern = RankPattern(tuple(names), (2,) * blocks, (8,) * blocks, 4, 1.0)
    figure = plots.rank_heatmap(pattern)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    boxes.sort(key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 for low, high in pairwise(boxes))
    assert figure.axes[0].get_yticklabels()[0].get_text() == "0"
