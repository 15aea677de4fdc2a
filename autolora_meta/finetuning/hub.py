"""What the name of something on the hub looks like."""

import re

_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")


def could_be_id(name: str) -> bool:
    """Whether `name` has the form of a hub id, `name` or `owner/name`; a path has another.

    >>> could_be_id("FacebookAI/roberta-base"), could_be_id("../models/mine")
    (True, False)
    """
    return _ID.fullmatch(name) is not None
