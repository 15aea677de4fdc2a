"""Rows that say the same: dropped where they repeat, and never on two sides of a cut."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Image

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.columns import GROUP
from autolora_meta.finetuning.data.options import Overlap
from autolora_meta.finetuning.data.part import PLACE, joined, values
from autolora_meta.finetuning.data.roles import READ, Role
from autolora_meta.foundation.progress import Say


def contents(rows: Dataset, roles: Sequence[Role], *, target: bool = False) -> list[Hashable]:
    """Return what each row gives to read: its texts, its tokens, the bytes of its picture.

    What is to be written counts too where `target` is set.
    """
    kinds = {*READ} | ({"references"} if target else set())
    read = [role for role in roles if role.kind in kinds and role.name in rows.column_names]
    columns = [
        _pictures(rows, role.name) if role.kind == "image" else _hashable(rows, role.name)
        for role in read
    ]
    return list(zip(*columns, strict=True))


def without_repeats(pool: Dataset, roles: Sequence[Role], overlap: Overlap, say: Say) -> Dataset:
    """Return each row once, so that a cut cannot put its repeats on both sides.

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
        shown = "; ".join(f"'{_shown(content)[:60]}' ({of})" for content, of in several[:3])
        rest = f"; and {len(several) - 3} more" if len(several) > 3 else ""
        rule = "all of these rows stay" if allowed else "the label of the first row counts"
        say(f"warning: {len(several)} {noun(roles)}s have several labels; {rule}: {shown}{rest}")
    return pool if allowed else pool.select(list(first.values()))


def _labelled_differently(
    pool: Dataset, found: Sequence[Hashable], roles: Sequence[Role]
) -> list[tuple[Hashable, str]]:
    """Return contents with several labels, and these with the first place of each."""
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
        (c, f"{', '.join(map(words, of))}: {joined([*of.values()])}")
        for c, of in labels.items()
        if len(of) > 1
    ]


def apart(
    pool: Dataset,
    test: Dataset,
    roles: Sequence[Role],
    overlap: Overlap,
    say: Say,
    sides: tuple[str, str] = ("train or validation", "test"),
) -> Dataset:
    """Return the rows to cut from without what stands in the source's own test rows.

    All test rows count, those too that are not drawn, so that the rows to cut from do not depend
    on how many are.

    Args:
        pool: the rows to cut from.
        test: the rows that stay as they are.
        roles: the columns that the task reads.
        overlap: whether what stands in both is refused, dropped or allowed.
        say: told how many were dropped.
        sides: what is cut from each of the two.

    Raises:
        InputError: something is, and it is to be refused.
    """
    if overlap == "allow":
        return pool
    kinds = [(noun(roles), contents(pool, roles), contents(test, roles))]
    if GROUP in pool.column_names:
        kinds.append((GROUP, values(pool, GROUP), values(test, GROUP)))
    for what, ours, theirs in kinds:
        crossing = _shared(dict(zip(sides, (ours, theirs), strict=True)))
        if overlap == "refuse" and crossing:
            raise InputError(
                f"{crossing[0]} {what}s stand in more than one of train, validation and test, for "
                f"example in {crossing[1]}; take them out, set data.overlap: drop to have that "
                "done, or data.overlap: allow to insist"
            )
    held = [set(theirs) - {None} for _, _, theirs in kinds]
    ours = zip(*(of_pool for _, of_pool, _ in kinds), strict=True)
    kept = [
        i for i, row in enumerate(ours) if not any(v in h for v, h in zip(row, held, strict=True))
    ]
    if len(kept) == len(pool):
        return pool
    what = " or ".join(kind for kind, _, _ in kinds)
    say(
        f"{len(pool) - len(kept)} rows whose {what} stands in the {sides[1]} rows dropped from the "
        "others"
    )
    return pool.select(kept)


def refuse_crossing(cut: Mapping[str, Dataset], roles: Sequence[Role], column: str) -> None:
    """Refuse groups of the person's own that leave one content on two sides, or no row of a class.

    Raises:
        InputError: they do.
    """
    if crossing := _shared({split: contents(part, roles) for split, part in cut.items()}):
        raise InputError(
            f"data.group '{column}' leaves {crossing[0]} {noun(roles)}s on two sides, for example "
            f"in {crossing[1]}; choose a column that has one value for each, or set data.overlap: "
            "allow to insist"
        )
    for role in roles:
        if role.kind == "class":
            seen = {split: set(values(part, role.name)) for split, part in cut.items()}
            feature = cut["train"].features[role.name]
            assert isinstance(feature, ClassLabel)
            for lost in sorted(set().union(*seen.values()) - seen["train"]):
                raise InputError(
                    f"class '{feature.names[lost]}' has no rows in train: data.group '{column}' "
                    "puts them elsewhere; give more groups of it, more train_rows, or another group"
                )


def noun(roles: Sequence[Role]) -> str:
    """Return what a row is known by, in a word."""
    kinds = {role.kind for role in roles}
    return "picture" if "image" in kinds else "conversation" if "messages" in kinds else "text"


def _shared(found: Mapping[str, Sequence[Hashable]]) -> tuple[int, str] | None:
    """Return how many contents stand in more than one split, and one of them; None: none does."""
    seen: dict[Hashable, str] = {}
    shared: dict[Hashable, str] = {}
    for split, rows in found.items():
        for content in rows:
            first = split if content is None else seen.setdefault(content, split)
            if first != split:
                shared.setdefault(content, f"{first} and {split}: '{_shown(content)[:80]}'")
    return (len(shared), next(iter(shared.values()))) if shared else None


def _shown(content: Hashable) -> str:
    """Return texts of a pair with a bar between, tokens with a space."""
    if not isinstance(content, tuple):
        return str(content)
    return " | ".join(" ".join(part) if isinstance(part, tuple) else str(part) for part in content)


def _hashable(rows: Dataset, column: str) -> list[Hashable]:
    return [tuple(value) if isinstance(value, list) else value for value in values(rows, column)]


def _pictures(rows: Dataset, column: str) -> list[Hashable]:
    """Return a digest of the bytes of each picture; nothing is decoded."""
    digests: list[Hashable] = []
    for row in rows.select_columns([column]).cast_column(column, Image(decode=False)):
        stored = row[column]  # type: ignore[call-overload, index]
        content = stored["bytes"] or Path(stored["path"]).read_bytes()
        digests.append(hashlib.sha256(content).hexdigest())
    return digests
