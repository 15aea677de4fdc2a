"""Budget: how many adapter parameters, or how much total rank, an allocation may spend."""

from collections.abc import Sequence

from pydantic import ConfigDict, RootModel, StrictInt, field_validator

from autolora_meta.errors import InputError
from autolora_meta.ranks.pattern import RankPattern

_FORMS = (
    "a number of adapter parameters (20000), 'uniform:R' (the parameters of rank R in every "
    "targeted layer) or 'total-rank:N' (ranks that sum to N)"
)
AUTO = "auto"


class Budget(RootModel[StrictInt | str]):
    """What an allocation may spend; YAML holds it as it was given.

    >>> Budget("uniform:2").limit([100, 300])
    (800, (100, 300))
    >>> Budget("total-rank:5").limit([100, 300])
    (5, (1, 1))
    """

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": "^(auto|(uniform|total-rank):0*[1-9][0-9]*)$"},
            ]
        },
    )

    @field_validator("root")
    @classmethod
    def _known_form(cls, value: int | str) -> int | str:
        if value == AUTO:
            return value
        if isinstance(value, int):
            number = value
        else:
            form, _, digits = value.partition(":")
            known = form in ("uniform", "total-rank") and digits.isascii() and digits.isdecimal()
            number = int(digits) if known else 0
        if number < 1:
            raise ValueError(
                f"'{value}' is not a budget; allowed: {_FORMS}, each at least 1, or 'auto'"
            )
        return value

    def __str__(self) -> str:
        return str(self.root) if isinstance(self.root, str) else f"{self.root} parameters"

    @property
    def auto(self) -> bool:
        """Whether it is to be chosen on rows (`grid`)."""
        return self.root == AUTO

    def refuse_auto(self) -> None:
        """Refuse a budget that is still to be chosen, where there are no rows to judge it by.

        Raises:
            InputError: it is.
        """
        if self.auto:
            raise InputError(
                "a budget of auto is chosen by `autolora-meta run` or `study` (ranks.budget=auto), "
                "which retrain adapters of several sizes; the ranks of one search cannot be judged "
                f"without that. Here give {_FORMS}"
            )

    def limit(self, costs: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """Return the limit, and what one rank of each layer takes from it.

        Args:
            costs: parameters of one rank in each targeted layer. (L,)

        Returns:
            The limit and the unit costs (L,), in parameters, or in ranks for `total-rank`.

        Raises:
            InputError: it is still to be chosen.
        """
        self.refuse_auto()
        if isinstance(self.root, int):
            return self.root, tuple(costs)
        form, _, number = self.root.partition(":")
        if form == "uniform":
            return int(number) * sum(costs), tuple(costs)
        return int(number), (1,) * len(costs)

    def checked_limit(self, costs: Sequence[int], min_rank: int = 0) -> tuple[int, tuple[int, ...]]:
        """Return `limit`, if it pays for what every allocation needs.

        Raises:
            InputError: it does not pay for one component, or for `min_rank` in every layer.
        """
        limit, units = self.limit(costs)
        if limit < min(units):
            raise InputError(
                f"a budget of {self} is too small: it allows {limit} and the cheapest component "
                f"costs {min(units)}; give at least that"
            )
        floor = min_rank * sum(units)
        if limit < floor:
            raise InputError(
                f"a budget of {self} is too small for min_rank {min_rank}: it allows {limit}, "
                f"and rank {min_rank} in all {len(units)} layers costs {floor}; lower min_rank or "
                "raise the budget"
            )
        return limit, units


def grid(costs: Sequence[int], least: int, most: int) -> dict[str, Budget]:
    """Return the budgets among which `auto` chooses, rising, by name.

    Args:
        costs: parameters of one rank in each targeted layer. (L,)
        least: smallest rank of a layer.
        most: largest rank of a layer.

    >>> list(grid([100, 300], least=0, most=6))
    ['uniform:1/4', 'uniform:1/2', 'uniform:1', 'uniform:2', 'uniform:4', 'uniform:6']
    """
    even = sum(costs)
    found = {f"uniform:1/{part}": Budget(max(1, even // part)) for part in (4, 2)}
    for rank in [*(2**i for i in range((most - 1).bit_length())), most]:
        found[f"uniform:{rank}"] = Budget(f"uniform:{rank}")
    floor = max(least * even, min(costs))
    return {name: budget for name, budget in found.items() if budget.limit(costs)[0] >= floor}


def unspent(pattern: RankPattern, budget: Budget) -> int:
    """Return what `pattern` leaves of `budget`, in parameters (in ranks for `total-rank`).

    It is less than the cheapest component costs, unless every layer that would fit is full.
    """
    limit, units = budget.limit(pattern.costs)
    return limit - sum(r * u for r, u in zip(pattern.ranks, units, strict=True))


def unspent_words(pattern: RankPattern, budget: Budget) -> str:
    """Return a sentence about the part of the budget that `pattern` leaves unspent, or "".

    >>> full = RankPattern(("q", "v"), (2, 2), (10, 10), k=2, scale=1.0)
    >>> unspent_words(full, Budget("uniform:3"))
    '20 of the 60 parameters of budget uniform:3 stay unspent: what fits them is at its full rank'
    """
    limit, units = budget.limit(pattern.costs)
    left = unspent(pattern, budget)
    if left < min(units):
        return ""
    kind = "ranks" if units != pattern.costs else "parameters"
    return (
        f"{left:,} of the {limit:,} {kind} of budget {budget} stay unspent: what fits them is "
        "at its full rank"
    )
