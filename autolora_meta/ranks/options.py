"""RankOptions: how ranks are read from a search, and which options each rule reads."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from autolora_meta.errors import InputError, unknown
from autolora_meta.foundation.options import UNHASHED, Options, read
from autolora_meta.ranks.budget import Budget, unspent_words
from autolora_meta.ranks.importance import IMPORTANCE
from autolora_meta.ranks.pattern import RankPattern

# What each rule alone reads.
_OWN = {
    "budget": {"budget", "per"},
    "threshold": {"threshold", "threshold_unit"},
    "gap": {"gap"},
}
# What the rule `paper` is short for: AutoLoRA, arXiv 2403.09113, section 3.2.
_PAPER = {
    "rule": "threshold",
    "importance": "alpha",
    "threshold": 1.0,
    "threshold_unit": "layer_mean",
}


class RankOptions(Options):
    """How ranks are read from a search.

    An option that the rule does not read is refused, and left out of the YAML.
    """

    choose: Literal["search", "race"] = Field(
        default="search",
        description="Whose ranks a run leaves, with their adapter. search: those of the learned "
        "search, the arm `learned`. race: those of the arm `race`, which lets held-out rows judge "
        "many ways to choose; it is then compared even if compare.arms does not name it.",
        json_schema_extra=UNHASHED,
    )
    importance: str = Field(
        default="layered",
        description="Score of a component. "
        + "; ".join(f"{record.name}: {record.summary}" for record in IMPORTANCE.values())
        + ".",
        json_schema_extra={"enum": [*IMPORTANCE]},
    )
    rule: Literal["budget", "threshold", "gap", "paper"] = Field(
        default="budget",
        description="How ranks follow from scores. budget: the best components over all layers "
        "until the budget is spent. threshold: in each layer, the components whose score reaches "
        "`threshold`. gap: over all layers, the components above the widest gap between scores. "
        "paper: importance alpha, rule threshold, threshold 1 of the layer's mean, which is alpha "
        ">= 1/k. Under a rule other than budget, every arm may spend what the learned ranks cost.",
    )
    budget: Budget = Field(
        default=Budget("uniform:2"),
        description="Rule budget: what every arm may spend: a number of adapter parameters, "
        "uniform:R (as many as rank R in every targeted layer), total-rank:N (ranks that sum to N) "
        "or auto: the smallest of a grid, from a quarter of uniform:1 to uniform:k, whose adapters "
        "are as good as the best on training and validation rows that they did not see, within one "
        "standard error. It costs four retrainings for each budget of the grid, once for a run.",
    )
    per: Literal["component", "parameter"] = Field(
        default="component",
        description="Rule budget: order of components. component: by score. parameter: by squared "
        "score over cost, the energy bought per unit of budget, which favours small layers.",
    )
    threshold: float = Field(
        default=1.0,
        gt=0,
        description="Rule threshold: smallest score that is kept, in `threshold_unit`. Above 1 a "
        "layer may be left out; min_rank keeps it in.",
    )
    threshold_unit: Literal["layer_mean", "score"] = Field(
        default="layer_mean",
        description="Rule threshold: unit of the threshold. layer_mean: the mean score of the "
        "component's layer, 1/k for gates that sum to one. score: an absolute number; with "
        "sigmoid gates and gate_sum k a gate is 2 sigmoid, so that 1 keeps sigmoid >= 0.5.",
    )
    gap: float = Field(
        default=2.0,
        gt=1,
        description="Rule gap: smallest ratio of two neighbouring scores that counts as a gap. "
        "Without a gap, every component is kept.",
    )
    min_rank: int = Field(
        default=0, ge=0, description="Smallest rank of a layer; 0 may leave it out."
    )
    max_rank: int | None = Field(
        default=None,
        ge=1,
        description="Largest rank of a layer; null: k, all components.",
    )

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("rule") != "paper":
            return given
        for key, value in _PAPER.items():
            if key != "rule" and given.get(key, value) != value:
                raise ValueError(
                    f"{key} {given[key]} is given, and the rule paper reads {key} {value}; leave "
                    f"{key} out, or set rule to threshold"
                )
        return {**given, **_PAPER}

    @field_validator("importance")
    @classmethod
    def _known_importance(cls, value: str) -> str:
        if value not in IMPORTANCE:
            raise ValueError(unknown("importance", value, IMPORTANCE))
        return value

    @model_validator(mode="after")
    def _ordered(self) -> "RankOptions":
        if self.max_rank is not None and self.min_rank > self.max_rank:
            raise ValueError(
                f"min_rank {self.min_rank} is above max_rank {self.max_rank}; lower one or "
                "raise the other"
            )
        return self

    @model_validator(mode="after")
    def _read_by_the_rule(self) -> "RankOptions":
        for owner, own in _OWN.items():
            for key in sorted(own & self.model_fields_set) if owner != self.rule else ():
                why = (
                    "; without it every arm may spend what the learned ranks cost"
                    if key == "budget"
                    else ""
                )
                raise ValueError(
                    f"{key} {getattr(self, key)} is given, and the rule {self.rule} does not read "
                    f"it; set rule to {owner}, or leave {key} out{why}"
                )
        return self

    @model_serializer(mode="wrap")
    def _written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        foreign = _foreign(self.rule)
        return {key: value for key, value in dump(self).items() if key not in foreign}

    def changed(self, **changes: Any) -> "RankOptions":
        """Return these options with changes.

        An option that only one rule reads implies that rule, unless a rule is given.

        Raises:
            InputError: an option is unknown, out of range, or not read by the rule.

        >>> RankOptions(rule="threshold").changed(budget="uniform:3").rule
        'budget'
        """
        owners = [rule for rule, own in _OWN.items() if own & changes.keys()]
        given = ({"rule": owners[0]} if owners else {}) | changes
        kept = self.kept_under(self.model_dump(), given)
        return read(RankOptions, kept | given, "the options of `ranks`")

    @classmethod
    def kept_under(cls, below: Any, above: Mapping[str, Any]) -> dict[str, Any]:
        """Drop the options that the rule set by `above` does not read, such as a base's budget.

        >>> RankOptions.kept_under({"rule": "budget", "budget": 9, "min_rank": 1}, {"rule": "gap"})
        {'rule': 'budget', 'min_rank': 1}
        """
        dropped = _foreign(above["rule"]) if "rule" in above else set()
        kept = super().kept_under(below, above)
        return {key: value for key, value in kept.items() if key not in dropped}

    @property
    def arm(self) -> str:
        """The arm whose ranks and adapter a run leaves."""
        return {"search": "learned", "race": "race"}[self.choose]

    def refuse_judged(self) -> None:
        """Refuse what only retrainings decide, where there is a search alone.

        Raises:
            InputError: the budget is auto, or the ranks are those of the race.
        """
        if self.to_choose:
            self.budget.refuse_auto()
        if self.choose == "race":
            raise InputError(
                "ranks.choose is race, which judges ranks by retraining; that is done by "
                "`autolora-meta run` or `study`. For the ranks of a search set ranks.choose=search"
            )

    @property
    def to_choose(self) -> bool:
        """Whether the budget is read, and still to be chosen (`auto`)."""
        return self.rule == "budget" and self.budget.auto

    @property
    def read_plain(self) -> bool:
        """Whether the importance reads the spectrum of a plain search beside the learned one."""
        return IMPORTANCE[self.importance].plain

    def unspent(self, pattern: RankPattern) -> str:
        """Return a sentence about the part of the budget that `pattern` leaves unspent, or ""."""
        return unspent_words(pattern, self.budget) if self.rule == "budget" else ""


def _foreign(rule: object) -> set[str]:
    """Return the options that the rule does not read; `paper` sets its own importance."""
    foreign = set().union(*(own for owner, own in _OWN.items() if owner != rule))
    return foreign | {"importance"} if rule == "paper" else foreign


def bounds(k: int, options: RankOptions) -> tuple[int, int]:
    """Return the smallest and the largest rank that a layer of k components may get.

    Raises:
        InputError: a limit is above k.
    """
    for name, value in (("min_rank", options.min_rank), ("max_rank", options.max_rank)):
        if value is not None and value > k:
            raise InputError(
                f"{name} {value} is above k = {k}, the components of each layer in the search; "
                f"give at most {k}, or search with a larger k"
            )
    return options.min_rank, options.max_rank or k
