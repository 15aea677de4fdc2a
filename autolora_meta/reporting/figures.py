"""Figures: every figure of a run, a search or a study, from what stands in its folder."""

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from autolora_meta.errors import InputError
from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.reporting import plots
from autolora_meta.reporting.cost_points import cost_points
from autolora_meta.reporting.draw import over_time
from autolora_meta.reporting.how_much import choices, figure_names
from autolora_meta.reporting.ranked import ranks_by_value, ranks_of_study, read_ranked
from autolora_meta.reporting.style import save_all
from autolora_meta.studies.answers import answers
from autolora_meta.studies.contrasts import Contrast
from autolora_meta.studies.headroom import measured
from autolora_meta.studies.ledger import STUDY
from autolora_meta.studies.questions import EVERY, Question
from autolora_meta.studies.table import StudyTable

_HEATMAPS = 16  # in one figure, at most


def draw_search(result: SearchResult, folder: Path) -> None:
    """Draw the figures of one search: ranks, now and over time, gates over time, losses."""
    steps = [0] + [row["step"] for row in result.rows if "outer_step" in row]
    _save(plots.rank_heatmap(result), folder, "ranks")
    _save(plots.gates_over_time(steps, result.trajectory, result.components.names), folder, "gates")
    _save(plots.losses(result.rows), folder, "losses")
    if (importance := result.importance_trajectory) is not None:
        every = [0, *[row["step"] for row in result.rows]]
        figure = plots.importance_over_time(every, importance, result.components.names)
        _save(figure, folder, "importance")
    _save(over_time(result), folder, "ranks-over-time")


def draw_all(folder: Path) -> None:
    """Draw every figure of a run, a search or a study into its folder.

    Raises:
        InputError: it is the folder of none.
    """
    studied = (folder / STUDY).is_file()
    if studied:
        _clear(folder)
    if (folder / "search").is_dir():
        draw_search(SearchResult.load(folder), folder)
    elif not studied:
        read_ranked(folder)  # refuses what holds no ranks
        raise InputError(
            f"{folder} is no run with figures of its own; say where the figures go with --output"
        )
    if studied:
        _draw_study(StudyTable.load(folder), folder)


class Asked(NamedTuple):
    """The figure of a question, in one metric."""

    name: str
    question: Question
    contrasts: list[Contrast]


def asked(table: StudyTable) -> list[Asked]:
    """Return the figures of the questions that compare several values."""
    found = []
    for number, (one, all_of) in enumerate(zip(table.asked, answers(table), strict=True), start=1):
        if one.values is not None and len(one.values) == 1:
            continue
        for metric in dict.fromkeys(contrast.metric for contrast in all_of):
            mine = [contrast for contrast in all_of if contrast.metric == metric]
            several = f"-{metric}" if one.metric == EVERY else ""
            found.append(Asked(f"contrast-{number}-{one.key}{several}", one, mine))
    return found


def _draw_study(table: StudyTable, folder: Path) -> None:
    for name, one, contrasts in asked(table):
        if one.over:
            _save(plots.paired_differences(contrasts), folder, name)
        else:
            about = one.key, one.baseline, contrasts[0].metric
            _save(plots.study(table, *about, contrasts=contrasts), folder, name)
    if (found := measured(table, folder)) is not None:
        _save(plots.headroom_strip(found), folder, "headroom")
    ranks = ranks_of_study(folder)
    if ranks is not None and len(ranks.searches) > 1:
        _save(plots.rank_spread(ranks.searches), folder, "ranks-spread")
        _save(plots.rank_stability(ranks.searches), folder, "ranks-stability")
    first = next(iter(table.asked), None)
    groups = ranks_by_value(table, folder, first.key)[1] if first else {}
    if 1 < len(groups) <= _HEATMAPS:
        with suppress(InputError):  # ranks of several models do not stand side by side
            _save(plots.mean_ranks(groups), folder, "ranks-mean")
    told = choices(folder)
    for (_, choice), name in zip(told, figure_names(told), strict=True):
        _save(plots.loss_against_parameters(choice), folder, name)
    points, metric = cost_points(table), metric_called(table.metrics[0])
    words: dict[str, Any] = {"label": metric.label, "better": metric.better}
    _save(plots.metric_against_cost(points, **words), folder, "cost")
    sizes = [point.parameters for point in points]
    if max(sizes) > 1.05 * min(sizes):  # several budgets
        _save(plots.metric_against_parameters(points, **words), folder, "parameters")


def _clear(folder: Path) -> None:
    """Remove the figures of what the folder held before."""
    kinds = "contrast-*", "ranks-*", "cost", "parameters", "headroom", "budget", "budget-*"
    for kind in kinds:
        for old in (folder / "figures").glob(f"{kind}.*"):
            old.unlink(missing_ok=True)  # another process may draw them, too


def _save(figure: Figure, folder: Path, name: str) -> None:
    place = folder / "figures"
    place.mkdir(exist_ok=True)
    save_all(figure, place, name)
