"""Study: a grid of configurations x arms x seeds, run once and for all, by any executor."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor
from contextlib import closing
from pathlib import Path
from typing import Any

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest
from autolora_meta.foundation.environment import record
from autolora_meta.foundation.options import read
from autolora_meta.foundation.places import writable
from autolora_meta.foundation.progress import Bar, Progress
from autolora_meta.foundation.tracking import Trackers
from autolora_meta.studies import standing
from autolora_meta.studies.answers import primary_words
from autolora_meta.studies.check_study import ROWS, RowsRead, check_point, check_runs
from autolora_meta.studies.executor import Job
from autolora_meta.studies.inputs import inputs
from autolora_meta.studies.ledger import STUDY, Ledger
from autolora_meta.studies.main_guard import refuse_unguarded
from autolora_meta.studies.options import (
    Base,
    StudyOptions,
    YamlOverlay,
    overlay_of,
    read_study,
)
from autolora_meta.studies.outcomes import keep as keep_outcomes
from autolora_meta.studies.plan import Planned, base_of, plan
from autolora_meta.studies.pool import ended_jobs
from autolora_meta.studies.questions import ARM
from autolora_meta.studies.sharing import jobs_behind, refuse_damaged
from autolora_meta.studies.stacks import Stacks
from autolora_meta.studies.table import FILE, StudyTable
from autolora_meta.studies.work import Keep

_LOG = logging.getLogger(__name__)


class Study:
    """A base configuration x values of its keys x arms x seeds.

    Worker processes import the main module again: run it below `if __name__ == "__main__":`.

    >>> study = Study(                                                      # doctest: +SKIP
    ...     "quickstart", vary={"search.hypergradient": ["darts", "cg"]}, seeds=range(5)
    ... )
    >>> table = study.run()
    >>> table.to_pandas()
    >>> for contrast in table.compare("search.hypergradient", baseline="darts"):
    ...     print(contrast.sentence)

    Args:
        base: a shipped name, the path of a YAML file, a mapping or a RunConfig; or a list of such
            overlays, applied left to right.
        vary: dotted key -> the values it takes. Every value meets every other.
        variants: name -> overlays laid over the base, for what differs in more than one key.
        arms: allocators.
        seeds: one replicate each, or how many; five by default.
        contrasts: what the page asks of the table, a mapping of `key`, `baseline`, and `metric` or
            `over`, each; by default each arm and each value against the first.
        question: what the study asks, for the page.
        name: of the study; by default that of the base with `-study`.
        folder: of the study; by default `runs/NAME`. What has finished there is not run again.

    Raises:
        InputError: with every mistake of every point of the grid.
    """

    def __init__(
        self,
        base: Base | Sequence[Base],
        *,
        vary: Mapping[str, Iterable[Any]] | None = None,
        variants: Mapping[str, YamlOverlay | Sequence[YamlOverlay]] | None = None,
        arms: Sequence[str] = ("learned",),
        seeds: Iterable[int] | int = range(5),
        contrasts: Sequence[Mapping[str, Any]] = (),
        question: str = "",
        name: str | None = None,
        folder: str | Path | None = None,
    ) -> None:
        single = isinstance(base, str | Path | Mapping | RunConfig)
        overlays = [overlay_of(one) for one in ([base] if single else base)]
        given = {
            "name": name or f"{RunConfig.load(*overlays).name}-study",
            "base": overlays,
            "vary": vary or {},
            "variants": variants or {},
            "arms": arms,
            "seeds": seeds,
            "contrasts": [dict(asked) for asked in contrasts],
            "question": question,
        }
        self._set(read(StudyOptions, given, "the study"), folder)

    @classmethod
    def load(
        cls,
        file: str | Path,
        *changes: str,
        smoke: bool = False,
        folder: str | Path | None = None,
    ) -> "Study":
        """A study from a YAML file or a shipped name, with changes (`options.read_study`).

        >>> Study.load("hypergradients", "seeds=3", smoke=True).run()  # doctest: +SKIP
        """
        study = cls.__new__(cls)
        study._set(read_study(file, *changes, smoke=smoke), folder)
        return study

    @classmethod
    def of(cls, config: RunConfig, folder: str | Path | None = None) -> "Study":
        """Return the study of one point that a run is: its arms over its replicates.

        >>> Study.of(RunConfig.load("quickstart"), "runs/mine").run()  # doctest: +SKIP
        """
        study = cls.__new__(cls)
        study._set(StudyOptions.of(config), folder)
        return study

    def _set(self, options: StudyOptions, folder: str | Path | None) -> None:
        self.planned = plan(options)
        options.primary()  # refuses one that is not asked for
        self.base = base_of(options)
        self.options = options.model_copy(update={"base": (self.base.model_dump(mode="json"),)})
        self.folder = Path(folder) if folder is not None else Path("runs") / options.name

    @property
    def every(self) -> dict[str, Planned]:
        """The runs by id in the order of the plan, each once where places of the grid share it."""
        return {run.id: run for run in self.planned}

    @property
    def point(self) -> RunConfig | None:
        """The one configuration of a study that varies nothing; None of any other."""
        return self.planned[0].config if self.options.keys == (ARM,) else None

    @property
    def first(self) -> Planned | None:
        """Of a study of one point the first run of the chosen arm; None of any other."""
        chosen = (run for run in self.planned if run.arm == run.config.ranks.arm)
        return next(chosen, None) if self.point else None

    def run(
        self,
        executor: Executor | None = None,
        *,
        retry_failed: bool = False,
        wait: bool = False,
        overwrite: bool = False,
        restart: bool = False,
        keep: Keep | None = None,
        progress: Progress | None = None,
        say: Callable[[str], None] = _LOG.info,
    ) -> StudyTable:
        """Run what has not finished yet, and return all of it in one table.

        A run that fails is recorded with its error and does not stop the others. Each search is run
        once, for all budgets and arms that read it. What is killed goes on where it was.

        >>> with Client(scheduler).get_executor() as executor:  # dask  # doctest: +SKIP
        ...     table = study.run(executor)

        Args:
            executor: any of `concurrent.futures`; its processes share the study's folder. None:
                processes on this machine, as `runtime` of the base says.
            retry_failed: run those again that failed before.
            wait: for another process that works on this study, instead of refusing.
            overwrite: remove what the folder holds, and begin anew.
            restart: begin jobs that were stopped anew, instead of going on from their checkpoints.
            keep: of a study of one point: called with the retrained model of the chosen arm at the
                first seed, and the folder `adapter` of that run; it pickles.
            progress: told how far the whole study is; by default a bar on standard error.
            say: told which rows the first run reads, and how many adapters train at a time.

        Raises:
            InputError: another process works on it, the folder holds something else or cannot be
                written to, a local file that the study reads has changed since it began, no run
                could use its data or model, or `executor` broke. Nothing has been written then, but
                by an executor that broke.
        """
        refuse_unguarded(executor)
        self.refuse_unwritable()
        ledger, progress = Ledger(self.folder.absolute()), progress or Bar()
        asked, name = self.base.runtime.report_to, self.options.name
        trackers = Trackers(asked, name, ledger.folder / "trackers")
        # The data of other machines may be out of sight here.
        read = self.check(say, anew=overwrite) if executor is None else None
        with ledger.writing(self._files(read), wait=wait, anew=overwrite):
            known = inputs(run.config for run in self.planned)
            ledger.refuse_changed(known, standing.read_files(self.planned, ledger))
            if executor is None:
                ledger.sweep()
            todo = standing.left(self.planned, ledger, retry_failed)
            refuse_damaged(todo, ledger.folder)
            runs = {run.id: run for run in todo}
            stacks = Stacks(self.base, self.every, todo, ledger, self._kept(keep), executor)
            if restart:
                ledger.forget(job.key for job in stacks.jobs)
            begun = ended_jobs(stacks.jobs, executor, self.base, progress, stacks.most)
            try:
                with closing(begun) as every:
                    keep_outcomes(stacks.decided(every, say), runs, ledger, trackers)
            except BrokenExecutor as error:
                if executor is None:
                    raise
                raise InputError(
                    f"the executor given to study {self.options.name} broke ({error}); what had "
                    "finished is kept: open another executor and run the study again"
                ) from error
            finally:  # also of a study that is stopped: what has finished can be looked at
                table = self.table()
                with manifest.sealing(self.folder, FILE):
                    table.save(self.folder / FILE)
                if any(row["status"] == "finished" for row in table.rows):
                    ledger.looked(self.options.seeds, primary_words(table.asked, table.primary))
                record(self.folder)
        failed = {row["id"]: row["error"] for row in table.failed if row["id"] in runs}
        if failed:
            _LOG.warning(
                "%d of %d runs of study %s failed, the first with: %s",
                *(len(failed), len(runs), self.options.name, next(iter(failed.values()))),
            )
        return table

    def table(self) -> StudyTable:
        """Return what has finished so far; nothing is run."""
        return StudyTable.of(self.options, self.planned, Ledger(self.folder))

    def left(self, *, retry_failed: bool = False) -> list[Planned]:
        """Return the runs that are still to do, each once."""
        return standing.left(self.planned, Ledger(self.folder), retry_failed)

    def refuse_unwritable(self) -> None:
        """Refuse a folder that nothing can be written to.

        Raises:
            InputError: it is one.
        """
        for name in ("results.jsonl", "runs/x", "searches/x", "figures/x"):
            writable(self.folder / name, "folder for the study (--runs)")

    def check(
        self, say: Callable[[str], None] = _LOG.info, *, anew: bool = False
    ) -> RowsRead | None:
        """Refuse a study that cannot even begin.

        Of a study of one point everything is checked, and its model is loaded; of others, whether
        any run could use its data, task and model.

        Args:
            say: told which rows and classes the first run reads.
            anew: check also where something has finished already.

        Returns:
            Those rows; None where something has finished, so that nothing was checked.

        Raises:
            InputError: it cannot.
        """
        if not anew and any(row["status"] == "finished" for row in self.table().rows):
            return None
        return check_point(self.point, say) if self.point else check_runs(self.planned, say)

    def begun(self, *, retry_failed: bool = False) -> int:
        """Return how many jobs go on from a checkpoint."""
        jobs = self.jobs(self.left(retry_failed=retry_failed))
        return len(Ledger(self.folder).begun() & {job.key for job in jobs})

    def goes_on(self) -> bool:
        """Return whether the folder holds this study, or a part of it, begun or finished."""
        return standing.holds(self.folder, self.planned)

    def beside(self) -> int:
        """Return how many finished runs the folder holds that this study does not ask for."""
        return standing.beside(self.planned, Ledger(self.folder))

    def _files(self, read: RowsRead | None) -> dict[str, str]:
        """Return name -> content of what describes the study in its folder."""
        files = {STUDY: self.options.to_yaml()}
        if self.point:
            files["config.yaml"] = self.point.to_yaml()
        if read:
            files[ROWS] = read.to_json()
        return files

    def _kept(self, keep: Keep | None) -> dict[str, Keep]:
        return {self.first.id: keep} if keep and self.first else {}

    def jobs(self, runs: Sequence[Planned]) -> list[Job]:
        """Return the work behind runs (`sharing.jobs_behind`)."""
        return jobs_behind(runs, self.folder.absolute())
