"""Cost: forward, backward and double backward passes."""

from dataclasses import dataclass

from typing_extensions import TypedDict

from autolora_meta.foundation.json_files import Count


class StoredCost(TypedDict):
    """What a file holds of a `Cost`."""

    forwards: Count
    backwards: Count
    double_backwards: Count


@dataclass(frozen=True)
class Cost:
    """Numbers of forward, backward and double backward passes.

    >>> Cost(1, 1) + Cost(double_backwards=3)
    Cost(forwards=1, backwards=1, double_backwards=3)
    """

    forwards: int = 0
    backwards: int = 0
    double_backwards: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.forwards + other.forwards,
            self.backwards + other.backwards,
            self.double_backwards + other.double_backwards,
        )


def plain_steps(cost: Cost) -> float:
    """Return a cost in plain steps: a forward and a backward are one, a double backward is two."""
    return (cost.forwards + cost.backwards) / 2 + 2 * cost.double_backwards
