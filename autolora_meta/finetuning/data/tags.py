"""Tags of words: read from a column, brought into one scheme, numbered.

An entity's words carry its type behind a prefix. IOB2: B- on the first word, I- on the others.
IOB1: I- on all, and B- only on the first of an entity that follows another of its type. BIOES
(BILOU) also marks the last word, E- (L-), and an entity of one word, S- (U-). Words outside carry
O.
(Ramshaw and Marcus 1995; Ratinov and Roth 2009.)
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from datasets import ClassLabel

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.classes import declared_names, refuse_lone, say_alike, some
from autolora_meta.finetuning.data.part import Part, Parts, values
from autolora_meta.foundation.progress import Say

Scheme = Literal["IOB1", "IOB2", "BIOES", "plain"]
Tags = Sequence[Sequence[str]]  # (sentences, tokens)
OUTSIDE = "O"
_BIOES = {"L": "E", "U": "S"}  # BILOU's letters for the same


def numbered(
    parts: Parts, columns: tuple[str, str], trained: Collection[str], say: Say
) -> tuple[ClassLabel, dict[str, list[list[str]]], dict[str, list[list[int]]]]:
    """Return the names of the tags, and tokens and tags of each row.

    Args:
        columns: of tokens and of tags.
        trained: the splits that rows to train on are cut from.
        say: told which scheme the tags follow.

    Raises:
        InputError: a row does not hold lists of one length, a tag is impossible where it stands,
            or a kind of entity stands in test rows alone.
    """
    names = declared_names(parts, columns[1])
    tokens = {split: _lists(part, columns[0]) for split, part in parts.items()}
    found = {
        split: [[tag.strip() for tag in row] for row in _lists(part, columns[1], names)]
        for split, part in parts.items()
    }
    for split, part in parts.items():
        for i, (words, marks) in enumerate(zip(tokens[split], found[split], strict=True)):
            if len(words) != len(marks):
                raise InputError(
                    f"{part.place(i)}: {len(words)} in '{columns[0]}' and {len(marks)} in "
                    f"'{columns[1]}'; each token needs one tag"
                )
    found = uniform(found, lambda split, i, token: parts[split].place(i, token), say)
    used = {tag for rows in found.values() for row in rows for tag in row}
    say_alike(used, "tags", say)
    _refuse_unseen(parts, found, columns[1], trained)
    if not names or not used <= set(names):  # names of our own, or changed by another scheme
        # O first, then by type, B before I.
        names = sorted(used, key=lambda tag: (tag != OUTSIDE, kind(tag), tag))
    names = list(dict.fromkeys(names))
    refuse_lone(used, columns[1])
    number = {tag: i for i, tag in enumerate(names)}
    numbers = {
        split: [[number[tag] for tag in row] for row in rows] for split, rows in found.items()
    }
    return ClassLabel(names=names), tokens, numbers


def _lists(part: Part, column: str, names: Sequence[str] = ()) -> list[list[str]]:
    """Return the list of strings of each row; the names of numbers, where `names` has some."""
    found: list[list[str]] = []
    for i, row in enumerate(values(part.rows, column)):
        cell: Any = row
        if names:  # None for a number that has none, such as -100
            cell = [names[tag] if 0 <= tag < len(names) else None for tag in row or ()]
        if not isinstance(cell, list) or not all(str("" if v is None else v).strip() for v in cell):
            raise InputError(
                f"{part.place(i)}: column '{column}' holds {str(cell)[:60]!r}; allowed is a list "
                "with a word, or a tag, in each place (a CoNLL file has one on each line)"
            )
        found.append([str(inner) for inner in cell])
    return found


def _refuse_unseen(
    parts: Parts, found: Mapping[str, Tags], column: str, trained: Collection[str]
) -> None:
    seen = {kind(tag) for split in trained for row in found[split] for tag in row}
    for split, rows in found.items():
        for i, row in enumerate(rows):
            for token, tag in enumerate(row):
                if kind(tag) not in seen:
                    raise InputError(
                        f"{parts[split].place(i, token)}: the tag {tag} of column '{column}' is of "
                        f"a kind that is in none of the rows to train on ({some(seen)} are); give "
                        "rows of it, or take it out"
                    )


def uniform(
    splits: Mapping[str, Tags], place: Callable[[str, int, int], str], say: Say
) -> dict[str, list[list[str]]]:
    """Return the tags of all splits in one scheme: IOB1 becomes IOB2, and BILOU becomes BIOES.

    Tags without prefixes, such as parts of speech, stay as they are.

    Args:
        splits: tags of each split.
        place: where a tag stands, from its split, sentence and token.
        say: told which scheme was found.

    Raises:
        InputError: a tag cannot stand where it does.
    """
    lists = {split: [list(sentence) for sentence in tags] for split, tags in splits.items()}
    found = {tag for tags in lists.values() for sentence in tags for tag in sentence}
    scheme = _scheme(found, lists.values())
    if scheme == "plain":
        return lists
    for split, tags in lists.items():
        for row, sentence in enumerate(tags):
            if mistake := _mistake(sentence, scheme):
                i, reason = mistake
                raise InputError(
                    f"{place(split, row, i)}: the tag {sentence[i]} is impossible in {scheme}: "
                    f"{reason}; mend the tags there"
                )
            if scheme == "IOB1":
                tags[row] = _iob2(sentence)
            elif scheme == "BIOES":
                tags[row] = [_letter(tag) + tag[1:] for tag in sentence]
    say(f"tags follow {scheme}" + (", read as IOB2" if scheme == "IOB1" else ""))
    return lists


def kind(tag: str) -> str:
    """Return the type of the entity that a tag belongs to; the tag itself where it has no prefix.

    >>> kind("B-DNA"), kind("O")
    ('DNA', 'O')
    """
    return tag[2:] if tag[1:2] == "-" else tag


def is_entity_tags(found: Iterable[str]) -> bool:
    """Return whether all are tags of entities, and not all outside of one.

    >>> is_entity_tags({"O", "B-LOC"}), is_entity_tags({"O"}), is_entity_tags({"B-52", "plane"})
    (True, False, False)
    """
    inside = [tag for tag in found if tag != OUTSIDE]
    return bool(inside) and all(tag[0] in "BIESLU" and tag[1:2] == "-" for tag in inside)


def _scheme(found: set[str], splits: Iterable[Tags]) -> Scheme:
    prefixes = {tag[0] for tag in found if tag[1:2] == "-"}
    if not prefixes or not prefixes <= set("BIESLU"):
        return "plain"
    if prefixes & set("ESLU"):
        return "BIOES"
    for tags in splits:
        for sentence in tags:
            for before, tag in _pairs(sentence):
                # IOB1 has B- behind an entity of the same type only.
                if tag.startswith("B-") and not _same(before, tag):
                    return "IOB2"
    return "IOB1"


def _mistake(sentence: Sequence[str], scheme: Scheme) -> tuple[int, str] | None:
    """Return the first tag that cannot stand where it does, and why; None where all can."""
    for i, (before, tag) in enumerate(_pairs([*sentence, OUTSIDE])):
        if tag != OUTSIDE and (tag[1:2] != "-" or not tag[2:]):
            return i, f"allowed are {OUTSIDE} and a prefix with a type, such as B-{tag or 'X'}"
        letter, follows = _letter(tag), _same(before, tag)
        if scheme == "IOB2" and letter == "I" and not follows:
            return i, f"it follows {before}, and an entity begins with B-"
        if scheme == "BIOES":
            opened, inside = _letter(before) in ("B", "I"), letter in ("I", "E")
            if inside and not (opened and follows):
                return i, f"it follows {before}, and an entity begins with B-, or is one S- (U-)"
            if opened and not inside:
                after = "the sentence ends" if i == len(sentence) else f"{tag} follows"
                return i - 1, f"{after}, and an entity ends with E- (L-)"
    return None


def _pairs(sentence: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Pair each tag with the one before it."""
    return zip([OUTSIDE, *sentence], sentence, strict=False)


def _same(before: str, tag: str) -> bool:
    return before != OUTSIDE and kind(before) == kind(tag)


def _letter(tag: str) -> str:
    return _BIOES.get(tag[:1], tag[:1])


def _iob2(sentence: Sequence[str]) -> list[str]:
    """Put B- on the first word of each entity of an IOB1 sentence."""
    return [
        f"B-{kind(tag)}" if tag.startswith("I-") and not _same(before, tag) else tag
        for before, tag in _pairs(sentence)
    ]
