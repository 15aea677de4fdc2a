"""Which of a source's columns is read for each role: those that are named, or by stated rules.

Where nothing is named, a role takes the first of its `tried` that is there, in small letters or
others; the second text of a pair takes the partner of the first text's column (`roles.PARTNERS`).
"""

from collections.abc import Sequence

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import Parts
from autolora_meta.finetuning.data.roles import PARTNERS, TEXT_PAIR, Role
from autolora_meta.foundation.progress import Say

GROUP = "group"
KEYS = (  # of DataOptions
    *("text", "text_pair", "label", "tokens", "tags", "target", "image"),
    *("messages", "prompt", "completion", "instruction", "input", "output"),
)


def choose(parts: Parts, roles: Sequence[Role], options: DataOptions, say: Say) -> dict[str, str]:
    """Return the source's column for each role, and for `group` where the person named one.

    Raises:
        InputError: a column is missing, in the first split or in another, or one is named that
            the task does not read.
    """
    _refuse_roles_of_others(roles, options)
    there = next(iter(parts.values())).rows.column_names
    chosen: dict[str, str] = {}
    for role in roles:
        given = getattr(options, role.name, None)
        tried = role.tried
        if role.name == TEXT_PAIR.name:
            partner = PARTNERS.get(chosen["text"].lower()) if options.text is None else None
            tried = (partner,) if partner else ()
        column = _column(role, given, there, tried)
        if column is not None:
            chosen[role.name] = column
    if options.group is not None:
        chosen[GROUP] = _named(GROUP, options.group, there)
    for split, part in parts.items():
        for name, column in chosen.items():
            if column not in part.rows.column_names:
                raise InputError(
                    f"data.{name}: split '{split}' has no column '{column}', which another split "
                    f"has; columns there: {', '.join(part.rows.column_names)}; mend it, or leave "
                    "the split out (data.splits)"
                )
    say("columns read: " + ", ".join(f"{name} = {column}" for name, column in chosen.items()))
    if unread := [name for name in there if name not in chosen.values()]:
        say(f"columns not read: {', '.join(unread)}")
    return chosen


def called(tried: Sequence[str], there: Sequence[str]) -> str | None:
    """Return the first of the names that a column has, in small letters or others; None: none.

    >>> called(("text", "review"), ["id", "Review"])
    'Review'
    """
    for name in tried:
        alike = [column for column in there if column.lower() == name]
        if name in there or len(alike) == 1:
            return name if name in there else alike[0]
    return None


def _column(role: Role, given: str | None, there: list[str], tried: Sequence[str]) -> str | None:
    if given is not None:
        return _named(role.name, given, there)
    if found := called(tried, there):
        return found
    if not role.required:
        return None
    shown = ", ".join(f"'{name[:40]}...'" if len(name) > 40 else name for name in there)
    several = any(column.startswith(f"{name} (column ") for name in tried for column in there)
    twice = " (a name that stands twice has its column beside it)" if several else ""
    raise InputError(
        f"data.{role.name} is not given and no column is called {', '.join(tried)}; columns there: "
        f"{shown}{twice}; name one of them. For a file without a header line, give the columns' "
        "numbers, from 1"
    )


def _named(key: str, given: str, there: list[str]) -> str:
    if given not in there:
        raise InputError(
            f"data.{key}: {unknown('column', given, there)} (a file without a header line is read "
            "when columns are named by number, from 1)"
        )
    return given


def _refuse_roles_of_others(roles: Sequence[Role], options: DataOptions) -> None:
    read = [role.name for role in roles]
    for key in KEYS:
        if getattr(options, key) is not None and key not in read:
            raise InputError(
                f"data.{key} is '{getattr(options, key)}', and this task reads {', '.join(read)}; "
                f"take data.{key} out, or choose another task.type"
            )
    asked = options.classes or options.rare != "refuse" or options.rare_below
    if asked and not any(role.kind == "class" for role in roles):
        raise InputError(
            "data.classes, data.rare and data.rare_below are about classes of rows, and this task "
            "has none; take them out, or choose another task.type"
        )
