"""The grid of `compare.tune`: values of `retrain` among which every arm picks."""

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod

from pydantic import ValidationError

from autolora_meta.errors import shown
from autolora_meta.finetuning.retrain import RetrainOptions

SECTION = "retrain."
# Numbers that change neither how many steps there are nor what a step costs.
KEYS = tuple(SECTION + n for n in ("learning_rate", "weight_decay", "warmup", "max_grad_norm"))

Grid = Mapping[str, Sequence[float]]


def checked(grid: Grid) -> None:
    """Refuse a grid that leaves no choice, or whose values cannot stand in `retrain`.

    Raises:
        ValueError: it does.
    """
    for key, given in grid.items():
        if key not in KEYS:
            raise ValueError(
                f"{shown(key)} is nothing to pick; allowed: {', '.join(KEYS)}, which change "
                "neither the number of steps nor the price of one"
            )
        if not given:
            raise ValueError(f"{key} has no values; give the values to pick from, or take it out")
        if len(set(given)) < len(given):
            raise ValueError(f"{key} {_list(given)} has a value twice; name each once")
        for value in given:
            try:
                RetrainOptions.model_validate({key.removeprefix(SECTION): value})
            except ValidationError as error:
                said = error.errors()[0]["msg"].replace("Input should", "should")
                raise ValueError(f"{key}: {said} (given: {value:g})") from None
    if grid and prod(map(len, grid.values())) < 2:
        point = ", ".join(f"{key}: {_list(given)}" for key, given in grid.items())
        raise ValueError(
            f"{{{point}}} is one point, and leaves nothing to pick; give a second value, or set "
            "the value itself and leave compare.tune out"
        )


def points(grid: Grid) -> list[dict[str, float]]:
    """Return all points of a grid, the last key fastest; none of an empty one.

    >>> points({"retrain.learning_rate": [0.1, 0.2]})
    [{'retrain.learning_rate': 0.1}, {'retrain.learning_rate': 0.2}]
    """
    if not grid:
        return []
    return [dict(zip(grid, point, strict=True)) for point in product(*grid.values())]


def with_point(options: RetrainOptions, point: Mapping[str, float]) -> RetrainOptions:
    """Return the options with the values of a point in their place."""
    return options.model_copy(update={k.removeprefix(SECTION): v for k, v in point.items()})


def in_words(point: Mapping[str, float]) -> str:
    """Return a point as it is given on the command line.

    >>> in_words({"retrain.learning_rate": 0.001, "retrain.warmup": 0})
    'retrain.learning_rate=0.001 retrain.warmup=0'
    """
    return " ".join(f"{key}={value:g}" for key, value in point.items())


def _list(given: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in given)}]"
