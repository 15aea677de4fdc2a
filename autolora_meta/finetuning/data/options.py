"""What a person can say about their data."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from autolora_meta.foundation.options import LATER, Options

Split = Literal["train", "validation", "test"]
Overlap = Literal["refuse", "drop", "allow"]
Missing = Literal["refuse", "drop"]
Rare = Literal["refuse", "drop", "merge"]
# A number of rows, or a share of the rows that there are to cut from.
Rows = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None


class EvaluationOptions(Options):
    """Another source for validation and test rows, to study what a shift of the data does."""

    source: str | dict[Literal["validation", "test"], str] = Field(
        description="Source of the validation and test rows, of the kinds that data.source takes; "
        "or a path for each of the two: {validation: a.tsv, test: b.tsv}.",
    )
    name: str | None = Field(default=None, description="As data.name, of this source.")
    revision: str | None = Field(default=None, description="As data.revision, of this source.")
    splits: dict[Literal["validation", "test"], str] | None = Field(
        default=None,
        description="Split of this source for validation or test rows, or for both; others are not "
        "read. null: by their names, where test rows are the split test or, without one, "
        "validation; of one split both are cut.",
    )

    @field_validator("source", "splits")
    @classmethod
    def _names_one(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value:
            raise ValueError("names no split; name validation, test or both")
        return value


class DataOptions(Options):
    """Where the rows come from, which columns are read, and how many rows each split gets.

    The columns that a task reads are its roles; a column named for a role that the task does not
    have is refused.
    """

    source: str | dict[Split, str] = Field(
        default="stdlib-docs",
        description="Source of the rows: stdlib-docs (docstrings of the running Python's standard "
        "library), stdlib-chat (questions about its names, answered by them), the path of a file "
        "(csv, tsv, json, jsonl, parquet, arrow, CoNLL, meaning||reference text) or folder (a file "
        "a split, save_to_disk, or pictures with a folder for each class), or the id of a dataset "
        "on the hub; or a path for each split: "
        "{train: a.tsv, test: b.tsv}.",
    )
    name: str | None = Field(
        default=None,
        description="Configuration of a hub dataset, for example cola of nyu-mll/glue.",
    )
    revision: str | None = Field(
        default=None, description="Branch, tag or commit of a hub dataset; fixes what is loaded."
    )
    splits: dict[Split, str] | None = Field(
        default=None,
        description="Split of the source for each role, for example {train: train, test: "
        "validation_mismatched}; others are not read. null: by their names, where test is the "
        "split test or, where that is missing or has no labels, validation.",
    )
    evaluation: EvaluationOptions | None = Field(
        default=None,
        description="Another source for validation and test rows; null: all rows are of one. "
        "Training rows are then those of the split train of data.source. The retraining trains on "
        "training and validation rows, as ever.",
    )
    text: str | None = Field(
        default=None,
        description="Column of the text; null: the first that the task knows and that is there. "
        "A number (from 1) in a file without a header line.",
    )
    text_pair: str | None = Field(
        default=None,
        description="Column of the second text, if any; null: the partner of sentence1, premise, "
        "question1, question or text where text is null too.",
    )
    label: str | None = Field(
        default=None,
        description="Column of the class, or of the number in a regression; null: the first of "
        "label, labels, class, category, target and others that the task knows.",
    )
    tokens: str | None = Field(
        default=None,
        description="Column of the words of a sentence; null: tokens, words. In a CoNLL file the "
        "first field.",
    )
    tags: str | None = Field(
        default=None,
        description="Column of the tags, one for each word; null: the first that the task knows. "
        "In a CoNLL file the last field, or the number (from 1) of a field between the two.",
    )
    target: str | None = Field(
        default=None,
        description="Column of what is to be written, a text or a list of texts that say the same; "
        "null: the first that the task knows.",
    )
    image: str | None = Field(
        default=None,
        description="Column of the picture: an image of a dataset, or the path of a file; null: "
        "the first that the task knows.",
    )
    messages: str | None = Field(
        default=None,
        description="Column of the conversation, for causal-lm and generation: a list of {role, "
        "content}, or of ShareGPT's {from, value}; null: messages, conversations, conversation.",
        json_schema_extra=LATER,
    )
    prompt: str | None = Field(
        default=None,
        description="Column of what a completion follows, for causal-lm and generation: a text, or "
        "a list of messages; null: prompt.",
        json_schema_extra=LATER,
    )
    completion: str | None = Field(
        default=None,
        description="Column of what follows the prompt, as the prompt a text or a list of "
        "messages; null: completion.",
        json_schema_extra=LATER,
    )
    instruction: str | None = Field(
        default=None,
        description="Column of the instruction in rows like Alpaca's, for causal-lm and "
        "generation; null: instruction.",
        json_schema_extra=LATER,
    )
    input: str | None = Field(
        default=None,
        description="Column of what the instruction is about, which may be empty; null: input.",
        json_schema_extra=LATER,
    )
    output: str | None = Field(
        default=None,
        description="Column of the answer to the instruction; null: output.",
        json_schema_extra=LATER,
    )
    group: str | None = Field(
        default=None,
        description="Column whose equal values stay on one side of every cut, for example the "
        "document or the author; null: none, and for generation the text that is written about.",
    )
    train_rows: Rows = Field(
        default=None,
        description="Rows for the inner problem: a number, a share below 1 of the rows to cut "
        "from, or null: what the other splits leave, in equal parts where several are null. Where "
        "rows are grouped, whole groups are taken until the number is reached.",
    )
    validation_rows: Rows = Field(
        default=None,
        description="Rows for the outer problem; as train_rows, cut from the same rows.",
    )
    test_rows: Rows = Field(
        default=None,
        description="Rows for evaluation; as train_rows, but where the source has a test split "
        "of its own, null means all of that.",
    )
    overlap: Overlap = Field(
        default="refuse",
        description="Treatment of texts of the source's own test rows that are also among the "
        "rows to cut from: refuse (stop and say which), drop (take them out there, and say how "
        "many) or allow (go on; what is measured then looks better than it is). Repeats among the "
        "rows to cut from are dropped, unless allow.",
    )

    missing: Missing = Field(
        default="refuse",
        description="Treatment of rows whose label is missing (null, NaN, an empty field) or "
        "whose text is null or NaN: refuse (stop and say where they stand) or drop (leave them out "
        "and say how many). Rows whose text is empty are always left out and counted.",
    )
    classes: dict[str, str | None] = Field(
        default_factory=dict,
        description="Classes that get another name, for example {Pos: pos, neutral: null}: one of "
        "the name of another class is merged into it, and rows of one that is null are left out.",
    )
    rare: Rare = Field(
        default="refuse",
        description="Treatment of classes with too few rows: refuse, drop (leave their rows "
        "out, in the test rows too) or merge (make all of them one class, other).",
    )
    rare_below: int | None = Field(
        default=None,
        ge=2,
        description="Rows that a class needs, repeats not counted; null: one for each part that "
        "the rows are cut into.",
    )

    flip_labels: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the training rows that get a wrong class on purpose, anew for each "
        "seed, to see what a method does with noise; validation and test rows keep theirs. The "
        "retraining trains on both.",
    )

    @field_validator("classes", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {str(k): None if v is None else str(v) for k, v in value.items()}

    @field_validator("source", "splits")
    @classmethod
    def _with_train(cls, value: str | dict[Split, str] | None) -> str | dict[Split, str] | None:
        if isinstance(value, dict) and "train" not in value:
            raise ValueError(
                f"names {', '.join(value) or 'no split'}; train is needed, and validation and "
                "test may be named too"
            )
        return value
