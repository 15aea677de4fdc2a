"""The schema of table.json: one row a value, as pandas and other tools of the field read it.

The file is a Tabular Data Resource with a Table Schema (specs.frictionlessdata.io/table-schema):
`schema.fields` names, types and describes each column, `data` holds the rows.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired

from typing_extensions import TypedDict

from autolora_meta.foundation.json_files import AS_IT_STANDS, Count, Part, Size
from autolora_meta.foundation.progress import Row
from autolora_meta.studies.questions import Primary, Question

# Column -> its type and what it is. A column for each key of the study stands after `run`.
COLUMNS: dict[str, tuple[str, str]] = {
    "run": ("string", "id of the run: its folder below runs/; equal ids are one run"),
    "seed": ("integer", "of the replicate: of its split, search, shuffle and retraining"),
    "status": ("string", "finished, failed, or missing: not run yet"),
    "metric": ("string", "what is measured on the test rows; none of an unfinished run"),
    "value": ("number", "of the metric"),
    "compared": ("boolean", "the metric is one of interest; the first of a run is the main one"),
    "parameters": ("number", "trainable adapter parameters, the head apart"),
    "cost": ("number", "plain steps of search and retraining"),
    "pattern": ("string", "hash of the rank of every layer: equal where the ranks are"),
    "stack": ("number", "adapters trained in one pass with its own, that one included"),
    "tuned": ("string", "what the run picked of compare.tune; none where there is nothing to pick"),
    "start": ("string", "of the retraining: scratch, or search: it went on from what that trained"),
    "blind": ("boolean", "the search had learned nothing"),
    "blind_answer": ("string", "why the metrics show nothing learned; none where they do"),
    "error": ("string", "of a failed run"),
}


class StoredValue(TypedDict):
    """A row of the file: `COLUMNS`, and one for each key of the study."""

    run: Part
    arm: Part
    seed: Count
    status: Literal["finished", "failed", "missing"]
    metric: str | None
    value: float | None
    compared: bool | None
    parameters: Size | None
    cost: Size | None
    pattern: str | None
    stack: NotRequired[Count | None]
    tuned: NotRequired[str | None]
    start: str | None
    blind: bool | None
    blind_answer: str | None
    error: str | None


class StoredTable(TypedDict):
    """The whole file."""

    name: str
    question: str
    keys: list[str]
    asked: list[Question]
    primary: Primary
    data: list[Annotated[StoredValue, AS_IT_STANDS]]


_BEYOND = 1e150  # its square is no double
_OF_RUN = (
    "parameters",
    "cost",
    "pattern",
    "stack",
    "tuned",
    "start",
    "blind",
    "blind_answer",
    "error",
)


def fields(keys: Sequence[str]) -> list[dict[str, str]]:
    """Return the fields of the schema.

    Args:
        keys: what tells the runs of one seed apart.
    """
    each = [
        {"name": name, "type": kind, "description": words}
        for name, (kind, words) in COLUMNS.items()
    ]
    own = [
        {"name": key, "type": "any", "description": "what the run has of this key"} for key in keys
    ]
    return [each[0], *own, *each[1:]]


def values_of(row: Mapping[str, Any]) -> list[Row]:
    """Return the rows of the file about one run: one a metric, those of interest first."""
    head = {"run": row["id"], **row["settings"], "arm": row["arm"], "seed": row["seed"]}
    head |= {"status": row["status"]}
    tail = {key: row.get(key) for key in _OF_RUN}
    compared, metrics = row.get("compared", ()), row.get("metrics", {})
    names = [*compared, *(name for name in metrics if name not in compared)]
    if not metrics:
        return [head | {"metric": None, "value": None, "compared": None} | tail]
    return [
        head | {"metric": name, "value": metrics[name], "compared": name in compared} | tail
        for name in names
        if name in metrics
    ]


def runs_of(values: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> list[Row]:
    """Return the runs behind rows of the file (`values_of`), in their order.

    Raises:
        KeyError: a row lacks a column.
        ValueError: a metric has no value, or a finished run no metric.
    """
    found: dict[str, Row] = {}
    for value in values:
        settings = {key: value[key] for key in keys if key != "arm"}
        place = json.dumps([value["run"], settings, value["arm"]], sort_keys=True)
        row = found.setdefault(
            place,
            {"settings": settings, "arm": value["arm"], "seed": value["seed"], "id": value["run"]}
            | {"status": value["status"]}
            | {key: value[key] for key in _OF_RUN if value.get(key) is not None},
        )
        if value["metric"] is None and row["status"] == "finished":
            raise ValueError(f"run {value['run']} has finished and has no metric")
        if value["metric"] is not None:
            if value["value"] is None or value["compared"] is None:
                raise ValueError(f"run {value['run']} has no {value['metric']}")
            row.setdefault("metrics", {})[value["metric"]] = value["value"]
            row.setdefault("compared", []).extend([value["metric"]] * value["compared"])
    return list(found.values())


def refuse_beyond(rows: Iterable[Row]) -> None:
    """Refuse metrics that no sum of replicates and no axis of a figure can hold.

    Raises:
        ValueError: a run has one.
    """
    for row in rows:
        for name, value in row.get("metrics", {}).items():
            if _BEYOND < abs(value) < math.inf:
                raise ValueError(f"run {row['id']} has {name} {value:g}")


def pattern_of(ranks: Mapping[str, int]) -> str:
    """Return the hash of a rank pattern that stands in the column `pattern`."""
    return hashlib.sha256(json.dumps(ranks, sort_keys=True).encode()).hexdigest()[:12]
