"""What the page of a run says."""

import re
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.foundation.environment import recorded
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.reporting.document import Code, Document, Picture, Section, Table
from autolora_meta.reporting.rows import section as rows_section
from autolora_meta.reporting.seconds import job_seconds, mean_seconds
from autolora_meta.reporting.summary import (
    comparison_cells,
    course_words,
    primary_words,
    reach_words,
    secondary_words,
    warnings_of,
)
from autolora_meta.statistics.paired import MIN_REPLICATES
from autolora_meta.studies.compare import Comparison

_RANKS = {
    "ranks": "The rank of each layer: blocks downwards, kinds of module across.",
    "ranks-spread": "The ranks of each layer over the replicates, beside equal ranks.",
    "ranks-stability": "How far the replicates agree: mean and deviation of each layer's rank.",
}
_SEARCH = {
    "gates": "The gates during the search: a line for each component, coloured by block.",
    "importance": "Each layer's share of the importance during the search, coloured by block.",
    "ranks-over-time": "The ranks that would follow from the search at each of its steps.",
    "losses": "Inner loss on training rows and outer loss on validation rows.",
}


def run_document(folder: Path) -> Document:
    """The page of a run, from its folder.

    Raises:
        InputError: the folder is not that of a finished run.
    """
    config = RunConfig.load(folder / "config.yaml")
    comparison = Comparison.load(folder / "comparison.json")
    result = SearchResult.load(folder)
    sentences = comparison.sentences()
    sections = [
        *_in_words(comparison, sentences),
        _arms(comparison, folder),
        *rows_section(folder, config.seed),
        Section(
            f"Ranks learned, seed {config.seed}",
            words=those_said(
                f"Total rank {result.ranks.total_rank}, {result.ranks.parameters:,} parameters.",
                result.options.unspent(result.ranks),
            ),
            pictures=pictures(folder, _RANKS),
            folded=[_layers(result)],
        ),
        Section("The search", pictures=pictures(folder, _SEARCH)),
        _cost(config, comparison, result, folder),
        *_loading(folder),
        again("run", way(folder) / "config.yaml", config.name, _IN_PYTHON),
        settings(folder, "config.yaml"),
    ]
    question = (
        f"Do LoRA ranks learned for {_short(config.model.name)} on {_short(config.data.source)} do "
        f"better than {comparison.baseline} ones with the same number of parameters?"
    )
    return Document(config.name, question, _answer(comparison, sentences), sections)


def _in_words(comparison: Comparison, sentences: list[str]) -> list[Section]:
    points = [f"{said}." for said in sentences]
    words = [reach_words(comparison), course_words(comparison), comparison.stability.sentence()]
    first = those_said(f"{primary_words(comparison)}." if points else None)
    sections = [Section("In words", words=[*first, *words], points=points[:1])]
    if rest := points[1:]:
        said = [f"{secondary_words(comparison)}."]
        sections.append(Section("Secondary comparisons", words=said, points=rest))
    return sections


def pictures(folder: Path, captions: dict[str, str]) -> list[Picture]:
    """Those of the figures that stand in the folder."""
    files = {folder / "figures" / f"{name}.svg": words for name, words in captions.items()}
    return [Picture.read(file, words) for file, words in files.items() if file.is_file()]


def way(folder: Path) -> Path:
    """The way to a folder from where the page is written: there, relative paths of data count.

    To a folder elsewhere there is none that would hold on another machine: it is empty.
    """
    folder, here = folder.absolute(), Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else Path()


def again(command: str, file: Path, name: str, python: str) -> Section:
    """How to repeat a run or a study.

    Args:
        command: of the command line.
        file: the configuration, as it is named from where the page was written.
        name: of what is repeated.
        python: a program, in which FILE stands for the file.
    """
    shell = f"autolora-meta {command} {quote(file.as_posix())} name={name}-again"
    return Section(
        "Repeat it",
        words=[
            "The same configuration on the same machine and versions gives the same figures. "
            + paths_count(file)
        ],
        code=[
            Code("On the command line:", shell),
            Code("Or in Python:", python.replace("FILE", file.as_posix())),
        ],
    )


def paths_count(file: Path) -> str:
    """Where commands that name `file` are to be run."""
    if file.parent == Path():
        return (
            "Run it in this folder; where the configuration has relative paths of data or a model, "
            f"where they hold, with the way to this {file.name}."
        )
    return (
        "Run it where this page was written: the paths below, and relative ones of data and models "
        "in the configuration, count from there."
    )


def settings(folder: Path, file: str) -> Section:
    """The resolved configuration and what it ran on."""
    found = recorded(folder)
    table = Table("Versions and machine", ["what", "value"], list(found.items()))
    return Section(
        "Configuration and environment",
        words=[] if found else ["The environment was not recorded."],
        folded=[
            Code(f"{file}, every option resolved", (folder / file).read_text(encoding="utf-8")),
            *([table] if found else []),
        ],
    )


