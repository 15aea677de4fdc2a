"""What a person can say about their data."""

from typing import Annotated

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
    allow_overlap: bool = Field(
        default=False,
        description="go on although the same texts stand in two splits; false: repeats among the "
        "rows to cut from are dropped, and a text of the source's own test split is refused there",
    )
