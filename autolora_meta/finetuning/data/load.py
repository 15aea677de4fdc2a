"""From options to three disjoint splits, whatever the source."""

import logging
from collections.abc import Sequence

from datasets import DatasetDict, concatenate_datasets

from autolora_meta.finetuning.data import class_counts, missing, overlap
from autolora_meta.finetuning.data.assigned import of_one
from autolora_meta.finetuning.data.canonical import canonical
from autolora_meta.finetuning.data.chat_rows import MESSAGES
from autolora_meta.finetuning.data.columns import GROUP
from autolora_meta.finetuning.data.cut import Pools, cut, size
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import values
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.data.shift import OTHER, of_two
from autolora_meta.finetuning.data.sources import Given
from autolora_meta.finetuning.data.wrong_labels import with_wrong_labels
from autolora_meta.foundation.progress import Say

_log = logging.getLogger(__name__)


def load_rows(
    options: DataOptions,
    roles: Sequence[Role],
    seed: int,
    *,
    say: Say = _log.info,
    group: str | None = None,
    given: Given | None = None,
    chat: bool = False,
) -> DatasetDict:
    """Read the source and cut it into train, validation and test rows.

    Test rows are the source's own test split; or its validation split, where the test split is not
    there or has no labels (GLUE); or they are cut from the rows, where it has neither. All other
    labelled rows are pooled, each content once, and train and validation are cut from the pool anew
    for each seed: stratified where there are classes, by whole groups where rows are grouped.
    Where the source has its own test rows they are the same for every seed. With
    `options.evaluation` validation and test rows come from another source (`shift.of_two`).

    Args:
        options: source, columns and sizes.
        roles: the columns that the task reads.
        seed: of the replicate; the split draws from `derive(seed, "split")`.
        say: told what was chosen: columns, dropped rows, where the test rows come from.
        group: the role whose equal values stay on one side of every cut, where the person names no
            column for that (`options.group`).
        given: rows at hand, read in the place of `options.source`: a Dataset, or splits by name.
        chat: whether the task reads conversations too; such rows have other columns
            (`chat_rows.read_columns`), and those with the same messages before the text that is to
            be written stay on one side.

    Returns:
        Splits train, validation and test with the columns that `roles` tells of. Where what is to
        be written has references, the test rows hold those of one input in one row, in the
        column references; target is the first of them.

    Raises:
        InputError: the source cannot be read or cut as asked, or splits hold the same contents.

    Example:
        >>> options = DataOptions(train_rows=200, validation_rows=200)
        >>> load_rows(options, (TEXT, TEXT_PAIR, LABEL), seed=0)  # doctest: +SKIP
    """
    other = options.evaluation
    if other is not None:
        found = of_two(options, other, roles, given, say, chat=chat)
    else:
        found = of_one(options, roles, given, say, chat=chat)
    chosen, roles = found.chosen, found.roles
    used = missing.without(found.parts, chosen, roles, options.missing, say)
    rows = canonical(used, chosen, roles, found.trained, options, say)
    pools = Pools(
        concatenate_datasets([rows[name] for name in found.trained]),
        concatenate_datasets([rows[name] for name in found.held]) if found.held else None,
        rows[found.test] if found.test is not None else None,
    )
    sides = (GROUP, group, MESSAGES if group else None)
    side = next((name for name in sides if name is not None and name in chosen), None)
    pools = _distinct(pools, roles, options, side is not None, say)
    if side is not None:
        say(f"rows with the same {chosen[side]} stay on one side of every cut")
    for words in found.said:
        say(words)
    found_rows = cut(pools, roles, options, side, seed)
    if side == GROUP and options.overlap != "allow":
        overlap.refuse_crossing(found_rows, roles, chosen[GROUP])
    if share := options.flip_labels:
        found_rows["train"] = with_wrong_labels(found_rows["train"], share, roles, seed, say)
    say(", ".join(f"{split} {size(part)}" for split, part in found_rows.items()))
    class_counts.say_counts(found_rows, roles, say)
    return DatasetDict(found_rows)  # type: ignore[arg-type]


def _distinct(
    pools: Pools, roles: Sequence[Role], options: DataOptions, grouped: bool, say: Say
) -> Pools:
    """Return the rows to cut from and the source's own test rows: no repeats, no rare class."""
    held, test = pools.held, pools.test
    if held is not None:
        held = overlap.without_repeats(held, roles, options.overlap, _of(OTHER, say))
        if test is not None:
            sides = "validation", "test"
            held = overlap.apart(held, test, roles, options.overlap, say, sides)
    others = [rows for rows in (held, test) if rows is not None]
    pool = overlap.without_repeats(pools.train, roles, options.overlap, say)
    if others:
        sides = ("train or validation", "test") if held is None else ("train", "validation or test")
        other = concatenate_datasets(others)
        pool = overlap.apart(pool, other, roles, options.overlap, say, sides)
    role = next((role for role in roles if role.kind in ("class", "tags")), None)
    if role is None:
        return Pools(pool, held, test)
    if options.rare == "refuse":
        class_counts.refuse_lost(pools.train, pool, role)
    if held is None and grouped and options.rare == "refuse" and not options.rare_below:
        return Pools(pool, held, test)  # not every part has every class then
    if role.kind == "tags":
        return Pools(pool, held, test)
    cuts = 1 if held is not None else 3 if test is None else 2
    present = {c for rows in (pools.train, *others) for c in values(rows, role.name)}
    least, how = options.rare_below or cuts, options.rare
    pool, others = class_counts.without_rare(pool, others, role.name, present, least, how, say)
    test = None if test is None else others.pop()
    if held is None:
        return Pools(pool, None, test)
    if lacking := class_counts.lacking(pool, others, role.name):
        say(f"warning: {OTHER} has no rows of class {lacking}: nothing is measured of it")
    return Pools(pool, others.pop(), test)


def _of(source: str, say: Say) -> Say:
    return lambda words: say(f"of {source}: {words}")
