"""StudyTable: what the runs of a study gave, a row for each, and what may be concluded from it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autolora_meta.errors import InputError, unknown
from autolora_meta.studies.contrasts import Contrast, Row, contrasts, value_of
from autolora_meta.studies.options import ARM, SEED, StudyOptions
from autolora_meta.studies.plan import Planned, value_label

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class StudyTable:
    """A row for each run of a study, in the order of its grid.

    Args:
        name: of the study.
        keys: what tells the runs of one seed apart; `arm` is the last.
        rows: one a run: `settings` (key -> value, without the arm), `arm`, `seed`, `id`, `status`
            (finished, failed, missing); of a failed one `error`; of a finished one `metrics`,
            `compared` (metrics of interest, the main one first), `parameters`, `ranks` and `cost`,
            plain steps of its searches and retraining.
        took: run -> what choosing its ranks took, searches included: `seconds` of wall time, which
            jobs beside it make longer, and `peak_memory`, bytes above the loaded model, or None.
            Equal studies give equal tables whatever they took.
    """

    name: str
    keys: tuple[str, ...]
    rows: tuple[Row, ...]
    took: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict, compare=False)

    @classmethod
    def of(
        cls,
        options: StudyOptions,
        planned: Sequence[Planned],
        ended: Mapping[str, Row],
        jobs: Mapping[str, Mapping[str, Any]],
    ) -> "StudyTable":
        """The table of a plan, of what has ended (id -> its line in the ledger) and of its jobs.

        Args:
            jobs: id of a run or key of a search -> what it took (`Ledger.took`).
        """
        rows = []
        for run in planned:
            row = {"settings": dict(run.settings), "arm": run.arm, "seed": run.seed, "id": run.id}
            row |= ended.get(run.id, {"status": "missing"})
            if row["status"] == "finished":  # which are looked at is the study's to say, even later
                row["compared"] = run.config.compare.compared(row["compared"])
            rows.append(row)
        # As JSON has them, so that a table that is loaded equals the one that was saved.
        took = {}
        for run in planned:
            told = [jobs[key] for key in (run.id, *run.searches.values()) if key in jobs]
            if len(told) == 1 + len(run.searches):
                memory = [job["peak_memory"] for job in told if job["peak_memory"] is not None]
                seconds = sum(job["allocation_seconds"] for job in told)
                took[run.id] = {"seconds": seconds, "peak_memory": max(memory, default=None)}
        return cls(options.name, options.keys, tuple(json.loads(json.dumps(rows))), took)

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

    def to_pandas(self) -> "pandas.DataFrame":
        """One row a run: its keys, seed, status, parameters, cost, what it took and every metric.

        A value that is a list or a mapping is written as in the sentences.
        """
        import pandas

        plain = (str, int, float, type(None))
        records = []
        for row in self.rows:
            values = {key: value_of(row, key) for key in self.keys}
            record = {k: v if isinstance(v, plain) else value_label(v) for k, v in values.items()}
            record |= {k: row.get(k) for k in (SEED, "status", "parameters", "cost", "error")}
            records.append(record | dict(self.took.get(row["id"], {})) | row.get("metrics", {}))
        return pandas.DataFrame(records)

    def compare(
        self,
        key: str = ARM,
        *,
        baseline: Any,
        metric: str | None = None,
        over: Sequence[str] = (),
        level: float = 0.95,
    ) -> list[Contrast]:
        """Every other value of a key against the baseline, all else equal, paired over seeds.

        All that one call compares is one family of Holm's correction, but what chose the same ranks
        with the same metrics and cannot differ. Of several calls each is one more chance to find
        what is not there: `answers.answers` corrects all that a study asks.

        A seed counts where both runs have finished; what no seed has on both sides is left out, and
        so are runs held against themselves, or against the same others again, where a setting does
        not reach an arm.

        >>> for contrast in table.compare("arm", baseline="uniform"):  # doctest: +SKIP
        ...     print(contrast.sentence)

        Args:
            key: `arm`, `variant` or a key of `vary`.
            baseline: the value of it that differences are taken from.
            metric: None: the main one of the task.
            over: keys whose values are averaged within each seed, such as the one that names the
                data. A seed stays one replicate.
            level: of the intervals.

        Raises:
            InputError: there is no such key, value or metric, or no run has finished.
        """
        return contrasts(self, key, baseline, metric, over, level)

    def save(self, path: str | Path) -> None:
        """Write the table as JSON; equal studies give equal bytes but for `took`."""
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "StudyTable":
        """Read `table.json`, or that of a study's folder.

        Raises:
            InputError: there is no such file, or it is no table of a study.
        """
        path = Path(path)
        path = path / "table.json" if path.is_dir() else path
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows = tuple(content["rows"])
            return cls(content["name"], tuple(content["keys"]), rows, content.get("took", {}))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no table of a study of this tool: {error}") from None
