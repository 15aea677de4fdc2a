"""From a source's own columns to ours: text, text_pair where there is one, label (a ClassLabel)."""

from collections.abc import Callable, Iterable
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data.options import DataOptions

# Tried in this order where the person names no column: (text, its partner).
TEXTS = (
    ("text", None),
    ("sentence", None),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("review", None),
    ("content", None),
)
LABELS = ("label", "labels", "class", "category", "target")
UNLABELLED = -1  # what GLUE writes in the place of a test label


def canonical(
    splits: DatasetDict, options: DataOptions, say: Callable[[str], None]
) -> dict[str, Dataset]:
    """Every split with our columns, without rows whose text is empty and unlabelled splits.

    Args:
        splits: the source's splits, each with its own columns.
        options: the names of the columns, where the person gave them.
        say: told which columns are read and what was dropped.

    Raises:
        InputError: a column is missing, labels are missing or no classes, no row is left, or there
            is one class only.
    """
    first = splits["train"] if "train" in splits else next(iter(splits.values()))
    text, pair = _texts(first.column_names, options)
    label = _column("label", options.label, first.column_names, LABELS)
    say(f"columns read: text = {text}, text_pair = {pair}, label = {label}")

    values: dict[str, list] = {}
    for split, rows in ((str(name), part) for name, part in splits.items()):
        for column in filter(None, (text, pair, label)):
            _column("label" if column == label else "text", column, rows.column_names, ())
        labels = list(rows[label])
        if labels and all(value in (None, UNLABELLED) for value in labels):
            say(f"split {split} has no labels: left out")
        else:
            values[split] = labels
    names, number = _classes(values, first.features[label], label)

    features = {"text": Value("string"), "text_pair": Value("string")}
    features = {**features, "label": ClassLabel(names=names)}
    if pair is None:
        del features["text_pair"]
    kept: dict[str, Dataset] = {}
    for split, labels in values.items():
        texts = [_clean(value) for value in splits[split][text]]
        pairs = [_clean(value) for value in splits[split][pair]] if pair else texts
        full = [i for i, (a, b) in enumerate(zip(texts, pairs, strict=True)) if a and b]
        if len(full) < len(texts):
            say(f"split {split}: {len(texts) - len(full)} rows with an empty text dropped")
        if not full:
            raise InputError(
                f"no row of split '{split}' has a text in '{text}'"
                + (f" and '{pair}'" * bool(pair))
            )
        columns: dict[str, list] = {"text": [texts[i] for i in full]}
        if pair:
            columns["text_pair"] = [pairs[i] for i in full]
        columns["label"] = [number[labels[i]] for i in full]
        kept[split] = Dataset.from_dict(columns, features=Features(features))
    return kept


def _texts(there: list[str], options: DataOptions) -> tuple[str, str | None]:
    if options.text is None:
        for text, pair in TEXTS:
            if text in there and (pair is None or pair in there):
                if options.text_pair is not None:
                    pair = _column("text_pair", options.text_pair, there, ())
                return text, pair
    text = _column("text", options.text, there, [name for name, _ in TEXTS])
    pair = options.text_pair
    return text, None if pair is None else _column("text_pair", pair, there, ())


def _column(key: str, given: str | None, there: list[str], tried: Iterable[str]) -> str:
    """The column to read for `key`: the one given, or the first of `tried` that is there."""
    if given is not None:
        if given not in there:
            raise InputError(
                f"data.{key}: {unknown('column', given, there)} (a file without a header line is "
                "read when text and label are column numbers, from 1)"
            )
        return given
    for name in tried:
        if name in there:
            return name
    raise InputError(
        f"data.{key} is not given and no column is called {', '.join(tried)}; "
        f"columns there: {', '.join(there)}; name one of them"
    )


def _clean(value: object) -> str:
    return "" if value is None else str(value).strip()


def _classes(
    values: dict[str, list], feature: Any, column: str
) -> tuple[list[str], dict[object, int]]:
    """Names of the classes, and the number of each value: as the source has them, or sorted."""
    for split, labels in values.items():
        missing = [i for i, value in enumerate(labels) if value in (None, "", UNLABELLED)]
        if missing:
            raise InputError(
                f"split '{split}' has {len(missing)} rows without a '{column}', the first is row "
                f"{missing[0] + 1}; label them or take them out"
            )
    found = {value for labels in values.values() for value in labels}
    fractions = sorted(v for v in found if isinstance(v, float) and not v.is_integer())
    if fractions:
        raise InputError(
            f"column '{column}' holds numbers such as {fractions[0]}, not classes; allowed are "
            "names or whole numbers"
        )
    if len(found) < 2:
        one = f"one class only ('{next(iter(found))}')" if found else "no labelled rows"
        raise InputError(f"column '{column}' has {one}; a classifier needs two or more")
    if isinstance(feature, ClassLabel):
        names = list(feature.names)
        return names, {i: i for i in range(len(names))}
    try:  # "2" before "10"
        order = sorted(found, key=float)
    except (TypeError, ValueError):
        order = sorted(found, key=str)
    names = [f"{value:g}" if isinstance(value, float) else str(value) for value in order]
    return names, {value: i for i, value in enumerate(order)}
