"""Figures of ranks from paths on disk, as files."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from autolora_meta.errors import InputError, unknown
from autolora_meta.foundation.places import unused
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.reporting import plots
from autolora_meta.reporting.ranked import Ranked, labels, read_ranked
from autolora_meta.reporting.style import known_format, save, save_all


def _ranks(given: Sequence[Ranked]) -> Figure:
    if len(given) == 1:
        return plots.rank_heatmap(given[0].pattern)
    return plots.rank_heatmaps(dict(zip(labels(given), (r.pattern for r in given), strict=True)))


def _spread(given: Sequence[Ranked]) -> Figure:
    return plots.rank_spread([pattern for ranked in given for pattern in ranked.searches])


def _mean(given: Sequence[Ranked]) -> Figure:
    groups = zip(labels(given), (ranked.searches for ranked in given), strict=True)
    return plots.mean_ranks(dict(groups))


def _stability(given: Sequence[Ranked]) -> Figure:
    return plots.rank_stability([pattern for ranked in given for pattern in ranked.searches])


def _over_time(given: Sequence[Ranked]) -> Figure:
    if len(given) > 1 or given[0].result is None:
        raise InputError(
            "ranks over time are those of one search; give the folder of one run or search"
        )
    return over_time(given[0].result)


def over_time(result: SearchResult) -> Figure:
    """The allocation during a search, and how many ranks moved."""
    steps, moved = ([0, *[row[key] for row in result.rows]] for key in ("step", "ranks_moved"))
    names = result.components.names
    return plots.ranks_over_time(steps, result.ranks_trajectory, names, moved)


FIGURES: dict[str, Callable[[Sequence[Ranked]], Figure]] = {
    "ranks": _ranks,
    "spread": _spread,
    "mean": _mean,
    "stability": _stability,
    "over-time": _over_time,
}


def draw_ranks(paths: Sequence[Path], output: Path, figure: str | None = None) -> list[Path]:
    """Draw the ranks that `paths` hold, one figure into a file or all into a folder.

    Args:
        paths: folders of runs, searches or PEFT adapters, or rank patterns; of one model.
        output: not there yet: a file whose ending tells the format, or a folder for every figure
            that the paths allow, in every format.
        figure: a name from `FIGURES`; by default the heatmap of one path's ranks, and the spread of
            several; every one for a folder.

    Returns:
        The files written.

    Raises:
        InputError: a path holds no ranks, they are of different models, the figure needs more, or
            `output` exists.
    """
    unused(output)
    if output.suffix:  # a name without an ending is that of a folder
        known_format(output)
    if figure is not None and figure not in FIGURES:
        raise InputError(unknown("figure", figure, FIGURES))
    given = [read_ranked(path) for path in paths]
    if output.suffix:
        drawn = FIGURES[figure or _first(given)](given)
        output.parent.mkdir(parents=True, exist_ok=True)
        save(drawn, output)
        return [output]
    figures = {name: FIGURES[name](given) for name in ([figure] if figure else _allowed(given))}
    output.mkdir(parents=True, exist_ok=True)
    return [file for name, drawn in figures.items() for file in save_all(drawn, output, name)]


def _several(given: Sequence[Ranked]) -> bool:
    return sum(len(ranked.searches) for ranked in given) > 1


def _first(given: Sequence[Ranked]) -> str:
    return "spread" if _several(given) else "ranks"


def _allowed(given: Sequence[Ranked]) -> list[str]:
    """The figures that say something of these paths."""
    names = ["ranks"]
    if _several(given):
        names += ["spread", "stability"]
    if len(given) == 1 and given[0].result:
        names.append("over-time")
    return names
