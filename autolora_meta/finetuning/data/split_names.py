"""Which split a file, a folder or a part of a dataset holds, by its name."""

import re

_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "devel": "validation",
    "development": "validation",
    "eval": "validation",
    "evaluation": "validation",
    "test": "test",
    "testing": "test",
    "tests": "test",
}
_BESIDE = {"set", "split", "data", "dataset", "file", "images", "image", "imgs", "pictures"}


def split_of(name: str) -> str | None:
    """The split that a name says; None: it says none.

    >>> split_of("Testing"), split_of("dev-set"), split_of("valset"), split_of("train (1)")
    ('test', 'validation', 'validation', None)
    """
    words = [
        re.sub(r"(.)set$", r"\1", word) for word in re.split(r"[^a-z0-9]+", name.lower()) if word
    ]
    told = [word for word in words if word not in _BESIDE]
    return _WORDS.get(told[0]) if len(told) == 1 else None
