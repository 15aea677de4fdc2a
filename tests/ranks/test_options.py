"""Options of rules: what goes together, and how they are written."""

import pytest
import yaml
from pydantic import ValidationError

from autolora_meta.errors import InputError
from autolora_meta.ranks.rules import (
    RankOptions,
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"importance": "alhpa"}, "did you mean 'alpha'"),
        ({"min_rank": 3, "max_rank": 2}, "min_rank 3 is above max_rank 2"),
        ({"rank": 3}, "rank"),
        ({"rule": "threshold", "budget": 30}, "budget 30 parameters is given, and the rule thresh"),
        ({"rule": "gap", "per": "parameter"}, "set rule to budget, or leave per out"),
        ({"threshold": 1.0}, "the rule budget does not read it; set rule to threshold"),
        ({"rule": "paper", "gap": 3}, "the rule threshold does not read it; set rule to gap"),
        ({"rule": "gap", "gap": 1}, "gap"),
        ({"rule": "threshold", "threshold": 0}, "threshold"),
        ({"budget": "uniform"}, "'uniform' is not a budget; allowed: a number"),
        ({"budget": "uniform:0"}, "is not a budget"),
        ({"budget": "uniform:-1"}, "is not a budget"),
        ({"budget": "total-rank:two"}, "is not a budget"),
        ({"budget": 0}, "is not a budget"),
        ({"budget": True}, "budget"),
        ({"budget": 0.5}, "budget"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RankOptions.model_validate(options)


@pytest.mark.parametrize("given", [20_000, "uniform:4", "total-rank:72"])
def test_budgets_go_to_yaml_and_back_as_given(given: int | str) -> None:
    options = RankOptions.model_validate({"budget": given})
    dumped = yaml.safe_dump(options.model_dump())
    assert yaml.safe_load(dumped)["budget"] == given
    assert RankOptions.model_validate(yaml.safe_load(dumped)) == options


@pytest.mark.parametrize("rule", ["budget", "threshold", "gap", "paper"])
def test_options_are_written_without_those_of_other_rules(rule: str) -> None:
    options = RankOptions.model_validate({"rule": rule, "min_rank": 1})
    written = options.model_dump(mode="json")
    assert RankOptions.model_validate(written) == options
    own = {"budget": {"budget", "per"}, "gap": {"gap"}}.get(rule, {"threshold", "threshold_unit"})
    assert written.keys() == {"choose", "importance", "rule", "min_rank", "max_rank"} | own


def test_an_option_of_one_rule_implies_it() -> None:
    by_gap = RankOptions(rule="gap", importance="singular")
    assert by_gap.changed(min_rank=1).rule == "gap"
    for change, rule in (({"budget": 9}, "budget"), ({"threshold": 2}, "threshold")):
        assert by_gap.changed(**change).rule == rule
        assert by_gap.changed(**change).importance == "singular"
    with pytest.raises(InputError, match="budget 9 parameters is given, and the rule gap"):
        by_gap.changed(rule="gap", budget=9)
