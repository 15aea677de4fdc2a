"""A race takes the ranks that held-out rows prefer; uniform ones where none is clearly better."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from autolora_meta.allocators import race
from autolora_meta.allocators.allocation import allocation
from autolora_meta.allocators.entrants import UNIFORM, entrants, parts
from autolora_meta.allocators.race import ALLOCATOR, Round, paired, rounds, run
from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.uniform import allocate as uniform
from autolora_meta.config.run import RunConfig
from autolora_meta.foundation import manifest
from autolora_meta.foundation.cost import Cost
from autolora_meta.pipeline.cross_fit import Candidate, CrossFit
from autolora_meta.ranks.budget import unspent
from tests.tiny import tiny_bert, tiny_csv


def test_rounds_double_the_steps_and_halve_the_candidates() -> None:
    assert rounds(70, 12) == [Round(18, 6), Round(35, 2), Round(70, 1)]
    assert rounds(8, 3) == [Round(2, 2), Round(8, 1)]  # two have nothing to be halved
    assert rounds(1, 1) == [Round(1, 1)]


def test_differences_are_paired_by_row() -> None:
    base = torch.tensor([1.0, 5.0, 9.0, math.nan], dtype=torch.float64)
    mean, error = paired(base + torch.tensor([0.1, 0.2, 0.3, 7.0]), base)
    assert mean == pytest.approx(0.2) and error == pytest.approx(0.1 / math.sqrt(3))
    assert paired(torch.full((4,), math.inf), base) == (math.inf, math.inf)


def test_parts_of_a_model_are_read_from_names() -> None:
    names = ("l.0.attn.q", "l.0.mlp.up", "l.1.attn.q", "l.1.mlp.up", "pooler.dense")
    found = {
        name: [n for n, own in zip(names, inside, strict=True) if own]
        for name, inside in parts(names).items()
    }
    assert found["no dense"] == [*names[:4]]
    assert found["no attn.q"] == [names[1], names[3], names[4]]
    assert found["attention only"] == [names[0], names[2]]
    assert found["feed-forward only"] == [names[1], names[3]]
    assert found["upper half"] == [names[2], names[3]]
    assert found["lower half"] == [names[0], names[1]]
    assert not any(len(own) in (0, len(names)) for own in found.values())


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    place = tmp_path_factory.mktemp("race")
    return RunConfig.load(
        {
            "name": "tiny",
            "model": {"name": str(tiny_bert(place / "model"))},
            "data": {
                "source": str(tiny_csv(place / "rows.csv", 90)),
                "train_rows": 16,
                "validation_rows": 16,
            },
            "lora": {"k": 3, "targets": ["query", "value", "intermediate.dense"]},
            "search": {"outer_steps": 2, "warmup_steps": 1, "batch_size": 8, "outer_batch_size": 8},
            "ranks": {"budget": "uniform:1"},
            "retrain": {"steps": 4, "batch_size": 8, "learning_rate": 0.01},
            "runtime": {"device": "cpu", "stack": 64},
        }
    )


def test_a_race_on_a_model_leaves_ranks_at_the_budget_its_price_and_its_table(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race, "FOLDS", 2)
    replicate = Replicate(config, 0, folder=tmp_path)
    patterns = entrants(replicate)
    assert len(set(patterns.values())) == len(patterns) > 4 and next(iter(patterns)) == UNIFORM
    assert {"upper half", "feed-forward only"} <= patterns.keys()
    for pattern in patterns.values():
        assert 0 <= unspent(pattern, replicate.budget) < max(replicate.layers[1])
    found = allocation(ALLOCATOR, replicate)
    told = json.loads((tmp_path / "0" / "race" / race.FILE).read_text())
    assert manifest.names(tmp_path / "0" / "race") == (race.FILE,)
    assert found.pattern == patterns[told["winner"]]
    names = [each["name"] for each in told["standings"]]
    assert sorted([UNIFORM, *names]) == sorted(patterns)
    assert [each["steps"] for each in told["standings"]].count(4) == 2
    first, *others = rounds(4, len(patterns) - 1)
    work = first.steps * len(patterns) + sum(
        each.steps * (1 + before.keep)
        for before, each in zip([first, *others], others, strict=False)
    )
    assert found.spent.cost.backwards == race.FOLDS * work


@pytest.mark.parametrize(("gain", "winner"), [(-0.3, "best"), (-0.001, UNIFORM), (0.3, UNIFORM)])
def test_uniform_ranks_stay_unless_another_is_clearly_better(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, gain: float, winner: str
) -> None:
    asked = list[tuple[int, list[str]]]()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(100, generator=generator, dtype=torch.float64)
    noise -= noise.mean()

    def scored(
        config: Any, prepared: Any, seed: int, candidates: Sequence[Candidate], **given: Any
    ) -> CrossFit:
        asked.append((candidates[0].options.steps, [each.name for each in candidates]))
        worse = [
            0.0 if c.name == UNIFORM else gain if c.name == "best" else 1.0 + int(c.name)
            for c in candidates
        ]
        rows = [mean + (noise if mean else 0 * noise) for mean in worse]
        return CrossFit(torch.stack(rows), Cost(1, 1))

    monkeypatch.setattr(race, "cross_fit", scored)
    replicate = Replicate(config, 0)
    pattern = uniform(replicate)
    patterns = dict.fromkeys([UNIFORM, "3", "1", "best", "2", "4"], pattern)
    outcome = run(replicate, patterns)
    assert outcome.winner == winner
    assert asked == [
        (1, [UNIFORM, "3", "1", "best", "2", "4"]),
        (4, [UNIFORM, "best", "1"]),
    ]
    assert [each.name for each in outcome.standings] == ["best", "1", "2", "3", "4"]
    assert replicate.cost == Cost(len(asked), len(asked))
