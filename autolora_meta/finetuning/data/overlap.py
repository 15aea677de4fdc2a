"""Rows that say the same: dropped where they repeat, kept off both sides of a cut."""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset, Image

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import splits
from autolora_meta.finetuning.data.columns import GROUP
from autolora_meta.finetuning.data.part import PLACE, joined, values
from autolora_meta.finetuning.data.roles import Role

Say = Callable[[str], None]


def contents(rows: Dataset, roles: Sequence[Role], *, target: bool = False) -> list[Hashable]:
    """What each row gives to read: its texts, its tokens, the bytes of its picture.

    Args:
        rows: with our columns.
        roles: what the task reads.
        target: whether what is to be written counts too.
    """
    kinds = {"text", "tokens", "image"} | ({"references"} if target else set())
    read = [role for role in roles if role.kind in kinds and role.name in rows.column_names]
    columns = [
        _pictures(rows, role.name) if role.kind == "image" else _hashable(rows, role.name)
        for role in read
    ]
    return list(zip(*columns, strict=True))


def without_repeats(
    pool: Dataset, roles: Sequence[Role], overlap: Literal["refuse", "drop", "allow"], say: Say
) -> Dataset:
    """Each row once, so that a cut cannot put its repeats on both sides.

    The first of them stays, with its label, and where repeats have other labels that is said. All
    stay where an overlap is allowed.
    """
    first: dict[Hashable, int] = {}
    found = contents(pool, roles, target=True)
    for i, content in enumerate(found):
        first.setdefault(content, i)
    repeats = len(pool) - len(first)
    if not repeats:
        return pool
    what = " and the target" if any(role.kind == "references" for role in roles) else ""
    allowed = overlap == "allow"
    say(
        f"{repeats} rows that repeat the {noun(roles)}{what} of an earlier row "
        + ("stay (data.overlap: allow)" if allowed else "dropped")
    )
    if several := _labelled_differently(pool, found, roles):
        shown = "; ".join(f"'{splits.shown(content)[:60]}' ({of})" for content, of in several[:3])
        rest = f"; and {len(several) - 3} more" if len(several) > 3 else ""
        rule = "all of these rows stay" if allowed else "the label of the first row counts"
        say(f"warning: {len(several)} {noun(roles)}s have several labels; {rule}: {shown}{rest}")
    return pool if allowed else pool.select(list(first.values()))


def _labelled_differently(
    pool: Dataset, found: Sequence[Hashable], roles: Sequence[Role]
) -> list[tuple[Hashable, str]]:
    """The contents that stand with several labels, and these with the first place of each."""
    role = next((role for role in roles if role.kind in ("class", "number", "tags")), None)
    if role is None:
        return []
    feature = pool.features[role.name]
    labels: dict[Hashable, dict[Hashable, str]] = {}
    given = _hashable(pool, role.name)
    for content, label, place in zip(found, given, values(pool, PLACE), strict=True):
        labels.setdefault(content, {}).setdefault(label, place)

    def words(label: Any) -> str:
        if role.kind == "class":
            return feature.int2str(label)
        return " ".join(feature.feature.int2str([*label])) if role.kind == "tags" else str(label)

    return [
        (c, f"{', '.join(map(words, of))}: {joined([*of.values()][:5], len(of))}")
        for c, of in labels.items()
        if len(of) > 1
    ]


def apart(
    pool: Dataset,
    test: Dataset,
    roles: Sequence[Role],
    overlap: Literal["refuse", "drop", "allow"],
    say: Say,
) -> Dataset:
    """The rows to cut from, when nothing of the source's own test rows is to be among them.

    All test rows count, those too that are not drawn, so that the rows to cut from do not depend
    on how many are.

    Raises:
        InputError: something is, and it is to be refused.
    """
    if overlap == "allow":
        return pool
    kinds = [(noun(roles), contents(pool, roles), contents(test, roles))]
    if GROUP in pool.column_names:
        kinds.append((GROUP, values(pool, GROUP), values(test, GROUP)))
    for what, ours, theirs in kinds:
        if overlap == "refuse":
            _refuse(what, ours, theirs)
    held = [set(theirs) - {None} for _, _, theirs in kinds]
    ours = zip(*(of_pool for _, of_pool, _ in kinds), strict=True)
    kept = [
        i for i, row in enumerate(ours) if not any(v in h for v, h in zip(row, held, strict=True))
    ]
    if len(kept) == len(pool):
        return pool
    what = " or ".join(kind for kind, _, _ in kinds)
    say(
        f"{len(pool) - len(kept)} rows whose {what} stands in the test rows dropped from the others"
    )
    return pool.select(kept)


def noun(roles: Sequence[Role]) -> str:
    """What a row is known by, in a word."""
    return "picture" if any(role.kind == "image" for role in roles) else "text"


def _refuse(what: str, ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> None:
    found = splits.overlap({"train or validation": ours, "test": theirs})
    if found:
        number, example = found
        raise InputError(
            f"{number} {what}s stand in more than one of train, validation and test, for example "
            f"in {example}; take them out, set data.overlap: drop to have that done, or "
            "data.overlap: allow to insist"
        )


def _hashable(rows: Dataset, column: str) -> list[Hashable]:
    return [tuple(value) if isinstance(value, list) else value for value in values(rows, column)]


def _pictures(rows: Dataset, column: str) -> list[Hashable]:
    """A digest of the bytes of each picture; nothing is decoded."""
    digests: list[Hashable] = []
    for row in rows.select_columns([column]).cast_column(column, Image(decode=False)):
        stored = row[column]  # type: ignore[call-overload, index]
        content = stored["bytes"] or Path(stored["path"]).read_bytes()
        digests.append(hashlib.sha256(content).hexdigest())
    return digests
