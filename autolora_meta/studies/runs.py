"""The runs of a study, and what is asked of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autolora_meta.errors import InputError, unknown
from autolora_meta.studies.ledger import Took
from autolora_meta.studies.questions import ARM, Primary, Question
from autolora_meta.studies.schema import Row


@dataclass(frozen=True)
class Runs:
    """The runs of a study, in the order of its grid, and what is asked of them.

    Args:
        name: of the study.
        keys: what tells the runs of one seed apart; `arm` is the last.
        rows: one a run: `settings` (key -> value, without the arm), `arm`, `seed`, `id`, `status`
            (finished, failed, missing); of a failed one `error`; of a finished one `metrics`,
            `compared` (metrics of interest, the main one first), and the columns of
            `schema.COLUMNS` from `parameters` on.
        asked: the questions of the study (`answers.answers` has the answers).
        primary: which of them leads.
        question: what the study asks, in words.
        took: run -> what it took. Equal studies give equal tables whatever they took.
    """

    name: str
    keys: tuple[str, ...]
    rows: tuple[Row, ...]
    asked: tuple[Question, ...] = ()
    primary: Primary = field(default_factory=Primary)
    question: str = ""
    took: Mapping[str, Took] = field(default_factory=dict, compare=False)

    @property
    def finished(self) -> list[Row]:
        """The rows of finished runs.

        Raises:
            InputError: there is none.
        """
        rows = [row for row in self.rows if row["status"] == "finished"]
        if not rows:
            failed = next((row["error"] for row in self.rows if row["status"] == "failed"), None)
            reason = (
                f"the first that failed said: {failed}; when that is mended, run those again that "
                "failed, with --retry-failed (retry_failed=True in Python)"
                if failed
                else "run the study first"
            )
            raise InputError(f"no run of study {self.name} has finished; {reason}")
        return rows

    @property
    def failed(self) -> list[Row]:
        """The rows of runs that failed, with `error`."""
        return [row for row in self.rows if row["status"] == "failed"]

    @property
    def metrics(self) -> list[str]:
        """Metrics of interest that every finished run has, the main one of the first task first.

        Raises:
            InputError: no run has finished, or the tasks of this study share no metric.
        """
        wanted = dict.fromkeys(m for row in self.finished for m in row["compared"])
        shared = [m for m in wanted if all(m in row["metrics"] for row in self.finished)]
        if not shared:
            raise InputError(
                f"the tasks of study {self.name} share none of the metrics {', '.join(wanted)}, so "
                "their runs cannot stand in one table; give each such task a study of its own, or "
                "name a metric that all of them measure in compare.metrics"
            )
        return shared

    def values(self, key: str) -> list[Any]:
        """The values of a key, in the order of the grid.

        Raises:
            InputError: the study has no such key.
        """
        if key not in self.keys:
            raise InputError(unknown("key", key, self.keys))
        found: list[Any] = []
        for row in self.rows:
            if (value := value_of(row, key)) not in found:
                found.append(value)
        return found


def value_of(row: Mapping[str, Any], key: str) -> Any:
    """Return the value that a row has of a key."""
    return row["arm"] if key == ARM else row["settings"][key]
