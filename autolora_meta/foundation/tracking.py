"""Experiment trackers, through accelerate: figures of searches and retrainings."""

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.tracking import (
    GeneralTracker,
    MLflowTracker,
    TensorBoardTracker,
    TrackioTracker,
    WandBTracker,
)

from autolora_meta.errors import InputError

_LOG = logging.getLogger(__name__)

# (project, name of the curve's run, folder for files) -> a tracker that has not started
START: dict[str, Callable[[str, str, Path], GeneralTracker]] = {
    "tensorboard": lambda project, name, folder: TensorBoardTracker(name, folder / "tensorboard"),
    "wandb": lambda project, name, folder: WandBTracker(project, name=name, group=project),
    "trackio": lambda project, name, folder: TrackioTracker(project, name=name),
    "mlflow": lambda project, name, folder: MLflowTracker(project, run_name=name),
}


class Trackers:
    """The trackers that a configuration names.

    They run in the process that starts the jobs, and get the figures of a job when it has ended,
    from the files that it left. Each job is a run of its own, so that curves of arms and seeds can
    be laid over each other. A tracker that fails is dropped with a warning: `metrics.jsonl` holds
    everything.

    >>> trackers = Trackers(["tensorboard"], "mine", "runs/mine/trackers")    # doctest: +SKIP
    >>> trackers.search("search/learned/seed-0", "runs/mine")

    Args:
        names: from `START`.
        project: name under which the jobs are grouped.
        folder: where a tracker that writes files puts them.

    Raises:
        InputError: the package of a tracker is not installed.
    """

    def __init__(self, names: Iterable[str], project: str, folder: str | Path) -> None:
        self._names, self._project, self._folder = list(names), project, Path(folder)
        for name in self._names:
            if find_spec(name) is None:
                raise InputError(
                    f"runtime.report_to names {name}, which is not installed; install it "
                    f'(pip install "autolora-meta[{name}]"), or leave it out'
                )

    def search(self, name: str, folder: str | Path) -> None:
        """Send the figures of a search at each outer step.

        Args:
            name: of the job.
            folder: what `SearchResult.save` wrote; pooled searches are sent one by one.
        """
        folder = Path(folder)
        members = sorted((folder / "search").glob("*/metrics.jsonl"), key=lambda f: f.parent.name)
        for file in members or [folder / "metrics.jsonl"]:
            own = f"{name}/{file.parent.name}" if members else name
            self.tell(own, [_prefixed("search", row) for row in self._rows(file)])

    def retrain(self, name: str, folder: str | Path, metrics: Mapping[str, float]) -> None:
        """Send the loss of a retraining at each step, and the metrics on the test rows.

        Args:
            name: of the job.
            folder: holds `retrain.jsonl`.
            metrics: on the test rows.
        """
        rows = [_prefixed("retrain", row) for row in self._rows(Path(folder) / "retrain.jsonl")]
        last = rows[-1]["step"] if rows else 0
        self.tell(name, [*rows, _prefixed("test", {"step": last, **metrics})])

    def _rows(self, file: Path) -> list[dict[str, Any]]:
        """Return the rows of a file, or none if there are no trackers."""
        if not self._names:
            return []
        try:
            return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            _LOG.warning("trackers are not told of %s: %s: %s", file, type(error).__name__, error)
            return []

    def tell(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Send one job to every tracker.

        Args:
            name: of the job.
            rows: figures with their `step`, in the order of the steps; values that are not finite
                numbers are left out.
        """
        rows = list(rows)
        for kind in list(self._names):
            try:
                PartialState()  # accelerate's trackers refuse to work without it
                tracker = START[kind](self._project, name, self._folder)
                tracker.start()
                try:
                    for row in rows:
                        figures = {k: v for k, v in row.items() if k != "step" and _is_figure(v)}
                        tracker.log(figures, step=row["step"])
                finally:
                    tracker.finish()
            except Exception as error:  # whatever a network or a service may do
                self._names.remove(kind)
                _LOG.warning(
                    "%s failed and is told no more; the figures are in metrics.jsonl and "
                    "retrain.jsonl: %s: %s",
                    *(kind, type(error).__name__, error),
                )


def _prefixed(stage: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {key if key == "step" else f"{stage}/{key}": value for key, value in row.items()}


def _is_figure(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)
