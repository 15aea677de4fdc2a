"""Cost: what was run, in forwards, backwards and double backwards."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What was run: forwards, backwards (gradients) and double backwards.

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
    """A cost in plain steps: a forward with its backward is one, a double backward is two."""
    return (cost.forwards + cost.backwards) / 2 + 2 * cost.double_backwards
