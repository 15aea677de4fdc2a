"""Random patterns: the same in every replicate, at the budget, about as uneven as learned ranks."""

import pytest

from autolora_meta.allocators.random_patterns import weights
from autolora_meta.allocators.replicate import Replicate, allocator
from autolora_meta.allocators.scored import proportional
from autolora_meta.config.compare import CompareOptions
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.options import read
from autolora_meta.ranks.budget import Budget
from autolora_meta.ranks.rules import spend
from autolora_meta.studies.options import StudyOptions
from tests.end_to_end import Tiny
from tests.studies.stub_work import BASE

NAMES = [f"layer.{i}.{kind}" for i in range(12) for kind in ("query", "value", "dense")]


def test_a_pattern_is_the_same_in_every_replicate_and_at_the_budget(tiny: Tiny) -> None:
    config = RunConfig.load(tiny.config, "ranks.budget=uniform:2")
    replicates = [Replicate(config, seed) for seed in (0, 1)]
    first, second = (allocator("pattern:1").allocate(replicate) for replicate in replicates)
    assert first == second
    budget = allocator("uniform").allocate(replicates[0]).parameters
    assert budget - 32 < first.parameters <= budget
    others = {allocator(f"pattern:{i}").allocate(replicates[0]).ranks for i in range(1, 7)}
    assert len(others) > 1


def test_patterns_are_uneven_over_layers_and_over_kinds_of_module() -> None:
    costs = [64] * len(NAMES)
    spreads, kinds = [], []
    for number in range(1, 31):
        scores = proportional(weights(NAMES, number), 4)
        ranks = spend(scores, costs, Budget(64 * len(NAMES)), least=0, most=4)
        mean = sum(ranks) / len(ranks)
        spreads.append((sum((rank - mean) ** 2 for rank in ranks) / len(ranks)) ** 0.5)
        kinds.append(sum(ranks[0::3]) / sum(ranks))
    assert 0.7 < sum(spreads) / len(spreads) < 1.3  # a learned pattern of quickstart: 1.0
    assert min(kinds) < 0.25 and max(kinds) > 0.45  # a third of the parameters at equal ranks


@pytest.mark.parametrize("name", ["pattern:0", "pattern:x", "pattern", "patern:1", "uniform:1"])
def test_what_is_no_number_of_a_family_is_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(InputError, match=f"unknown arm '{name}'.*allowed: .*pattern:1"):
        read(CompareOptions, {"arms": ["learned", "uniform", name]}, "it")
    with pytest.raises(InputError, match=f"unknown arm '{name}'"):
        read(StudyOptions, {"name": "x", "base": [BASE], "arms": [name]}, "it")


def test_a_run_takes_patterns_as_arms() -> None:
    compare = read(CompareOptions, {"arms": ["learned", "uniform", "pattern:7"]}, "it")
    assert compare.arms[-1] == "pattern:7"
