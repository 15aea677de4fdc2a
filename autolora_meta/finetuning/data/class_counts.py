"""How many rows each class has: counted, said, and classes that have too few."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetInfo, Features

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.classes import refuse_lone, some
from autolora_meta.finetuning.data.options import Rare
from autolora_meta.finetuning.data.part import PLACE, joined, values
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.data.tags import kind
from autolora_meta.foundation.progress import Say

OTHER = "other"
_SHOWN = 20  # classes in a line, at most


def without_rare(
    pool: Dataset,
    others: Sequence[Dataset],
    label: str,
    present: Collection[int],
    least: int,
    how: Rare,
    say: Say,
) -> tuple[Dataset, list[Dataset]]:
    """Return the rows without classes that have too few, or with these made one.

    Args:
        pool: the rows to cut from, each content once.
        others: rows that are not counted, such as the source's own test rows.
        label: the column of the class.
        present: classes that had rows before repeats were dropped.
        least: rows that a class needs in `pool`.
        how: what is done with a class that has fewer.

    Raises:
        InputError: there are such classes and they are to be refused, or too little is left.
    """
    names = pool.features[label].names
    counts = Counter(values(pool, label))
    rare = sorted(c for c in present if counts[c] < least)
    if not rare:
        return pool, [*others]
    shown = ", ".join(f"{names[c]} ({counts[c]})" for c in rare)
    if how == "refuse":
        raise InputError(_too_few(pool, label, rare, least))
    what = "dropped" if how == "drop" else f"made one class, '{OTHER}'"
    say(f"classes with fewer than {least} rows {what}: {shown}")
    order = [name for c, name in enumerate(names) if c not in rare]
    if how == "merge":
        order = [*(name for name in order if name != OTHER), OTHER]
        if (rows := sum(n for c, n in counts.items() if c in rare or names[c] == OTHER)) < least:
            raise InputError(
                f"data.rare: merge gives class '{OTHER}' {rows} rows ({shown}), and it needs "
                f"{least}; choose data.rare: drop, or name the class that takes it in: "
                f'data.classes: {{"{names[rare[0]]}": "another"}}'
            )
    refuse_lone(order, label)
    number = {name: i for i, name in enumerate(order)}
    of_rare = number[OTHER] if how == "merge" else None
    numbers = [of_rare if c in rare else number[name] for c, name in enumerate(names)]
    new, *rest = (_numbered_anew(rows, label, order, numbers) for rows in (pool, *others))
    return new, rest


def lacking(pool: Dataset, others: Sequence[Dataset], label: str) -> str:
    """Return the classes of a pool that none of the other rows has, in words; empty: it has all."""
    held = {c for rows in others for c in values(rows, label)}
    names = pool.features[label].names
    lost = {names[c] for c in values(pool, label) if c not in held}
    return some(lost) if lost else ""


def _numbered_anew(
    rows: Dataset, label: str, names: list[str], numbers: Sequence[int | None]
) -> Dataset:
    """Return the rows with new numbers of classes, without those whose class has none."""
    labels = [numbers[c] for c in values(rows, label)]
    kept = [i for i, number in enumerate(labels) if number is not None]
    table: pa.Table = rows.select(kept).with_format("arrow")[:]  # type: ignore[assignment]
    column = pa.array([labels[i] for i in kept], pa.int64())
    table = table.set_column(table.column_names.index(label), label, column)
    features = Features({**rows.features, label: ClassLabel(names=names)})
    return Dataset(table, info=DatasetInfo(features=features))


def _too_few(pool: Dataset, label: str, rare: Sequence[int], least: int) -> str:
    """Say which classes have fewer rows than `least`, where these stand, and what can be done."""
    names = [name[:40] for name in pool.features[label].names]
    places: dict[int, list[str]] = {c: [] for c in rare}
    for place, c in zip(values(pool, PLACE), values(pool, label), strict=True):
        if c in places:
            places[c].append(place)
    stand = "; ".join(
        f"class '{names[c]}' has {len(of)} rows, too few" + (f" ({joined(of)})" if of else "")
        for c, of in list(places.items())[:5]
    )
    more = f"; and {len(rare) - 5} more classes" if len(rare) > 5 else ""
    return (
        f"{stand}{more}: each class needs {least} (one in each part that is cut, or "
        "data.rare_below); give more rows of it, drop or merge all such classes (data.rare: drop, "
        f'or merge), or rename it to another (data.classes: {{"{names[rare[0]]}": "another"}})'
    )


def refuse_lost(before: Dataset, after: Dataset, role: Role) -> None:
    """Refuse rows that lost a whole class where repeats, or rows of the test split, were dropped.

    A tag is lost when no tag of its kind is left.

    Raises:
        InputError: they did.
    """
    names, labels = _names(before, role)
    left = {names[c] for row in _names(after, role)[1] for c in row}
    lost = {names[c] for row in labels for c in row} - left
    if not lost:
        return
    stood = zip(values(before, PLACE), labels, strict=True)
    places = [place for place, row in stood if any(names[c] in lost for c in row)]
    out = f"leave the class out (data.classes: {{{min(lost)}: null}}), " * (role.kind == "class")
    raise InputError(
        f"class {some(lost)} has no rows left: all of them repeat rows with other labels or of "
        f"the test split ({joined(places)}); mend their labels, {out}or keep "
        "repeats (data.overlap: allow)"
    )


def counts(rows: Mapping[str, Dataset], roles: Sequence[Role]) -> dict[str, dict[str, int]]:
    """Return rows of each class in each split, or words with each tag; empty without classes."""
    role = next((role for role in roles if role.kind in ("class", "tags")), None)
    if role is None:
        return {}
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for split, part in rows.items():
        feature: Any = part.features[role.name]
        number = Counter(c for row in _names(part, role)[1] for c in row)
        for c, name in enumerate(getattr(feature, "feature", feature).names):
            found[name][split] = number[c]
    return dict(found)


def _names(rows: Dataset, role: Role) -> tuple[list[str], list[list[int]]]:
    """Return the name of each class, or the kind of each tag, and the numbers of each row."""
    feature: Any = rows.features[role.name]
    labels = values(rows, role.name)
    if role.kind == "tags":
        return [kind(tag) for tag in feature.feature.names], labels
    return feature.names, [[label] for label in labels]


def say_counts(rows: Mapping[str, Dataset], roles: Sequence[Role], say: Say) -> None:
    """Say in a line what `counts` gives, if there are classes or tags."""
    if found := counts(rows, roles):
        tagged = any(role.kind == "tags" for role in roles)
        what = "tags, words" if tagged else "classes, rows"
        shown = [
            f"{name[:40]} {', '.join(str(n) for n in of.values())}" for name, of in found.items()
        ]
        rest = f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        listed = "; ".join(shown[:_SHOWN])
        say(f"{len(found)} {what} of each ({', '.join(rows)}): {listed}{rest}")
