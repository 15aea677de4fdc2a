"""What a run found, as text: a table of the arms, and what can be said of them."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from autolora_meta.config.run import CompareOptions
from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.finetuning.tasks.blind import blind_arms_words
from autolora_meta.hypergradients.choice import parse
from autolora_meta.hypergradients.methods import METHODS
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.grid import layer_grid
from autolora_meta.statistics.paired import MIN_REPLICATES
from autolora_meta.studies.compare import Comparison


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table that is also aligned as plain text."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def ranks_table(pattern: RankPattern) -> str:
    """Ranks with blocks downwards and kinds of module across, and what they cost."""
    grid = layer_grid(pattern.names)
    cells = [["" for _ in grid.columns] for _ in grid.rows]
    for (row, column), rank in zip(grid.cells, pattern.ranks, strict=True):
        cells[row][column] = str(rank)
    body = table(
        ["block", *grid.columns],
        [[name, *row] for name, row in zip(grid.rows, cells, strict=True)],
    )
    return f"{body}\n\ntotal rank {pattern.total_rank}, {pattern.parameters:,} parameters"


def search_words(result: SearchResult) -> str:
    """What a search found: its ranks, whether it ended early, and what may be said of them."""
    one = len(result.searches) == 1
    each = {"the search" if one else f"search {i}": s for i, s in enumerate(result.searches)}
    early = [
        f"{name.capitalize()} ended early, at step {search.rows[-1]['step']}: its ranks had "
        "settled."
        for name, search in each.items()
        if search.settled
    ]
    blind = [
        _blind_words(name, search.reached, search.blind_loss)
        for name, search in each.items()
        if search.blind
    ]
    said = [*early, *blind, result.stability.sentence()]
    return "\n".join([ranks_table(result.ranks), "", *said])


WHAT_TO_CHANGE = (
    "Raise search.warmup_steps, try another search.inner.learning_rate, or lower "
    "search.inner.weight_decay."
)  # where a search has learned nothing


def _blind_words(searches: str, reached: float, blind_loss: float | None) -> str:
    return (
        f"The validation loss at the end of {searches} was {reached:.3f}, and an answer that does "
        f"not look at its input has {blind_loss:.3f}: next to nothing had been learned, so these "
        f"ranks say little. {WHAT_TO_CHANGE}"
    )


def comparison_cells(
    comparison: Comparison, seconds: Mapping[str, float] | None = None
) -> tuple[list[str], list[list[object]]]:
    """(header, rows): one row an arm, mean and deviation of each metric, parameters and cost."""
    rows: list[list[object]] = []
    for arm in comparison.arms:
        cells: list[object] = [arm]
        sizes = {row["parameters"] for row in comparison.rows if row["arm"] == arm}
        low, high = min(sizes), max(sizes)
        cells.append(f"{low:,}" if low == high else f"{low:,} to {high:,}")
        for metric in comparison.metrics:
            values = comparison.values(arm, metric)
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.3f}{spread}")
        cells.append(f"{comparison.costs[arm]:.0f}")
        if seconds:
            cells.append(f"{seconds[arm]:.0f}")
        rows.append(cells)
    header = ["arm", "parameters", *comparison.metrics, "plain steps"]
    return header + ["seconds"] * bool(seconds), rows


def summary(comparison: Comparison, seconds: Mapping[str, float] | None = None) -> str:
    """The whole answer of a comparison in Markdown: table, words, and how the search went."""
    count = len(comparison.seeds)
    caption = (
        f"Mean ± standard deviation over {count} replicate{'s' * (count > 1)}; "
        "plain steps are those of search and retraining in one replicate"
    )
    if seconds:
        caption += (
            ", seconds their wall time: jobs that ran side by side slowed each other, so compare "
            "costs in plain steps"
        )
    return "\n".join(
        [
            f"{caption}.",
            "",
            table(*comparison_cells(comparison, seconds)),
            "",
            *_said(comparison),
            reach_words(comparison),
            "",
            course_words(comparison),
            "",
            comparison.stability.sentence(),
        ]
    )


def _said(comparison: Comparison) -> list[str]:
    """The sentences, the primary one first."""
    # What is the same of two metrics is said once.
    primary, *secondary = dict.fromkeys(f"- {said}" for said in comparison.sentences()) or [""]
    if not primary:
        return []
    lines = [f"{primary_words(comparison)}:", "", primary, ""]
    return lines + ([f"{secondary_words(comparison)}:", "", *secondary, ""] if secondary else [])


def primary_words(comparison: Comparison) -> str:
    """What the primary comparison is."""
    first = comparison.differences[0]
    metric = metric_called(first["metric"]).label
    return (
        f"Primary comparison, named before the run: {first['arm']} against {first['baseline']} in "
        f"{metric}"
    )


def secondary_words(comparison: Comparison) -> str:
    """What the others are, and how they are corrected."""
    family = comparison.family
    among = f", corrected together for their number ({family}, by Holm)" if family > 1 else ""
    return f"Secondary comparisons, all others{among}"


def primary_ahead(options: CompareOptions) -> list[str]:
    """What is primary, before anything has run; nothing where there is one arm.

    Raises:
        InputError: `compare.primary` names an arm that is not compared.
    """
    if (contrast := options.contrast()) is None:
        return []
    metric = metric_called(options.named[0]).label if options.named else "the task's first metric"
    return [
        f"primary comparison: {contrast[0]} against {contrast[1]} in {metric} (compare.primary); "
        "all others are secondary"
    ]


def reach_words(comparison: Comparison) -> str:
    """What replicates and intervals do not say."""
    intervals = sum(row["n"] >= MIN_REPLICATES for row in comparison.differences)
    given = f", and {intervals} intervals are given, uncorrected for their number"
    words = f"Replicates are random splits of this one data set{given if intervals else ''}."
    others = [arm for arm in comparison.arms if arm not in comparison.started]
    if not comparison.started:
        return words
    if not others:
        return f"{words} Every arm went on from what its search trained."
    return (
        f"{words} {', '.join(comparison.started)} went on from what the search trained, "
        f"{', '.join(others)} began from scratch: between those, differences are of both ranks and "
        "start."
    )


def warnings_of(comparison: Comparison) -> list[str]:
    """What stands before all else: arms and searches that have learned nothing."""
    return [*blind_arms_words(comparison.blind), *_blind_searches(comparison)]


def _blind_searches(comparison: Comparison) -> list[str]:
    if not (blind := comparison.searches.get("blind")):
        return []
    which = f"{blind['searches']} of {blind['of']} searches"
    return [_blind_words(which, blind["loss"], blind["blind_loss"])]


def course_words(comparison: Comparison) -> str:
    """How the searches went."""
    found = comparison.searches
    words = [_hypergradient(found), *_settled(found)]
    return " ".join(words)


def _hypergradient(searches: Mapping[str, Any]) -> str:
    """How the hypergradients of the searches with learned gates went, medians over outer steps."""
    parts = [f"Hypergradient: {searches['method']}"]
    if "stopped_early" in searches:
        parts += [
            f"median {searches['median_iterations']} solver iterations a step",
            f"damping {searches['damping']:g}",
            f"the solver stopped at negative curvature or diverged in "
            f"{searches['stopped_early']:.0%} of the outer steps",
        ]
    if searches["implicit_share"] is not None:
        share = searches["implicit_share"]
        balanced = ", and was made as long" if searches.get("balanced") else ""
        parts.append(f"the implicit part was {share:.2g} times the direct part{balanced}")
    return f"{', '.join(parts)}."


def _settled(searches: Mapping[str, Any]) -> list[str]:
    """When searches ended early, if they could."""
    if "settled" not in searches:
        return []
    steps, count = searches["settled"], searches["searches"]
    if not steps:
        return [f"None of {count} searches ended early: the ranks went on moving."]
    low, high = min(steps), max(steps)
    when = f"step {low}" if low == high else f"steps {low} to {high}"
    return [
        f"The ranks had settled in {len(steps)} of {count} searches, which ended at outer {when}."
    ]


def methods_table() -> str:
    """Every hypergradient method: how it is put together, what it costs, what it needs."""
    rows = []
    for name, method in METHODS.items():
        options = parse(name)
        cost = options.cost()
        rows.append(
            [
                name,
                method.solver or "-",
                method.products or "-",
                f"{cost.forwards} + {cost.backwards} + {cost.double_backwards}",
                "double backward" if method.needs_double_backward else "gradients only",
                "yes" if method.works_in_bf16 else "no",
                "yes" if method.works_on_quantised else "no",
                ", ".join(method.option_names),
                method.summary,
            ]
        )
    header = [
        "method",
        "solver",
        "products",
        "extra cost",
        "needs",
        "bf16",
        "4 bits",
        "options",
        "what it is",
    ]
    return (
        table(header, rows)
        + "\n\nextra cost: forwards + backwards + double backwards of one hypergradient at the "
        "default\noptions, beyond the inner and the outer pass. bf16, 4 bits: sound on a base "
        "stored so. Set one with\nsearch.hypergradient=NAME, its options with "
        "search.hypergradient.OPTION=VALUE."
    )
