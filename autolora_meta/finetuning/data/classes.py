"""Classes: their names as a source spells them, cleaned, and their numbers."""

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from datasets import ClassLabel

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import Part, Parts, values
from autolora_meta.foundation.progress import Say

_NOTHING = ("none", "null", "n/a", "na")


def numbered(
    parts: Parts, column: str, trained: Collection[str], options: DataOptions, say: Say
) -> tuple[ClassLabel, dict[str, list[int | None]]]:
    """Return the names of the classes, and the class of each row; None: a row that is left out.

    White space around names is stripped. Names and numbers are as the source has them, where it
    has both; else the names are sorted.

    Args:
        parts, column: all rows labelled.
        trained: the splits that rows to train on are cut from.
        options: `classes` has other names for some; where `rare` ones are not refused, a class may
            stand in test rows alone.
        say: told of names that look alike, and how many rows were left out.

    Raises:
        InputError: a label is no name and no whole number, there is one class only, or a class
            stands in test rows alone.
    """
    declared, renamed = declared_names(parts, column), options.classes
    spelled = {split: _spelled(part, column, declared) for split, part in parts.items()}
    found = {name for names in spelled.values() for name in names}
    for name in renamed:
        if name not in found | {*declared}:
            raise InputError(f"data.classes: {unknown('class', name, found)}")
    named = {split: [renamed.get(n, n) for n in names] for split, names in spelled.items()}
    for name, other in renamed.items():
        if other is None:
            rows = sum(names.count(name) for names in spelled.values())
            say(f"data.classes: {rows} rows of class '{name}' dropped")
    kept = {name for names in named.values() for name in names if name is not None}
    say_alike(kept, "classes", say)
    refuse_lone(kept, column)
    if options.rare == "refuse":
        _refuse_unseen(parts, named, column, trained)
    if declared:
        order = list(dict.fromkeys(n for n in (renamed.get(n, n) for n in declared) if n))
    else:
        order = _ordered(kept)
    number = {name: i for i, name in enumerate(order)}
    return ClassLabel(names=order), {
        split: [None if name is None else number[name] for name in names]
        for split, names in named.items()
    }


def declared_names(parts: Parts, column: str) -> list[str]:
    """Return the names that the source gives to its classes or tags; none where it has none.

    White space around them is stripped, so that two of them may be the same.

    Raises:
        InputError: splits have different ones.
    """
    found: dict[str, tuple[str, ...]] = {}
    for split, part in parts.items():
        feature = part.rows.features[column]
        inner = getattr(feature, "feature", feature)
        found[split] = tuple(inner.names or ()) if isinstance(inner, ClassLabel) else ()
    if len(set(found.values())) > 1:
        shown = "; ".join(
            f"{split}: {', '.join(names[:8]) or 'none'}" for split, names in found.items()
        )
        raise InputError(
            f"column '{column}' has other names of classes in one split than in another ({shown}); "
            "cast them alike (Dataset.cast_column)"
        )
    return [name.strip() for name in next(iter(found.values()))]


def refuse_lone(found: Collection[object], column: str) -> None:
    """Refuse labels that are all the same.

    Raises:
        InputError: they are.
    """
    if len(found) < 2:
        one = f"one class only ('{next(iter(found))}')" if found else "no labelled rows"
        raise InputError(f"column '{column}' has {one}; a classifier needs two or more")


def _spelled(part: Part, column: str, declared: list[str]) -> list[str]:
    """Return the name of each row's class."""
    if declared:
        return [declared[value] for value in values(part.rows, column)]
    names = []
    for i, value in enumerate(values(part.rows, column)):
        if isinstance(value, list | dict | bytes) or _fraction(value):
            raise InputError(
                f"{part.place(i)}: column '{column}' holds {repr(value)[:60]}, not classes; "
                "allowed are names or whole numbers (task.type: regression learns real numbers)"
            )
        names.append(str(int(value)) if isinstance(value, float) else str(value).strip())
    return names


def _fraction(value: object) -> bool:
    """Return whether it is a number, or written as one, and not a whole one."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return not number.is_integer() and (isinstance(value, float) or number - number == 0)


def _ordered(names: Iterable[str]) -> list[str]:
    """Sort numbers by their size, "2" before "10", and other names by the alphabet."""
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)


def say_alike(names: Iterable[str], what: Literal["classes", "tags"], say: Say) -> None:
    """Name those that differ by case, white space or the way a number is written only.

    Classes too whose names say that there is none.
    """
    names = sorted(names)
    alike: dict[object, list[str]] = defaultdict(list)
    for name in names:
        alike[_folded(name)].append(name)
    for group in alike.values():
        if len(group) > 1:
            shown = ", ".join(f"'{name}'" for name in group)
            one = ", ".join(f'"{name}": "{group[-1]}"' for name in group[:-1])
            mend = f"say so: data.classes: {{{one}}}" if what == "classes" else "mend them"
            say(
                f"warning: {shown} are {len(group)} {what} that look like one; if they are one, "
                + mend
            )
    for name in names:
        if what == "classes" and name.lower() in _NOTHING:
            say(
                f"warning: '{name}' is taken for the name of a class; if it says that a label is "
                f'missing: data.classes: {{"{name}": null}}'
            )


def _folded(name: str) -> object:
    """Return what is the same for names that look alike."""
    try:
        return float(name)
    except ValueError:
        seen = [c for c in name if unicodedata.category(c) != "Cf"]  # nothing of no width
        return " ".join(unicodedata.normalize("NFKC", "".join(seen)).casefold().split())


def _refuse_unseen(
    parts: Parts, named: Mapping[str, list], column: str, trained: Collection[str]
) -> None:
    seen = {name for split in trained for name in named[split]}
    folded = {_folded(name): name for name in seen if name is not None}
    for split, names in named.items():
        for i, name in enumerate(names):
            if name not in seen and name is not None:
                twin = folded.get(_folded(name))
                mend = f"if it is '{twin}', say so" if twin else "give rows of it, or leave it out"
                other = "null" if twin is None else f'"{twin}"'
                raise InputError(
                    f"{parts[split].place(i)}: the class '{name}' of column '{column}' is in none "
                    f"of the rows to train on ({some(seen - {None})} are); {mend}: data.classes: "
                    f'{{"{name}": {other}}}'
                )


def some(found: Collection[object]) -> str:
    """Return the first names, and how many more there are, in words."""
    names = sorted(str(value)[:40] for value in found)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