def those_said(*words: str | None) -> list[str]:
    """The words that there are."""
    return [word for word in words if word]


def _short(name: str | Mapping[Any, str]) -> str:
    """A path by its last part; ids of a hub as they are; several files one after another."""
    if not isinstance(name, str):
        return " and ".join(map(_short, name.values()))
    return Path(name).name if Path(name).is_absolute() or name.startswith(".") else name


def _answer(comparison: Comparison, sentences: list[str]) -> str:
    """What has learned nothing; the primary sentence; how many of the others show something."""
    warned = "".join(f"{said} " for said in warnings_of(comparison))
    if not sentences:
        return f"{warned}There is one arm: nothing to compare."
    said = f"{warned}{sentences[0]}."
    others = comparison.shown()[1:]
    if not others or comparison.differences[0]["n"] < MIN_REPLICATES:
        return said
    found = f"{sum(others)} of {len(others)} secondary comparisons"
    return (
        f"{said} After correction {found} {'show' if sum(others) != 1 else 'shows'} a difference."
    )


def _arms(comparison: Comparison, folder: Path) -> Section:
    captions = {
        f"comparison-{metric}": f"{metric_called(metric).title}: replicates of each "
        "arm, and the paired differences; filled where a difference is shown."
        for metric in comparison.metrics
    }
    captions["cost"] = "What each arm reaches, and what finding and retraining its ranks took."
    fields = ["mean", "low", "high", "n"]
    differences = [
        [row["arm"], row["baseline"], row["metric"]]
        + ["" if row[key] is None else f"{row[key]:.4g}" for key in fields]
        + [f"{d.p_test:.3g}", f"{p_holm:.3g}"]
        for row, (d, p_holm) in zip(comparison.differences, comparison.corrected(), strict=True)
    ]
    replicates = [
        [row["arm"], row["seed"], f"{row['parameters']:,}"]
        + [
            f"{other['value']:.4f}"
            for metric in comparison.metrics
            for other in comparison.rows
            if (other["arm"], other["seed"], other["metric"]) == (row["arm"], row["seed"], metric)
        ]
        for row in comparison.rows
        if row["metric"] == comparison.metrics[0]
    ]
    count = len(comparison.seeds)
    return Section(
        "The arms",
        pictures=pictures(folder, captions),
        tables=[
            Table(
                f"Mean ± standard deviation over {count} replicate{'s' * (count > 1)}",
                *comparison_cells(comparison),
            )
        ],
        folded=[
            Table(
                "Paired differences with 95% intervals, the primary first; p plain and corrected",
                ["arm", "baseline", "metric", "difference", *fields[1:], "p", "p (corrected)"],
                differences,
            ),
            Table(
                "Every replicate", ["arm", "seed", "parameters", *comparison.metrics], replicates
            ),
        ],
    )


def _layers(result: SearchResult) -> Table:
    pattern = result.ranks
    rows = [
        [name, rank, f"{rank * cost:,}"]
        for name, rank, cost in zip(pattern.names, pattern.ranks, pattern.costs, strict=True)
    ]
    return Table("Rank of every layer", ["layer", "rank", "parameters"], rows)


def _cost(config: RunConfig, comparison: Comparison, result: SearchResult, folder: Path) -> Section:
    cost, seconds = result.cost, mean_seconds(config, folder)
    words = (
        f"Plain steps are training steps of ordinary LoRA at rank {config.lora.k}, of search and "
        f"retraining in one replicate. One search took {cost.forwards:,} forward passes, "
        f"{cost.backwards:,} backward passes and {cost.double_backwards:,} double backward passes. "
        "Seconds are wall time; jobs that ran side by side slowed each other, so compare plain "
        "steps."
    )
    rows = [
        [arm, f"{comparison.costs[arm]:.0f}", f"{seconds[arm]:.0f}" if arm in seconds else ""]
        for arm in comparison.arms
    ]
    told = job_seconds(folder)
    table = Table("One replicate of each arm", ["arm", "plain steps", "seconds"], rows)
    total = f"All {len(told)} jobs took {sum(told):,.0f} seconds together." if told else None
    return Section("What it cost", words=those_said(words, total), tables=[table])


def _loading(folder: Path) -> list[Section]:
    """The lines of the adapter's own card; none where there is no adapter."""
    card = folder / "adapter" / "README.md"
    found = card.is_file() and re.search(
        r"^```python\n(.*?)^```", card.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    if not found:
        return []
    words = "The adapter of the first replicate is in adapter/, a stock PEFT adapter."
    text = found[1].replace("path/to/this/folder", "adapter")
    return [Section("Load the adapter", words=[words], code=[Code("In this folder:", text)])]


_IN_PYTHON = """\
from autolora_meta import RunConfig, run

if __name__ == "__main__":
    run(RunConfig.load("FILE"), "again", say=print)
"""
