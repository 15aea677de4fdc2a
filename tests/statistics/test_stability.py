"""Agreement of searches: Kendall's W against known values, and a null that is kept."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from scipy import stats

from autolora_meta.errors import InputError
from autolora_meta.ranks.components import Components
from autolora_meta.ranks.rules import RankOptions
from autolora_meta.statistics.stability import (
    Stability,
    agreement,
    layer_groups,
    stability,
)

NAMES = tuple(f"encoder.layer.{i}.{kind}" for i in range(6) for kind in ("query", "value"))
COSTS = (32,) * 12
OPTIONS = RankOptions.model_validate({"budget": "uniform:1", "importance": "alpha"})


def searches(count: int, noise: float, seed: int = 0) -> list[Components]:
    """Layers of fixed importance, seen through noise by each search."""
    draw = torch.Generator().manual_seed(seed)
    truth = torch.linspace(0.1, 2.0, 12)[torch.randperm(12, generator=draw), None].expand(12, 3)
    one = torch.ones(12, 3)
    return [
        Components(
            NAMES,
            COSTS,
            1.0,
            (1 - noise) * truth + noise * torch.rand(12, 3, generator=draw),
            one,
            one,
            one,
        )
        for _ in range(count)
    ]


def kendall_w(values: ArrayLike) -> float | None:
    return agreement(values, {"all": range(np.shape(values)[1])}, draws=1).w


@pytest.mark.parametrize("levels", [100, 3])  # without ties, and with many
def test_w_is_friedman_s_chi_square_over_m_times_n_less_one(levels: int) -> None:
    values = np.random.default_rng(0).integers(0, levels, (5, 9))
    chi2 = stats.friedmanchisquare(*values.T).statistic
    assert kendall_w(values) == pytest.approx(chi2 / (5 * (9 - 1)), rel=1e-12)


def test_w_is_one_for_one_order_and_zero_for_opposite_ones() -> None:
    assert kendall_w([[1, 2, 3, 4], [10, 20, 30, 40]]) == 1.0
    assert kendall_w([[1, 2, 3, 4], [4, 3, 2, 1]]) == 0.0
    assert kendall_w([[1, 1, 2], [3, 3, 7]]) == 1.0  # ties are no disagreement
    assert kendall_w([[2, 2, 2], [1, 1, 1]]) is None


def test_layers_are_grouped_by_kind_and_cost_and_lonely_ones_taken_together() -> None:
    names = [f"bert.layer.{i}.{kind}" for i in range(3) for kind in ("q", "out.dense")]
    groups = layer_groups([*names, "pooler.dense"], [8] * 6 + [9])
    assert groups == {"q": [0, 2, 4], "out.dense": [1, 3, 5]}
    assert layer_groups(["0", "2", "4"], [8, 8, 8]) == {"layer": [0, 1, 2]}
    wide = layer_groups([f"stage.{i}.q" for i in range(6)], [8] * 3 + [1600] * 3)
    assert wide == {
        "q (8 parameters a rank)": [0, 1, 2],
        "q (1,600 parameters a rank)": [3, 4, 5],
    }
    assert layer_groups(["a.0.q", "a.0.v", "a.1.q", "a.1.v"], [8] * 4) == {"other": [0, 1, 2, 3]}
    assert layer_groups(["a.0.q", "a.0.v"], [8] * 2) == {}


def test_a_common_order_is_told_from_noise_and_noise_is_not() -> None:
    found = stability(searches(5, noise=0.3), OPTIONS)
    assert found.distinguishable and found.importance.p < 0.01
    assert set(found.ranks.types) == {"query", "value"}
    assert found.ranks.w == pytest.approx(sum(w or 0 for w in found.ranks.types.values()) / 2)
    assert found.sentence().startswith("The learned ranks agree over 5 searches (Kendall's W = 0.")
    assert f"; of importance W = {found.importance.w:.2f}, p = 0.0001)" in found.sentence()
    assert found.sentence().endswith("they are distinguishable from noise.")
    noise = stability(searches(5, noise=1.0), OPTIONS, over="replicates")
    assert not noise.distinguishable
    assert "do not agree better than chance over 5 replicates" in noise.sentence()
    assert noise.sentence().endswith("they are not distinguishable from noise.")


def test_p_is_uniform_where_the_null_holds() -> None:
    draw = np.random.default_rng(1)
    groups = {"q": range(6), "v": range(6, 12)}
    p = [agreement(draw.random((4, 12)), groups, draws=200).p for _ in range(200)]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.asarray(p) < 0.05) < 0.1


def test_differences_between_kinds_alone_are_no_agreement() -> None:
    values = np.tile([3.0] * 6 + [1.0] * 6, (5, 1)) + np.random.default_rng(2).random((5, 12)) / 9
    assert agreement(values, {"q": range(6), "v": range(6, 12)}).p > 0.05
    assert agreement(values, {"other": range(12)}).p < 0.001


def test_equal_searches_give_equal_words_and_the_smallest_p_is_one_in_all() -> None:
    same = searches(4, noise=0.0)
    assert stability(same, OPTIONS) == stability(same, OPTIONS)
    assert stability(same, OPTIONS).importance.p == 1 / 10_001
    assert stability(same, OPTIONS).importance.w == 1.0


@pytest.mark.parametrize(
    ("count", "over", "words"),
    [
        (1, "searches", "One search cannot show.*set search.seeds to 3 or more"),
        (2, "replicates", "Two replicates cannot show.*set compare.replicates to 3 or more"),
    ],
)
def test_too_few_searches_allow_no_claim(count: int, over: str, words: str) -> None:
    found = stability(searches(count, noise=0.0), OPTIONS, over=over)
    assert not found.distinguishable
    assert re.search(words, found.sentence())


def test_uniform_ranks_order_nothing() -> None:
    full = stability(searches(3, noise=0.0), OPTIONS.changed(budget="uniform:3"))
    assert full.ranks.w is None and full.ranks.p == 1.0 and not full.distinguishable
    assert "tell no layer from another of its kind over 3 searches" in full.sentence()


def test_layers_that_are_alone_of_their_kind_are_counted() -> None:
    one = torch.ones(2, 3)
    pair = Components(("a", "b"), (5, 6), 1.0, one, one, one, one)
    found = stability([pair] * 3, OPTIONS)
    assert found.left_out == 2 and found.ranks.types == {}
    assert found.sentence().startswith("2 layers are too few")
    apart = [
        replace(c, names=(*(f"l.{i}.q" for i in range(11)), "pooler.dense"))
        for c in searches(3, noise=0.0)
    ]
    assert stability(apart, OPTIONS).sentence().endswith("noise.")
    assert "; 1 of a kind of their own left out)" in stability(apart, OPTIONS).sentence()


def test_it_goes_through_json_and_back() -> None:
    found = stability(searches(3, noise=0.5), OPTIONS)
    assert Stability.read(found.written()) == found
    with pytest.raises(InputError, match="at least one"):
        stability([], OPTIONS)
