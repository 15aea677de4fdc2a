"""Work that serves several runs of a study, whose ways to read ranks may be impossible."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError, WorkFailed
from autolora_meta.foundation.places import becomes

_Told = TypeVar("_Told")


def first_possible(
    configs: Sequence[RunConfig], place: Path, call: Callable[[RunConfig, Path], _Told]
) -> _Told:
    """Return what the first of the configurations that is no bad input gives; its files stay."""
    *others, last = configs
    for config in others:
        try:
            with becomes(place) as begun:
                return call(config, begun)
        except WorkFailed:  # the others would fail as it did
            raise
        except InputError:
            continue
    with becomes(place) as begun:
        return call(last, begun)
