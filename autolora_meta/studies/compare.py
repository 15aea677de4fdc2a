"""Compare: the learned ranks beside their controls, at one budget, paired over replicates."""

import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from autolora_meta.allocators.replicate import allocator
from autolora_meta.bilevel.options import Selection
from autolora_meta.bilevel.watch import STOPPED_EARLY
from autolora_meta.config.run import CompareOptions, RunConfig
from autolora_meta.finetuning.tasks.blind import blind_arms
from autolora_meta.foundation.cost import Cost, plain_steps
from autolora_meta.foundation.places import writable
from autolora_meta.foundation.progress import Progress, Silent
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.statistics.paired import paired_difference
from autolora_meta.statistics.stability import stability
from autolora_meta.studies.comparison import Comparison, written
from autolora_meta.studies.jobs import Keep, Outcome, run_all
from autolora_meta.studies.main_guard import refuse_unguarded


def compare(
    config: RunConfig,
    *,
    folder: str | Path | None = None,
    progress: Progress | None = None,
    observe: Callable[[Outcome], None] = lambda outcome: None,
    keep: Keep | None = None,
) -> Comparison:
    """Run every arm in every replicate and hold them against the baseline.

    Worker processes import the main module again: call this below `if __name__ == "__main__":`.

    Args:
        config: the run; `compare` names arms and replicates.
        folder: where each replicate leaves its search, ranks and metrics; None leaves nothing.
        progress: told about every step of every job.
        observe: told each job's outcome as it ends.
        keep: called with the retrained model of `learned` in the first replicate; must pickle.

    Raises:
        InputError: an arm is unknown, or the configuration cannot work on this model and data.
    """
    refuse_unguarded()
    if folder is not None:
        writable(Path(folder, "0"), "folder")
    seeds = [config.seed + r for r in range(config.compare.replicates)]
    config.compare.contrast()  # unknown names are refused before anything runs
    for arm in config.compare.arms:
        allocator(arm)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(folder) if folder is not None else Path(temporary)
        contents: dict[tuple[str, int], Mapping[str, Any]] = {}
        chosen = None if keep is None else (("retrain", seeds[0], "learned"), keep)
        for outcome in run_all(config, seeds, place, progress=progress or Silent(), keep=chosen):
            observe(outcome)
            if outcome.job[0] == "retrain":
                contents[outcome.job[2], outcome.job[1]] = outcome.content
        searches = {
            selection: [SearchResult.load(place / str(seed) / selection) for seed in seeds]
            for selection in get_args(Selection)
            if (place / str(seeds[0]) / selection / "search").is_dir()
        }
    return _comparison(config, seeds, contents, searches)


def _comparison(
    config: RunConfig,
    seeds: Sequence[int],
    contents: Mapping[tuple[str, int], Mapping[str, Any]],
    searches: Mapping[str, Sequence[SearchResult]],
) -> Comparison:
    arms, baseline = config.compare.arms, config.compare.baseline
    metrics = config.compare.compared(contents[arms[0], seeds[0]]["compared"])
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    rows = []
    for arm in arms:
        for seed in seeds:
            content = contents[arm, seed]
            for metric in metrics:
                value = content["metrics"][metric]
                values[arm, metric].append(value)
                parameters = content["parameters"]
                rows.append(
                    {"arm": arm, "seed": seed, "metric": metric, "value": value}
                    | {"parameters": parameters}
                )
    pairs = _pairs(config.compare)
    differences = [
        {"arm": a, "baseline": b, "metric": metric}
        | written(paired_difference(values[a, metric], values[b, metric]))
        | {"same": _same(contents, seeds, a, b)}
        for metric in metrics
        for a, b in pairs
    ]
    costs = {
        arm: statistics.fmean(contents[arm, seed]["retrain_steps"] for seed in seeds)
        + _mean_steps(Cost(**contents[arm, seed]["cost"]) for seed in seeds)
        + sum(_mean_steps(r.cost for r in searches[s]) for s in allocator(arm).searches)
        for arm in arms
    }
    return Comparison(
        rows=rows,
        differences=differences,
        costs=costs,
        searches=_figures(config, searches["learned"]),
        baseline=baseline,
        metrics=metrics,
        started=[arm for arm in arms if contents[arm, seeds[0]]["start"] == "search"],
        blind=blind_arms(contents[arm, seed] for arm in arms for seed in seeds),
    )


def _pairs(options: CompareOptions) -> list[tuple[str, str]]:
    """(arm, what it is held against), the primary pair first."""
    arms, baseline = options.arms, options.baseline
    pairs = [(arm, baseline) for arm in arms if arm != baseline]
    if baseline != "learned":
        pairs += [("learned", arm) for arm in arms if arm not in ("learned", baseline)]
    if (primary := options.contrast()) is None:
        return pairs
    first = next((pair for pair in pairs if set(pair) == set(primary)), primary)
    return list(dict.fromkeys([first, *pairs]))


def _same(
    contents: Mapping[tuple[str, int], Mapping[str, Any]], seeds: Sequence[int], a: str, b: str
) -> bool:
    keys = "ranks", "metrics"
    return all(contents[a, s][key] == contents[b, s][key] for s in seeds for key in keys)


def _mean_steps(costs: Iterable[Cost]) -> float:
    return statistics.fmean(plain_steps(cost) for cost in costs)


def _figures(config: RunConfig, searches: Sequence[SearchResult]) -> dict[str, Any]:
    """How the searches went; figures of hypergradients are medians over all outer steps of all.

    Returns:
        `method`; `implicit_share`, implicit_norm over direct_norm before a balanced
        weight, and whether it was `balanced`; for methods that iterate
        `median_iterations`, `damping` and `stopped_early`, the share of outer steps whose solver
        met negative curvature or diverged; with `search.patience`, `searches`, their number, and
        `settled`, the outer step at which each that ended early did; where some are `blind`
        (`SearchResult.blind`), how many of how many, their mean loss and that of a blind answer;
        and `stability` of the ranks over replicates (`Stability.written`).
    """
    method, solver = config.search.hypergradient.method, config.search.hypergradient.solver
    each = [search for result in searches for search in result.searches]
    rows = [row for search in each for row in search.rows]
    shares = [r["implicit_norm"] / r["direct_norm"] for r in rows if r["direct_norm"]]
    figures: dict[str, Any] = {
        "method": method,
        "implicit_share": statistics.median(shares) if shares else None,
        "balanced": config.search.hypergradient.weight == "balanced",
    }
    iterated = [row for row in rows if row.get("stopped", "exact") != "exact"]
    if iterated:
        figures |= {
            "median_iterations": statistics.median_low(row["iterations"] for row in iterated),
            "damping": getattr(solver, "damping", getattr(solver, "rho", None)),
            "stopped_early": statistics.fmean(r["stopped"] in STOPPED_EARLY for r in iterated),
        }
    if config.search.patience is not None:
        settled = [search.rows[-1]["outer_step"] for search in each if search.settled]
        figures |= {"searches": len(each), "settled": settled}
    if blind := [search for search in each if search.blind]:
        figures["blind"] = {
            "searches": len(blind),
            "of": len(each),
            "loss": statistics.fmean(search.reached for search in blind),
            "blind_loss": statistics.fmean(search.blind_loss or 0.0 for search in blind),
        }
    over_replicates = stability(
        [result.components for result in searches], config.ranks, over="replicates"
    )
    figures["stability"] = over_replicates.written()
    return figures
