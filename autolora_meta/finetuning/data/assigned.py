"""Which splits of a source training, validation and test rows come from, and which columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import missing, sources
from autolora_meta.finetuning.data.chat_rows import read_columns
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import Part, Parts
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.data.sources import Given
from autolora_meta.finetuning.data.split_names import TEST, TRAIN, VALIDATION, known
from autolora_meta.foundation.progress import Say


@dataclass(frozen=True)
class Assigned:
    """Splits, by their use.

    Args:
        parts: all that are used, with the columns of `chosen`.
        roles: the columns that rows have: those of the task, or those of a chat.
        chosen: the column of each role, and of `group`.
        trained: names of those that training rows are cut from.
        test: name of the one that is the test rows; None: these are cut.
        held: names of those that validation rows are cut from, and test rows without `test`;
            empty: from `trained`.
        said: what is to be said of it.
    """

    parts: Mapping[str, Part]
    roles: Sequence[Role]
    chosen: Mapping[str, str]
    trained: Sequence[str]
    test: str | None
    held: Sequence[str] = ()
    said: Sequence[str] = ()


def of_one(
    options: DataOptions,
    roles: Sequence[Role],
    given: Given | None,
    say: Say,
    *,
    chat: bool = False,
) -> Assigned:
    """Return the splits of the one source that there is.

    Args:
        options: the source and its columns.
        roles: the columns that the task reads.
        given: rows at hand, read in the place of `options.source`.
        say: told what was chosen.
        chat: whether the task reads conversations too.

    Raises:
        InputError: the source cannot be read, or has no labelled rows to train on.
    """
    source = named(options, given)
    parts = known(sources.read(options, roles, given, say), source, say)
    parts, chosen, roles = read_columns(parts, roles, options, say, chat=chat)
    parts = missing.labelled(parts, chosen, roles, say)
    test = own_test(parts)
    trained = [name for name in parts if name == TRAIN or (name in VALIDATION and name != test)]
    refuse_none(trained, parts, source)
    used = {name: parts[name] for name in (*trained, test) if name is not None}
    said = [f"train and validation rows are cut from the source's {' and '.join(trained)} rows"]
    if test is None:
        said.append("test rows are cut from the source's rows, anew for each seed")
    else:
        said.append(f"test rows are the source's {test} split, the same for each seed")
    return Assigned(used, roles, chosen, trained, test, said=said)


def named(options: DataOptions, given: Given | None) -> str:
    """Return the source by its name, for messages."""
    return "the data given" if given is not None else f"data.source '{options.source}'"


def own_test(parts: Parts) -> str | None:
    """Return the split that is a source's own test rows; None: it has none."""
    return next((name for name in (*TEST, *VALIDATION) if name in parts), None)


def refuse_none(trained: Sequence[str], parts: Parts, source: str) -> None:
    """Refuse a source without a split to train on.

    Raises:
        InputError: it is one.
    """
    if not trained:
        labelled = f"labelled rows in {', '.join(parts)} only" if parts else "no labelled rows"
        raise InputError(f"{source} has {labelled}; a split called {TRAIN} with labels is needed")
