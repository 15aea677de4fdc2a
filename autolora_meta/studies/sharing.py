"""What runs of a study share: the jobs behind them, each once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from autolora_meta.allocators.allocation import Scoring
from autolora_meta.allocators.budget_choice import BudgetChoice, choice_work
from autolora_meta.allocators.replicate import allocator
from autolora_meta.bilevel.options import Selection
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.pipeline.memory import if_killed
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.tune import tune_work
from autolora_meta.studies import work
from autolora_meta.studies.budgets import choice_file
from autolora_meta.studies.executor import Job, Together
from autolora_meta.studies.plan import Choice, Planned


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
    retrainings, behind = [], _Behind(folder, together or {})
    for run in runs:
        config, seed, arm = run.config, run.seed, allocator(run.arm)
        behind.search(config, seed, run.searches)
        needs, load = {*run.searches.values()}, arm.total_work(config)
        load += tune_work(config, arm.retrain_steps(config))
        beside = arm.work(config)
        measured = run.measured and folder / "measured" / f"{run.measured}.json"
        if measured:
            load -= beside
        if measured and not measured.is_file():
            needs.add(measured.stem)
            behind.measure(config, seed, run.arm, measured)
        chosen = run.choice and choice_file(folder, run.choice)
        if run.choice and chosen and not chosen.is_file():
            needs.add(run.choice.key)
            behind.choose(config, run.choice, chosen)
        read = tuple(folder / "searches" / key for key in run.searches.values())
        arguments = config, seed, run.arm, folder / "runs" / run.id, read, measured, chosen
        if keep and run.id in keep:
            arguments += (keep[run.id],)
        advice = if_killed(config, "retrain")
        shares = (together or {}).get(run.id)
        job = Job(run.id, work.retrain_once, arguments, frozenset(needs), load, advice, shares)
        retrainings.append(job)
    return [*behind.jobs.values(), *retrainings]


class _Behind:
    """The jobs whose results several runs share, each once.

    Args:
        folder: of the study.
        together: key of a search -> the pass that it may share.
    """

    def __init__(self, folder: Path, together: Mapping[str, Together]) -> None:
        self.jobs: dict[str, Job] = {}
        self._folder, self._together = folder, together
        self._alike: dict[str, list[RunConfig]] = defaultdict(list)  # of the runs of a job

    def search(self, config: RunConfig, seed: int, searches: Mapping[Selection, str]) -> None:
        """Add the searches that are not there yet."""
        for selection, key in searches.items():
            where = self._folder / "searches" / key
            if where.is_dir():
                continue
            arguments = self._configs(key, config), seed, selection, where
            before: frozenset[str] = frozenset()
            if selection != "plain" and (plain := searches.get("plain")) is not None:
                arguments += (self._folder / "searches" / plain,)
                before = frozenset({plain})
            load, advice = config.search.total_work(selection), if_killed(config, "search")
            shares = self._together.get(key)
            job = Job(key, work.search_once, arguments, before, load, advice, shares)
            self.jobs.setdefault(key, job)

    def measure(self, config: RunConfig, seed: int, arm: str, place: Path) -> None:
        """Add what an arm measures for all budgets."""
        arguments = self._configs(place.stem, config), seed, arm, place
        load, advice = allocator(arm).work(config), if_killed(config, "search")
        job = Job(place.stem, work.measure_once, arguments, work=load, if_killed=advice)
        self.jobs.setdefault(place.stem, job)

    def choose(self, config: RunConfig, choice: Choice, place: Path) -> None:
        """Add the choice of a budget, after the searches that it reads."""
        self.search(config, choice.seed, choice.searches)
        read = tuple(self._folder / "searches" / key for key in choice.searches.values())
        arguments, needs = (config, choice.seed, place, read), frozenset(choice.searches.values())
        load, advice = choice_work(config), if_killed(config, "retrain")
        job = Job(choice.key, work.choose_once, arguments, needs, load, advice)
        self.jobs.setdefault(choice.key, job)

    def _configs(self, key: str, config: RunConfig) -> list[RunConfig]:
        """Return the configurations of a job, with that of another run that shares it.

        They differ in `ranks`, if in anything that may be impossible.
        """
        alike, own = self._alike[key], config.before_choice
        if all(own.ranks != other.ranks for other in alike):
            alike.append(own)
        return alike


def refuse_damaged(runs: Sequence[Planned], folder: Path) -> None:
    """Refuse a study whose runs would read a search or a measurement that is not what it was.

    Choices of a budget are refused in the same way.

    Args:
        runs: of a study, those to do.
        folder: of the study.

    Raises:
        InputError: a file of one is damaged, or it is another one; the message names it.
    """
    choices = {run.choice.key: run.choice for run in runs if run.choice}.values()
    searches = [
        (folder / "searches" / key, Path(str(one.seed), selection))
        for one in [*runs, *choices]
        for selection, key in one.searches.items()
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
    for choice in choices:
        if (file := choice_file(folder, choice)).is_file():
            BudgetChoice.load(file)
