"""What runs of a study share: the jobs behind them, and the data and models that they name."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from autolora_meta.allocators.replicate import allocator
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.pipeline.prepare import refuse_unusable
from autolora_meta.studies import work
from autolora_meta.studies.executor import Job
from autolora_meta.studies.plan import Planned


def jobs_behind(runs: Sequence[Planned], folder: Path) -> list[Job]:
    """The work behind runs: what they share and is not there yet, once; then what reads it.

    Args:
        runs: of a study, each once.
        folder: of the study.
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
                job = Job(key, work.search_once, arguments, work=load)
                shared.setdefault(key, job)
        needs, load = {*run.searches.values()}, arm.total_work(config)
        beside = arm.work(config)
        measured = run.measured and folder / "measured" / f"{run.measured}.json"
        if measured and not config.compare.equal_cost:  # there, what is not spent is trained
            load -= beside
        if measured and not measured.is_file():
            needs.add(measured.stem)
            _add_other_ranks(alike[measured.stem], config)
            arguments = alike[measured.stem], seed, run.arm, measured
            job = Job(measured.stem, work.measure_once, arguments, work=beside)
            shared.setdefault(measured.stem, job)
        read = tuple(folder / "searches" / key for key in run.searches.values())
        arguments = config, seed, run.arm, folder / "runs" / run.id, read, measured
        job = Job(run.id, work.retrain_once, arguments, frozenset(needs), load)
        retrainings.append(job)
    return [*shared.values(), *retrainings]


def refuse_all_unusable(runs: Sequence[Planned], say: Callable[[str], None]) -> None:
    """Refuse runs none of which could use its data, task or model, before anything long begins.

    Where some could, the others fail by themselves.

    Args:
        runs: of a study.
        say: told what the first that could reads.

    Raises:
        InputError: what is wrong with the first.
    """
    wrong: list[InputError] = []
    for run in _one_of_each(runs):
        said: list[str] = []
        try:
            refuse_unusable(run.config, run.seed, said.append)
            say("\n".join([f"rows of the first run, seed {run.seed}:", *said]))
            return
        except InputError as error:
            wrong.append(error)
        except Exception:  # of a person's own task, say: it belongs to the runs that meet it
            return
    if wrong:
        raise wrong[0]


def _one_of_each(runs: Sequence[Planned]) -> Iterable[Planned]:
    """The first run of each model, data, task, metrics and seed, which decides the split."""
    once: dict[tuple[int, str], Planned] = {}
    for run in runs:
        about = run.config.model_dump_json(include={"model", "data", "task", "compare"})
        once.setdefault((run.seed, about), run)
    return once.values()


def _add_other_ranks(alike: list[RunConfig], config: RunConfig) -> None:
    """Runs that share a job differ in `ranks`, if in anything that may be impossible."""
    if all(config.ranks != other.ranks for other in alike):
        alike.append(config)
