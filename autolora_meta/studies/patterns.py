"""Arms of random patterns: which they are, and which of a table are measured together."""

from collections.abc import Sequence

from autolora_meta.foundation import plugins
from autolora_meta.studies.questions import ARM
from autolora_meta.studies.runs import Runs

UNIFORM = "uniform"
_FAMILY = "pattern"


def patterns_of(count: int) -> list[str]:
    """Return the arms of a headroom of so many patterns, with what they are held against.

    >>> patterns_of(2), patterns_of(0)
    (['uniform', 'pattern:1', 'pattern:2'], [])
    """
    return [UNIFORM, *(f"{_FAMILY}:{i}" for i in range(1, count + 1))] if count else []


def is_pattern(arm: str) -> bool:
    """Return whether an arm is a random pattern."""
    member = plugins.numbered(arm)
    return member is not None and member[0] == _FAMILY


def measured_together(table: Runs) -> Sequence[str]:
    """Return the random patterns of a table of one point that no question names."""
    if table.keys != (ARM,):
        return []
    asked = [one for one in table.asked if one.key == ARM]
    named = {arm for one in asked for arm in (one.baseline, *(one.values or ()))}
    every = any(one.values is None for one in asked)
    arms = table.values(ARM)
    return [arm for arm in arms if is_pattern(arm) and not (every or arm in named)]
