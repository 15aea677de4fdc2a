"""Planted ranks: problems that hold what they say, scores by hand, retraining against PEFT."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn

from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.foundation.randomness import derive, seeded
from autolora_meta.pipeline.search_model import search_model
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.verification import planted_retrain
from autolora_meta.verification.planted import BATCH, REGIMES, Planted, Regime, plant
from autolora_meta.verification.planted_retrain import test_losses as losses_of

SMALL = Regime("small", "three layers", ranks=(0, 2, 4), train_rows=64, validation_rows=64)


@pytest.fixture(scope="module")
def small() -> Planted:
    return plant(SMALL, seed=0)


def tensors(problem: Planted) -> list[Tensor]:
    rows = (problem.train.x, problem.train.y, problem.validation.x, problem.validation.y)
    return [*rows, *problem.test, *problem.model.state_dict().values()]


def untrained(problem: Planted) -> float:
    """The test loss of the network as it is: the mean squared size of what is planted."""
    with torch.no_grad():
        return problem.loss(problem.model, problem.test).item()


@pytest.mark.parametrize("name", REGIMES)
def test_every_regime_gives_the_rows_and_the_ranks_that_it_says(name: str) -> None:
    problem = plant(name, seed=1)
    regime = problem.regime
    assert len(problem.train.x) == regime.train_rows
    assert len(problem.validation.x) == regime.validation_rows
    assert all(torch.isfinite(t).all() for t in tensors(problem))
    assert not any(p.requires_grad for p in problem.model.parameters())
    layers = {n: m for n, m in problem.model.named_modules() if isinstance(m, nn.Linear)}
    assert problem.truth.names == tuple(layers)
    assert problem.truth.costs == tuple(m.in_features + m.out_features for m in layers.values())
    strongest = [regime.strength * math.e ** (-regime.decay * j) for j in range(32)]
    counted = sum(s >= regime.floor for s in strongest)
    assert sorted(problem.truth.ranks) == sorted(min(r, counted, 8) for r in regime.ranks)
    assert problem.spearman(problem.truth) == pytest.approx(1.0)
    assert problem.mean_absolute_error(problem.truth) == 0.0
    assert untrained(problem) > 0.01  # what is planted can be seen


def test_equal_seeds_give_equal_problems_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(3)
    first = plant("few", seed=5)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), drawn)
    second, other = plant("few", seed=5), plant("few", seed=6)
    assert first.truth == second.truth
    assert all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(second), strict=True))
    assert not any(
        torch.equal(a, b) for a, b in zip(tensors(first)[:6], tensors(other), strict=False)
    )
    # The order in which ranks are dealt is the seed's too.
    assert len({plant(SMALL, seed).truth.ranks for seed in range(8)}) > 2


def test_no_row_stands_in_two_splits() -> None:
    problem = plant("few", seed=0)
    rows = torch.cat([problem.train.x, problem.validation.x, problem.test[0]])
    assert len(rows.unique(dim=0)) == len(rows)


def test_noise_is_that_of_the_regime_and_test_rows_have_none() -> None:
    noisy = replace(SMALL, noise=0.3, train_noise=0.8, train_rows=256, validation_rows=256)
    problem, clean = plant(noisy, seed=0), plant(replace(noisy, noise=0.0, train_noise=0.0), seed=0)
    for part, size in (("train", 0.8), ("validation", 0.3)):
        noise = getattr(problem, part).y - getattr(clean, part).y
        assert float(noise.std()) == pytest.approx(size, rel=0.03)
        assert float(noise.mean()) == pytest.approx(0.0, abs=0.03)
    assert all(torch.equal(a, b) for a, b in zip(problem.test, clean.test, strict=True))


def test_what_is_planted_has_the_rank_and_the_singular_values_of_the_regime() -> None:
    regime = replace(SMALL, ranks=(3,), noise=0.0, strength=1.5, decay=0.35, floor=1.0)
    problem = plant(regime, seed=0)
    x, y = (t.double() for t in problem.test)
    tanh = y - x  # of one residual layer: y = x + tanh((W + D) x)
    kept = (tanh.abs() < 0.999).all(1)
    weight = torch.linalg.lstsq(x[kept], tanh[kept].atanh()).solution.T
    (layer,) = (m for m in problem.model.modules() if isinstance(m, nn.Linear))
    singular = torch.linalg.svdvals(weight - layer.weight.double())
    expected = 1.5 * torch.exp(-0.35 * torch.arange(3.0))
    assert singular[:3].tolist() == pytest.approx(expected.tolist(), rel=1e-3)
    assert float(singular[3:].max()) < 1e-3
    assert problem.truth.ranks == (2,)  # 1.5 and 1.06 reach the floor, 0.74 does not


def test_ranks_are_capped_at_k() -> None:
    assert sorted(plant("above_k", seed=0).truth.ranks) == [0, 2, 4, 6, 8, 8]


def test_widths_make_ranks_cost_differently() -> None:
    assert sorted(plant("widths", seed=0).truth.costs) == [32 + w for w in (12, 24, 32, 48, 64, 96)]


def test_correlated_inputs_fall_in_spread_and_keep_their_mean_variance() -> None:
    x = plant("correlated", seed=0).test[0]
    spread = x.std(0)
    assert float(spread[0] / spread[-1]) == pytest.approx(math.e**1.5, rel=0.15)
    assert float(x.square().mean()) == pytest.approx(1.0, rel=0.05)


def test_batches_hold_each_row_once_in_a_new_order(small: Planted) -> None:
    torch.manual_seed(0)
    first, second = (torch.cat([x for x, _ in small.train]) for _ in range(2))
    assert len(first) == 64 and not torch.equal(first, second)
    assert torch.equal(first.sort(0).values, small.train.x.sort(0).values)
    assert all(len(x) == len(y) == BATCH for x, y in small.train)


def test_an_answer_that_is_constant_scores_nothing(small: Planted) -> None:
    assert small.spearman(small.truth.with_ranks([2] * 3)) == 0.0
    assert small.mean_absolute_error(small.truth.with_ranks([2] * 3)) == pytest.approx(4 / 3)
    reverse = {0: 4, 2: 2, 4: 0}
    backwards = small.truth.with_ranks([reverse[r] for r in small.truth.ranks])
    assert small.spearman(backwards) == pytest.approx(-1.0)


def test_layers_that_trade_rank_are_scored_together() -> None:
    problem = plant("attention", seed=0)
    rank = dict(problem.truth)
    traded = dict(rank)
    query, key = "blocks.1.query", "blocks.1.key"
    traded[query], traded[key] = rank[key], rank[query]
    both = problem.truth.with_ranks(list(traded.values()))
    assert problem.spearman(both) == pytest.approx(1.0) and problem.mean_absolute_error(both) == 0
    given = {query: 3, key: 2, "blocks.1.value": 1}
    one = problem.truth.with_ranks(list((dict.fromkeys(rank, 0) | given).values()))
    wanted = {query: 5, "blocks.1.value": 1}  # 0 for every other pair
    errors = [
        abs(rank[f"blocks.{i}.{a}"] + rank[f"blocks.{i}.{b}"] - wanted.get(f"blocks.{i}.{a}", 0))
        for i in range(3)
        for a, b in (("query", "key"), ("value", "output"))
    ]
    assert problem.mean_absolute_error(one) == pytest.approx(sum(errors) / 6)


def test_unknown_regimes_and_patterns_of_other_models_are_refused(small: Planted) -> None:
    with pytest.raises(InputError, match="few"):
        plant("fex", seed=0)
    other = RankPattern(("a",), (1,), (64,), 8, 2.0)
    for score in (small.spearman, small.mean_absolute_error):
        with pytest.raises(InputError, match=r"the pattern has the layers a; .*layers\.0"):
            score(other)


def test_retraining_at_the_true_ranks_beats_ranks_of_zero(
    small: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planted_retrain, "STEPS", 100)
    none = small.truth.with_ranks([0] * 3)
    true, zero, again = losses_of(small, [small.truth, none, small.truth])
    assert zero == pytest.approx(untrained(small), rel=1e-5)
    assert true < 0.7 * zero and again == true
    assert losses_of(small, [small.truth], seed=1) != [true]


def test_patterns_of_any_k_can_be_retrained(
    small: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planted_retrain, "STEPS", 5)
    narrow, wide = (replace(small.truth, k=k) for k in (4, small.truth.k + 4))
    same = losses_of(small, [small.truth, narrow])
    assert same[0] == pytest.approx(same[1])
    above = wide.with_ranks([small.truth.k + 4, 0, 1])
    cut = small.truth.with_ranks([small.truth.k, 0, 1])
    more, less = losses_of(small, [above, cut])
    assert 0 < more != pytest.approx(less, rel=1e-6)


def test_retraining_is_that_of_a_stock_peft_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 6
    monkeypatch.setattr(planted_retrain, "STEPS", steps)
    problem = plant(replace(SMALL, widths=(16, 32, 48)), seed=2)
    patterns = [problem.truth, problem.truth.with_ranks([1, 8, 3])]
    found = losses_of(problem, patterns, seed=7)
    expected = [_peft_loss(problem, pattern, steps, seed=7) for pattern in patterns]
    assert found == pytest.approx(expected, rel=1e-4)
    assert abs(found[0] / untrained(problem) - 1) > 1e-2  # it did move


def _peft_loss(problem: Planted, pattern: RankPattern, steps: int, seed: int) -> float:
    """The same training by PEFT and a loop, from the first r components of the same factors."""
    model = get_peft_model(copy.deepcopy(problem.model), lora_config(pattern))  # type: ignore[arg-type]
    x = torch.cat([problem.train.x, problem.validation.x])
    y = torch.cat([problem.train.y, problem.validation.y])
    factors = {n: p for n, p in model.named_parameters() if "lora_A" in n}
    with seeded(derive(seed, "planted retraining")):
        for name, rank in pattern:
            inputs = problem.model.get_parameter(f"{name}.weight").shape[1]
            a = nn.init.kaiming_uniform_(torch.empty(problem.truth.k, inputs), a=5**0.5)
            if rank:
                factors[f"base_model.model.{name}.lora_A.default.weight"].data.copy_(a[:rank])
        trained = [p for p in model.parameters() if p.requires_grad]
        assert sum(p.numel() for p in trained) == pattern.parameters
        optimizer = torch.optim.AdamW(trained, lr=3e-3, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
        for _ in range(steps):
            rows = torch.randint(0, len(x), (32,))
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return float(nn.functional.mse_loss(model(problem.test[0]), problem.test[1]))


def test_a_search_and_an_allocator_of_one_s_own_can_be_scored(
    small: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planted_retrain, "STEPS", 10)
    before = [t.clone() for t in tensors(small)]
    result = search_model(
        small.model,
        small.train,
        small.validation,
        loss=small.loss,
        budget=small.budget,
        lora={"k": small.truth.k, "scale": small.truth.scale},
        options={"outer_steps": 3, "warmup_steps": 2},
    )
    assert all(torch.equal(a, b) for a, b in zip(tensors(small), before, strict=True))
    cheapest = min(small.truth.costs)
    assert small.budget - cheapest < result.ranks.parameters <= small.budget
    # Anything that returns ranks for these layers will do.
    largest = result.components.norm_u.sum(1).argsort(descending=True).argsort().tolist()
    own = small.truth.with_ranks([4 - 2 * place for place in largest])
    for pattern in (result.ranks, own):
        assert -1 <= small.spearman(pattern) <= 1
        assert 0 <= small.mean_absolute_error(pattern) <= 8
    assert all(loss > 0 for loss in losses_of(small, [result.ranks, own]))
