"""What runs of a study share: the jobs behind them, each once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from autolora_meta.allocators.allocation import Scoring
from autolora_meta.allocators.replicate import allocator
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.pipeline.memory import if_killed
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.tune import tune_work
from autolora_meta.studies import work
from autolora_meta.studies.executor import Job, Together
from autolora_meta.studies.plan import Planned


def jobs_behind(
    runs: Sequence[Planned],
    folder: Path,
    keep: Mapping[str, work.Keep] | None = None,
    together: Mapping[str, Together] | None = None,
) -> list[Job]:
    """The work behind runs: what they share and is not there yet, once; then what reads it.

    Args:
        runs: of a study, each once.
        folder: of the study.
        keep: id of a run -> what is to be done with its retrained model (`work.retrain_once`).
        together: id of a run or key of a search -> the pass that it may share (`stacks.passes`).
    """
    shared: dict[str, Job] = {}
    retrainings = []
    alike: dict[str, list[RunConfig]] = defaultdict(list)  # of the runs that share a job
    for run in runs:
        config, seed, arm = run.config, run.seed, allocator(run.arm)
        for selection, key in run.searches.items():
            where = folder / "searches" / key
            if not where.is_dir():
                _add_other_ranks(alike[key], config)
                load = config.search.total_work(selection)
                arguments = alike[key], seed, selection, where
                before: frozenset[str] = frozenset()
                if selection != "plain" and (plain := run.searches.get("plain")) is not None:
                    arguments += (folder / "searches" / plain,)
                    before = frozenset({plain})
                advice = if_killed(config, "search")
                pass_of = (together or {}).get(key)
                job = Job(key, work.search_once, arguments, before, load, advice, pass_of)
                shared.setdefault(key, job)
        needs, load = {*run.searches.values()}, arm.total_work(config)
        load += tune_work(config, arm.retrain_steps(config))
        beside = arm.work(config)
        measured = run.measured and folder / "measured" / f"{run.measured}.json"
        if measured:
            load -= beside
        if measured and not measured.is_file():
            needs.add(measured.stem)
            _add_other_ranks(alike[measured.stem], config)
            arguments = alike[measured.stem], seed, run.arm, measured
            job = Job(
                measured.stem,
                work.measure_once,
                arguments,
                work=beside,
                if_killed=if_killed(config, "search"),
            )
            shared.setdefault(measured.stem, job)
        read = tuple(folder / "searches" / key for key in run.searches.values())
        arguments = config, seed, run.arm, folder / "runs" / run.id, read, measured
        if keep and run.id in keep:
            arguments += (keep[run.id],)
        advice = if_killed(config, "retrain")
        shares = (together or {}).get(run.id)
        job = Job(run.id, work.retrain_once, arguments, frozenset(needs), load, advice, shares)
        retrainings.append(job)
    return [*shared.values(), *retrainings]


def refuse_damaged(runs: Sequence[Planned], folder: Path) -> None:
    """Refuse a study whose runs would read a search or a measurement that is not what it was.

    Args:
        runs: of a study, those to do.
        folder: of the study.

    Raises:
        InputError: a file of one is damaged, or it is another one; the message names it.
    """
    searches = [
        (folder / "searches" / key, Path(str(run.seed), selection))
        for run in runs
        for selection, key in run.searches.items()
    ]
    for place, below in dict.fromkeys(searches):
        try:
            if not (place / below / "search").is_dir():
                continue
            held = SearchResult.load(place / below).fingerprint
            if held is None or held[:12] != place.name:
                raise InputError(f"{place / below} holds another search than its folder says")
        except InputError as error:
            again = f"remove {place}, and the same command searches again"
            raise InputError(f"{error}; {again}") from None
    for name in {run.measured for run in runs if run.measured}:
        if (file := folder / "measured" / f"{name}.json").is_file():
            Scoring.load(file)


def _add_other_ranks(alike: list[RunConfig], config: RunConfig) -> None:
    """Runs that share a job differ in `ranks`, if in anything that may be impossible."""
    if all(config.ranks != other.ranks for other in alike):
        alike.append(config)
