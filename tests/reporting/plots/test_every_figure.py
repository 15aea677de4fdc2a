"""What holds of every figure: where it is drawn, what is refused, equal bytes."""

from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from autolora_meta.errors import InputError
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting import plots
from autolora_meta.reporting.style import save
from tests.reporting.pages import study_table
from tests.reporting.plots.drawn import GATES, LOSSES, NAMES, PATTERN, POINTS


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
