"""Figures: what stands in them, where they are drawn, and what is refused."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from autolora_meta.errors import InputError
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting import plots
from autolora_meta.reporting.grid import layer_grid
from autolora_meta.reporting.measured import measured
from autolora_meta.reporting.style import save
from tests.reporting.pages import study_table

KINDS = ("attention.self.query", "attention.output.dense", "output.dense")
NAMES = (*(f"bert.encoder.layer.{i}.{t}" for i in range(2) for t in KINDS), "bert.pooler.dense")
PATTERN = RankPattern(NAMES, (0, 1, 2, 3, 4, 1, 2), (10,) * 7, k=4, scale=2.0)
LOSSES = [{"step": i, "inner_loss": 1 / (i + 1), "outer_loss": None} for i in range(5)]
GATES = torch.ones(3, 7, 4)
POINTS = [
    plots.Measured("learned", 200, 1000, (0.6, 0.7, 0.8)),
    plots.Measured("learned", 200, 2000, (0.7, 0.8, 0.9)),
    plots.Measured("uniform", 70, 1000, (0.5, 0.6, 0.7)),
    plots.Measured("grid", 900, 1010, (0.1, 0.2)),
]


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


def test_gates_have_a_panel_for_each_kind_and_a_line_for_each_component() -> None:
    figure = plots.gates_over_time([0, 1, 2], GATES, NAMES)
    panels = {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}
    assert list(panels) == ["query", "attention.output.dense", "output.dense", "pooler.dense"]
    lines = {title: len(ax.lines) - 1 for title, ax in panels.items()}  # one is the mean
    assert lines == {
        "query": 8,
        "attention.output.dense": 8,
        "output.dense": 8,
        "pooler.dense": 4,
    }


def test_importance_is_drawn_as_shares_of_all_layers() -> None:
    history = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 1.0]])
    figure = plots.importance_over_time([0, 5], history, ("h.0.q", "h.1.q", "h.0.v"))
    q, v = (ax for ax in figure.axes if ax.get_title(loc="left"))
    drawn = [np.asarray(line.get_ydata(), dtype=float) for ax in (q, v) for line in ax.lines]
    shares = [values[1] for values in drawn if len(values) == 2 and np.isnan(values[0])]
    assert shares == [0.25, 0.5, 0.25]
    with pytest.raises(InputError, match=r"given \(2, 3\) for 2 steps and 1 layers"):
        plots.importance_over_time([0, 5], history, ("h.0.q",))


def test_losses_are_drawn_where_they_were_recorded() -> None:
    figure = plots.losses(LOSSES)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["inner (training rows)"]
    raw = figure.axes[0].lines[0].get_ydata()
    assert np.allclose(np.asarray(raw, dtype=float), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])


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


@pytest.mark.parametrize(
    ("better", "same", "front"),
    [("higher", 0.0, [1, 0, 3]), ("lower", 0.0, [1]), (None, 0.0, []), ("higher", 0.02, [1, 3])],
)
def test_the_pareto_front_is_what_nothing_beats(
    better: Literal["higher", "lower"] | None, same: float, front: list[int]
) -> None:
    xs, ys = [100, 50, 300, 101], [0.6, 0.5, 0.7, 0.8]
    assert plots.pareto_front(xs, ys, better, same) == front


def test_points_of_a_trade_off_are_means_with_the_front_ringed() -> None:
    figure = plots.metric_against_cost(POINTS, label="accuracy")
    (ax,) = figure.axes
    lines = {str(line.get_label()): line for line in ax.lines}
    assert np.allclose(lines["learned"].get_ydata(), [0.7, 0.8])  # type: ignore[arg-type]
    assert np.allclose(lines["Pareto front"].get_ydata(), [0.6, 0.8])  # type: ignore[arg-type]
    assert [str(lines[p.series].get_marker()) for p in POINTS[1:]] == ["o", "s", "^"]
    assert len(ax.collections) == 3  # no interval of two replicates
    figure.draw_without_rendering()
    box, window = ax.get_window_extent(), [c.get_window_extent() for c in ax.collections]
    assert all(box.y0 <= part.y0 and part.y1 <= box.y1 for part in window)


def test_series_at_one_place_stand_side_by_side() -> None:
    (ax,) = plots.metric_against_parameters(POINTS[::2]).axes
    first, second = (np.asarray(line.get_xdata())[0] for line in ax.lines[:2])
    assert first < second and second - first < 0.1 * 1000


def test_a_series_that_stands_alone_stays_where_it_is() -> None:
    costs = {"darts": 320, "first_order": 280, "one_step": 400, "unrolled": 402, "cg": 900}
    given = [plots.Measured(name, cost, 1000, (0.5, 0.6, 0.7)) for name, cost in costs.items()]
    (ax,) = plots.metric_against_cost(given).axes
    shown = {str(line.get_label()): np.asarray(line.get_xdata())[0] for line in ax.lines}
    assert [shown[name] for name in ("darts", "first_order", "cg")] == [320, 280, 900]
    assert shown["one_step"] < 400 < 402 < shown["unrolled"] < 420


def test_points_of_a_study_join_its_budgets() -> None:
    points = measured(study_table())
    assert len(points) == 8 and len({point.series for point in points}) == 4
    assert points[0].series == "cola, learned" and points[0].parameters == 1000
    assert points[0].cost == 221.5 and len(points[-1].values) == 3  # one seed has failed


def test_a_study_puts_the_baseline_first_and_marks_what_holds() -> None:
    left, right = plots.study(study_table(), "arm", "uniform").axes
    labels = [label.get_text().replace("\n", " ") for label in left.get_yticklabels()]
    assert labels[:2] == ["cola, uniform:1, uniform", "cola, uniform:1, learned"]
    assert [t.get_text() for t in right.texts] == [" baseline"] * 4
    means = [line for line in right.lines if line.get_marker() == "o"]
    assert len(means) == 4 and all(m.get_markerfacecolor() != "white" for m in means)
    few = plots.study(study_table(seeds=2)).axes[1]
    assert all(m.get_markerfacecolor() == "white" for m in few.lines if m.get_marker() == "o")


def test_contrasts_are_labelled_by_what_tells_them_apart() -> None:
    found = study_table().compare("arm", baseline="uniform", over=["data.source"])
    (ax,) = plots.paired_differences(found).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        "uniform:1, learned",
        "uniform:2, learned",
    ]


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


@pytest.mark.parametrize(
    "kind",
    [
        *("heatmap", "heatmaps", "means", "gates", "losses", "spread", "stability"),
        *("over time", "importance", "cost", "parameters", "study", "differences"),
    ],
)
def test_figures_are_drawn_into_given_axes(kind: str) -> None:
    figure = Figure(layout="constrained")
    ax, other = figure.subplots(1, 2)
    drawn = {
        "heatmap": lambda: plots.rank_heatmap(PATTERN, ax),
        "gates": lambda: plots.gates_over_time([0, 1, 2], GATES, NAMES, ax),
        "losses": lambda: plots.losses(LOSSES, ax),
        "heatmaps": lambda: plots.rank_heatmaps({"a": PATTERN, "b": PATTERN}, ax),
        "means": lambda: plots.mean_ranks({"a": [PATTERN], "b": [PATTERN] * 2}, ax),
        "spread": lambda: plots.rank_spread([PATTERN] * 3, ax),
        "stability": lambda: plots.rank_stability([PATTERN] * 3, ax),
        "over time": lambda: plots.ranks_over_time([0], [PATTERN.ranks], NAMES, [0], ax),
        "importance": lambda: plots.importance_over_time([0, 1, 2], GATES[..., 0], NAMES, ax),
        "cost": lambda: plots.metric_against_cost(POINTS, ax),
        "parameters": lambda: plots.metric_against_parameters(POINTS, ax),
        "study": lambda: plots.study(study_table(), ax=ax),
        "differences": lambda: plots.paired_differences(
            study_table().compare("arm", baseline="uniform"), ax
        ),
    }[kind]()
    assert drawn is figure
    assert not other.has_data()
    figure.draw_without_rendering()


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(InputError, match="no layers"):
        plots.rank_heatmap(RankPattern((), (), (), k=4, scale=1.0))
    with pytest.raises(InputError, match="no layers"):
        plots.rank_spread([])
    with pytest.raises(InputError, match="no rank patterns"):
        plots.mean_ranks({"a": [PATTERN], "b": []})
    with pytest.raises(InputError, match="no rank patterns with layers"):
        plots.mean_ranks({"a": [PATTERN, RankPattern((), (), (), k=4, scale=1.0)]})
    with pytest.raises(InputError, match="at least one of each"):
        plots.gates_over_time([], torch.ones(0, 7, 4), NAMES)
    with pytest.raises(InputError, match="for 2 steps and 7 layers"):
        plots.gates_over_time([0, 1], GATES, NAMES)
    with pytest.raises(InputError, match="none of the 0 records"):
        plots.losses([])
    with pytest.raises(InputError, match="unknown metric 'f1'"):
        plots.study(study_table(), metric="f1")
    with pytest.raises(InputError, match="at least one value each"):
        plots.metric_against_cost([])
    with pytest.raises(InputError, match="given 0 contrasts"):
        plots.paired_differences([])
    with pytest.raises(InputError, match="several panels"):
        plots.study(study_table(), ax=Figure().add_axes((0, 0, 1, 1)))


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@pytest.mark.parametrize("kind", ["heatmap", "study"])
def test_equal_figures_are_equal_bytes(kind: str, suffix: str, tmp_path: Path) -> None:
    def drawn() -> Figure:
        if kind == "heatmap":
            return plots.rank_heatmap(PATTERN)
        return plots.study(study_table())

    files = [tmp_path / f"{name}.{suffix}" for name in ("one", "two")]
    for file in files:
        save(drawn(), file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_figures_are_saved_at_the_resolution_of_the_style(tmp_path: Path) -> None:
    figure = plots.losses(LOSSES)
    save(figure, tmp_path / "losses.png")
    width, height = (200 * inches for inches in figure.get_size_inches())
    assert imread(tmp_path / "losses.png").shape[:2] == (int(height), int(width))
