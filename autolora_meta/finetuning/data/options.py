"""What a person can say about their data."""

from typing import Annotated, Literal

from pydantic import Field

from autolora_meta.options import Options

# A number of rows, or a share of the rows that there are to cut from.
Rows = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None


class DataOptions(Options):
    """Where the rows come from, which columns are read, and how many rows each split gets."""

    source: str = Field(
        default="stdlib-docs",
        description="stdlib-docs (docstrings of the running Python's standard library), the path "
        "of a file (csv, tsv, json, jsonl, parquet) or folder, or the id of a dataset on the hub",
    )
    name: str | None = Field(
        default=None, description="configuration of a hub dataset, for example cola of nyu-mll/glue"
    )
    revision: str | None = Field(
        default=None, description="branch, tag or commit of a hub dataset; fixes what is loaded"
    )
    text: str | None = Field(
        default=None,
        description="column of the text; null: the first of text, sentence, sentence1, premise, "
        "question1, question, review, content that is there. A number (from 1) in a file "
        "without a header line",
    )
    text_pair: str | None = Field(
        default=None,
        description="column of the second text, if any; null: the partner of sentence1, premise, "
        "question1 or question where text is null too",
    )
    label: str | None = Field(
        default=None,
        description="column of the class; null: the first of label, labels, class, category, "
        "target",
    )
    train_rows: Rows = Field(
        default=None,
        description="rows for the inner problem: a number, a share below 1 of the rows to cut "
        "from, or null: what the other splits leave, in equal parts where several are null",
    )
    validation_rows: Rows = Field(
        default=None,
        description="rows for the outer problem; as train_rows, cut from the same rows",
    )
    test_rows: Rows = Field(
        default=None,
        description="rows for evaluation; as train_rows, but where the source has a test split "
        "of its own, null means all of that",
    )
    overlap: Literal["refuse", "drop", "allow"] = Field(
        default="refuse",
        description="what is done with texts of the source's own test rows that stand among the "
        "rows to cut from too: refuse (stop and say which), drop (take them out there, and say how "
        "many) or allow (go on; what is measured then looks better than it is). Repeats among the "
        "rows to cut from are dropped, unless allow",
    )
