"""Which split a file, a folder or a part of a dataset holds, by its name."""

import re

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.part import Part, Parts
from autolora_meta.foundation.progress import Say

TRAIN = "train"
TEST = ("test", "test_matched")
VALIDATION = ("validation", "validation_matched", "valid", "val", "dev", "eval")
_WORDS = {
    "train": ("train", "training"),
    "validation": (
        *("validation", "validate", "valid", "val", "eval", "evaluation"),
        *("dev", "devel", "development"),
    ),
    "test": ("test", "testing", "tests"),
}
_SPLIT = {word: split for split, words in _WORDS.items() for word in words}
_BESIDE = {"set", "split", "data", "dataset", "file", "images", "image", "imgs", "pictures"}


def split_of(name: str) -> str | None:
    """Return the split that a name says; None: it says none.

    >>> split_of("Testing"), split_of("dev-set"), split_of("valset"), split_of("train (1)")
    ('test', 'validation', 'validation', None)
    """
    words = [
        re.sub(r"(.)set$", r"\1", word) for word in re.split(r"[^a-z0-9]+", name.lower()) if word
    ]
    told = [word for word in words if word not in _BESIDE]
    return _SPLIT.get(told[0]) if len(told) == 1 else None


def known(parts: Parts, source: str, say: Say) -> dict[str, Part]:
    """Return the splits whose names say what they are for, train first.

    Raises:
        InputError: no name does.
    """
    names = (TRAIN, *TEST, *VALIDATION)
    told = {name: name for name in parts if name in names}
    for name in parts:
        if name not in names and (split := split_of(name)):
            told.setdefault(split, name)
    if not told:
        raise InputError(
            f"{source} has the splits {', '.join(parts)}; a split called {TRAIN} is needed; say "
            "which is which with data.splits"
        )
    if others := [name for name in parts if name not in told.values()]:
        say(f"splits not read: {', '.join(others)}")
    return {name: parts[told[name]] for name in names if name in told}
