"""Standing: how far a study is, by its plan and its ledger."""

from collections.abc import Sequence
from pathlib import Path

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest
from autolora_meta.studies.inputs import paths
from autolora_meta.studies.ledger import STUDY, Ledger
from autolora_meta.studies.options import StudyOptions, read_study
from autolora_meta.studies.plan import Planned, plan


def left(planned: Sequence[Planned], ledger: Ledger, retry_failed: bool = False) -> list[Planned]:
    """Return the runs that are still to do, each once, where several places of a grid share it."""
    rows = ledger.rows()
    kept = {i for i, row in rows.items() if not (retry_failed and row["status"] == "failed")}
    once: dict[str, Planned] = {}
    for run in planned:
        once.setdefault(run.id, run)
    return [run for i, run in once.items() if i not in kept]


def beside(planned: Sequence[Planned], ledger: Ledger) -> int:
    """Return how many finished runs the ledger holds that the plan does not ask for."""
    asked = {run.id for run in planned}
    return sum(i not in asked and r["status"] == "finished" for i, r in ledger.rows().items())


def holds(folder: Path, planned: Sequence[Planned]) -> bool:
    """Return whether a folder holds this plan, or a part of it, begun or finished."""
    file, config = folder / STUDY, folder / "config.yaml"
    damaged = not manifest.whole(file) and manifest.whole(config)
    try:
        if damaged:  # of a run it follows from the configuration
            held = plan(StudyOptions.of(RunConfig.load(config)))
        elif file.is_file():
            held = plan(read_study(file))
        else:
            return False
    except InputError:  # of another version, say
        return False
    return {run.id for run in held} <= {run.id for run in planned}


def read_files(planned: Sequence[Planned], ledger: Ledger) -> set[str] | None:
    """Return the local files that what has finished has read; None: not all are known."""
    done = {i for i, row in ledger.rows().items() if row["status"] == "finished"}
    if done - {run.id for run in planned}:
        return None
    shared = ledger.shared()
    begun = (run.config for run in planned if run.id in done or shared & _keys(run))
    return paths(begun)


def _keys(run: Planned) -> set[str | None]:
    """Return the keys of what a run shares with others."""
    choice = {run.choice.key, *run.choice.searches.values()} if run.choice else set[str]()
    return {*run.searches.values(), run.measured, *choice}
