"""What a run leaves behind for people: words, figures, summary, adapter."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.exporting.adapter import save_adapter
from autolora_meta.finetuning.models import load_model
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.pipeline.check import Plan
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting import plots
from autolora_meta.reporting.card import model_card
from autolora_meta.reporting.draw import over_time
from autolora_meta.reporting.measured import measured
from autolora_meta.reporting.page_study import figure_names
from autolora_meta.reporting.ranked import ranks_by_value, ranks_of_study, read_ranked
from autolora_meta.reporting.seconds import mean_seconds
from autolora_meta.reporting.style import save_all
from autolora_meta.reporting.summary import ranks_table, summary, warnings_of
from autolora_meta.studies.answers import answers
from autolora_meta.studies.compare import Comparison
from autolora_meta.studies.options import read_study
from autolora_meta.studies.table import StudyTable

_HEATMAPS = 16  # in one figure, at most


def plan_words(config: RunConfig, plan: Plan) -> str:
    """What is about to happen: the rows, the layers, the budget, the work."""
    ranks = config.ranks
    chosen = f"budget {ranks.budget}" if ranks.rule == "budget" else f"rule {ranks.rule}"
    work = (
        f"{len(plan.names)} layers of k = {config.lora.k} components, {sum(plan.costs):,} "
        f"parameters per rank, {chosen}; "
        f"hypergradient {config.search.hypergradient.method}, {config.search.schedule}"
    )
    return "\n".join([*plan.said, work])


def draw_search(result: SearchResult, folder: Path) -> None:
    """The figures of one search: ranks, now and over time, gates over time, losses."""
    steps = [0] + [row["step"] for row in result.rows if "outer_step" in row]
    _save(plots.rank_heatmap(result), folder, "ranks")
    _save(plots.gates_over_time(steps, result.trajectory, result.components.names), folder, "gates")
    _save(plots.losses(result.rows), folder, "losses")
    if (importance := result.importance_trajectory) is not None:
        every = [0, *[row["step"] for row in result.rows]]
        figure = plots.importance_over_time(every, importance, result.components.names)
        _save(figure, folder, "importance")
    _save(over_time(result), folder, "ranks-over-time")


def draw_run(folder: Path) -> None:
    """Every figure of a run, a search or a study, from what stands in its folder."""
    if (folder / "study.yaml").is_file():
        draw_study(folder)
        return
    ranked = read_ranked(folder)
    if ranked.result is None:
        raise InputError(
            f"{folder} is no run with figures of its own; say where the figures go with --output"
        )
    draw_search(ranked.result, folder)
    if len(ranked.searches) > 1:
        _save(plots.rank_spread(ranked.searches), folder, "ranks-spread")
        _save(plots.rank_stability(ranked.searches), folder, "ranks-stability")
    if (folder / "comparison.json").is_file():
        draw_comparison(Comparison.load(folder / "comparison.json"), folder)


def draw_comparison(comparison: Comparison, folder: Path) -> None:
    """One figure for each metric: every replicate of every arm, and the paired differences."""
    for metric in comparison.metrics:
        figure = plots.comparison(
            comparison.rows,
            comparison.against_baseline(metric),
            metric,
            baseline=comparison.baseline,
            better=metric_called(metric).better,
            label=metric_called(metric).label,
            holding=comparison.holding(metric),
        )
        _save(figure, folder, f"comparison-{metric}")
    name = metric_called(comparison.metrics[0])
    points = measured(comparison)
    figure = plots.metric_against_cost(points, label=name.label, better=name.better)
    _save(figure, folder, "cost")


def draw_study(folder: Path) -> None:
    """A figure for each question of a study, and what its metric costs."""
    options, found = read_study(folder / "study.yaml"), StudyTable.load(folder)
    for kind in ("contrast-*", "ranks-*", "cost", "parameters"):
        for old in (folder / "figures").glob(f"{kind}.*"):  # of what the folder held before
            old.unlink()
    each = zip(figure_names(options), options.asked(), answers(options, found), strict=True)
    for name, asked, contrasts in each:
        if contrasts and asked.over:
            _save(plots.paired_differences(contrasts), folder, name)
        elif contrasts:
            given = asked.key, asked.baseline, asked.metric
            _save(plots.study(found, *given, contrasts=contrasts), folder, name)
    if (ranks := ranks_of_study(folder)) is not None and len(ranks.searches) > 1:
        _save(plots.rank_spread(ranks.searches), folder, "ranks-spread")
    first = next(iter(options.asked()), None)
    groups = ranks_by_value(found, folder, first.key)[1] if first else {}
    if 1 < len(groups) <= _HEATMAPS:
        with suppress(InputError):  # ranks of several models do not stand side by side
            _save(plots.mean_ranks(groups), folder, "ranks-mean")
    points, metric = measured(found), metric_called(found.metrics[0])
    words: dict[str, Any] = {"label": metric.label, "better": metric.better}
    _save(plots.metric_against_cost(points, **words), folder, "cost")
    sizes = [point.parameters for point in points]
    if max(sizes) > 1.05 * min(sizes):  # several budgets
        _save(plots.metric_against_parameters(points, **words), folder, "parameters")


def conclude(config: RunConfig, comparison: Comparison, folder: Path) -> str:
    """Gather the first replicate's search and the comparison in the run's folder.

    Returns:
        The summary, for people.
    """
    result = SearchResult.load(folder / "replicates" / str(config.seed) / "learned")
    result.save(folder)
    comparison.save(folder / "comparison.json")
    draw_run(folder)
    ranks = "\n".join(
        filter(None, [ranks_table(result.ranks), result.options.unspent(result.ranks)])
    )
    warned = "".join(f"**{said}**\n\n" for said in warnings_of(comparison))
    words = (
        f"# {config.name}\n\n{warned}## Ranks learned (replicate of seed {config.seed})\n\n"
        f"{ranks}\n\n## Comparison\n\n"
        f"{summary(comparison, mean_seconds(config, folder))}\n"
    )
    (folder / "summary.md").write_text(words, encoding="utf-8")
    return words


@dataclass(frozen=True)
class KeepAdapter:
    """What a job does with the retrained model of `learned` in the first replicate; it pickles.

    Args:
        config: of the run.
        folder: where the adapter goes.
        by_hand: the ranks are not those that the run's own search and rule gave.
    """

    config: RunConfig
    folder: Path
    by_hand: bool = False

    def __call__(self, result: RetrainResult, pattern: RankPattern, prepared: Prepared) -> None:
        """Save an adapter that loads with PEFT alone, with a model card; checked by loading it."""
        # Another seed gives the fresh base another head: the right one must come from the adapter.
        base, _ = load_model(self.config.model, prepared.task, self.config.seed + 1)
        card = model_card(self.config, pattern, result, prepared, by_hand=self.by_hand)
        save_adapter(result, self.folder, card, base=base)


def _save(figure: Figure, folder: Path, name: str) -> None:
    place = folder / "figures"
    place.mkdir(exist_ok=True)
    save_all(figure, place, name)
