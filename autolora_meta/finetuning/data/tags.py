"""Schemes of entity tags: which one a corpus follows, and tags that no entity can have.

An entity's words carry its type behind a prefix. IOB2: B- on the first word, I- on the others.
IOB1: I- on all, and B- only on the first of an entity that follows another of its type. BIOES
(BILOU) also marks the last word, E- (L-), and an entity of one word, S- (U-). Words outside carry
O.
(Ramshaw and Marcus 1995; Ratinov and Roth 2009.)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from autolora_meta.errors import InputError

Scheme = Literal["IOB1", "IOB2", "BIOES", "plain"]
Tags = Sequence[Sequence[str]]  # (sentences, tokens)
OUTSIDE = "O"
_BIOES = {"L": "E", "U": "S"}  # BILOU's letters for the same


def uniform(
    splits: Mapping[str, Tags], place: Callable[[str, int, int], str], say: Callable[[str], None]
) -> dict[str, list[list[str]]]:
    """The tags of all splits in one scheme: IOB1 becomes IOB2, and BILOU becomes BIOES.

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
    """The type of the entity that a tag belongs to; the tag itself where it has no prefix.

    >>> kind("B-DNA"), kind("O")
    ('DNA', 'O')
    """
    return tag[2:] if tag[1:2] == "-" else tag


def is_entity_tags(found: Iterable[str]) -> bool:
    """Whether all are tags of entities, and not all outside of one.

    >>> is_entity_tags({"O", "B-LOC"}), is_entity_tags({"O"}), is_entity_tags({"B-52", "plane"})
    (True, False, False)
    """
    inside = [tag for tag in found if tag != OUTSIDE]
    return bool(inside) and all(tag[0] in "BIESLU" and tag[1:2] == "-" for tag in inside)


def ordered(tags: Iterable[str]) -> list[str]:
    """O first, then by type, B before I: the numbers that a head gives to tags."""
    return sorted(set(tags), key=lambda tag: (tag != OUTSIDE, kind(tag), tag))


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
    """The first tag that cannot stand where it does, and why; None where all can."""
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
    """Each tag behind the one before it."""
    return zip([OUTSIDE, *sentence], sentence, strict=False)


def _same(before: str, tag: str) -> bool:
    return before != OUTSIDE and kind(before) == kind(tag)


def _letter(tag: str) -> str:
    return _BIOES.get(tag[:1], tag[:1])


def _iob2(sentence: Sequence[str]) -> list[str]:
    """B- on the first word of each entity of an IOB1 sentence."""
    return [
        f"B-{kind(tag)}" if tag.startswith("I-") and not _same(before, tag) else tag
        for before, tag in _pairs(sentence)
    ]
