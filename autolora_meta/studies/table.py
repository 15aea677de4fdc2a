"""StudyTable: what the runs of a study gave, and what may be concluded from it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autolora_meta.config.tune import in_words
from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest
from autolora_meta.foundation.json_files import read_json
from autolora_meta.foundation.places import replace_text
from autolora_meta.studies import schema
from autolora_meta.studies.answers import answers
from autolora_meta.studies.contrasts import Contrast, contrasts
from autolora_meta.studies.labels import value_label
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.options import StudyOptions
from autolora_meta.studies.plan import Planned
from autolora_meta.studies.questions import ARM, Question
from autolora_meta.studies.runs import Runs

if TYPE_CHECKING:
    import pandas

FILE = "table.json"
_AGAIN = "run the study again: it writes the table from results.jsonl, and nothing runs twice"


@dataclass(frozen=True)
class StudyTable(Runs):
    """The runs of a study, and what may be concluded from them."""

    @classmethod
    def of(cls, options: StudyOptions, planned: Sequence[Planned], ledger: Ledger) -> "StudyTable":
        """Return the table of a plan, of what has ended, and of what that took."""
        rows, ended = [], ledger.rows()
        for run in planned:
            row = {"settings": dict(run.settings), "arm": run.arm, "seed": run.seed, "id": run.id}
            row |= ended.get(run.id, {"status": "missing"})
            if row["status"] == "finished":  # which are looked at is the study's to say, even later
                row["compared"] = run.config.compare.compared(row["compared"])
                if "tuned" in row:
                    row["tuned"] = in_words(row["tuned"])
                row["pattern"] = schema.pattern_of(row["ranks"])
            rows.append(row)
        # As JSON has them, so that a table that is loaded equals the one that was saved.
        rows = schema.runs_of(
            json.loads(json.dumps([v for row in rows for v in schema.values_of(row)])),
            options.keys,
        )
        return cls(
            options.name,
            options.keys,
            tuple(rows),
            options.asked(),
            options.primary(),
            options.question,
            ledger.took(),
        )

    def to_pandas(self) -> "pandas.DataFrame":
        """Return one row a value (`schema.COLUMNS`), and what its run took.

        A setting that is a list or a mapping is written as in the sentences.

        >>> frame = table.to_pandas()                                         # doctest: +SKIP
        >>> frame[frame.metric == "accuracy"].groupby("arm").value.mean()     # doctest: +SKIP
        """
        import pandas

        plain = (str, int, float, type(None))
        records = []
        for row in self.rows:
            told = self.took[row["id"]].to_dict() if row["id"] in self.took else {}
            for value in schema.values_of(row):
                labels = {
                    k: value[k] if isinstance(value[k], plain) else value_label(value[k])
                    for k in self.keys
                }
                records.append(value | labels | told)
        return pandas.DataFrame(records)

    def compare(
        self,
        key: str = ARM,
        *,
        baseline: Any,
        values: Sequence[Any] | None = None,
        metric: str | None = None,
        over: Sequence[str] = (),
        level: float = 0.95,
    ) -> list[Contrast]:
        """Return values of a key against the baseline, all else equal, paired over seeds.

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
            values: those that are held against it; None: every other value.
            metric: None: the main one of the task; `all`: every metric of interest.
            over: keys whose values are averaged within each seed, such as the one that names the
                data. A seed stays one replicate.
            level: of the intervals.

        Raises:
            InputError: there is no such key, value or metric, or no run has finished.
        """
        question = Question(
            key=key,
            baseline=baseline,
            values=None if values is None else tuple(values),
            metric=metric,
            over=tuple(over),
        )
        return contrasts(self, question, level)

    def sentences(self) -> list[str]:
        """Return what can and cannot be concluded, the primary comparison first."""
        found = [contrast for each in answers(self) for contrast in each]
        ordered = sorted(found, key=lambda contrast: not contrast.primary)
        return list(dict.fromkeys(contrast.sentence for contrast in ordered))

    def save(self, path: str | Path) -> None:
        """Write the table as JSON (`schema`), whole or not at all; equal tables give equal bytes.

        >>> pandas.read_json("runs/mine/table.json", orient="table")  # doctest: +SKIP
        """
        about = {
            "name": self.name,
            "question": self.question,
            "keys": self.keys,
            "asked": [one.model_dump(mode="json") for one in self.asked],
            "primary": self.primary.model_dump(mode="json"),
        }
        lines = [json.dumps(value) for row in self.rows for value in schema.values_of(row)]
        rows = ",\n  ".join(lines)
        head = json.dumps(about | {"schema": {"fields": schema.fields(self.keys)}}, indent=1)
        with manifest.sealing_again(Path(path)):
            replace_text(Path(path), f'{head[:-2]},\n "data": [\n  {rows}\n ]\n}}\n')

    @classmethod
    def load(cls, path: str | Path) -> "StudyTable":
        """Read a `table.json`, or that of the folder of a run or a study.

        Raises:
            InputError: there is no such file, it is no table of a study, or it is damaged.
        """
        path = Path(path)
        path = path / FILE if path.is_dir() else path
        manifest.refuse_damaged(path.parent, _AGAIN, path.name)
        content = read_json(path, schema.StoredTable, what="is no table of a study", again=_AGAIN)
        keys, asked, primary = tuple(content["keys"]), content["asked"], content["primary"]
        try:
            rows = schema.runs_of(content["data"], keys)
            schema.refuse_beyond(rows)
        except (KeyError, ValueError) as error:
            raise InputError(f"{path} is no table of a study ({error}); {_AGAIN}") from None
        if ARM not in keys or not 0 <= primary.question < max(len(asked), 1):
            raise InputError(
                f"{path} is no table of a study (its keys or its primary question are not of it); "
                f"{_AGAIN}"
            )
        took = Ledger(path.parent).took()
        about = content["name"], keys, tuple(rows), tuple(asked), primary, content["question"]
        return cls(*about, took)
