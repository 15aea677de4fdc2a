"""A retraining picks its rate for its ranks on rows that it did not see."""

from pathlib import Path
from typing import Any

import pytest
import torch

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import layer_costs
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.foundation.cost import Cost
from autolora_meta.pipeline import tune as tuning
from autolora_meta.pipeline.cross_fit import Candidate, CrossFit, cross_fit
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.tune import tune
from autolora_meta.ranks.pattern import RankPattern
from tests.tiny import tiny_bert, tiny_csv

RATES = (1e-9, 0.02)


def test_the_rate_is_picked_that_does_best_on_held_out_rows(tmp_path: Path) -> None:
    config = RunConfig.load(
        {
            "name": "tiny",
            "model": {"name": str(tiny_bert(tmp_path / "model", dropout=0.0))},
            "data": {
                "source": str(tiny_csv(tmp_path / "rows.csv", 60)),
                "train_rows": 16,
                "validation_rows": 16,
            },
            "lora": {"k": 2, "targets": ["query", "value"]},
            "retrain": {"steps": 8, "batch_size": 8, "weight_decay": 0.1},
            "compare": {"tune": {"retrain.learning_rate": RATES, "retrain.warmup": [0.0, 0.5]}},
            "runtime": {"device": "cpu", "stack": 32},
        }
    )
    prepared = prepare(config)
    names = target_layers(prepared.model, config.lora.targets)
    costs = layer_costs(prepared.model, names)
    pattern = RankPattern(names, (1,) * len(names), costs, 2, 2.0)
    found = tune(config, prepared, 0, pattern)
    losses = {}
    for rate in RATES:
        for warmup in (0.0, 0.5):
            options = config.retrain.model_copy(update={"learning_rate": rate, "warmup": warmup})
            alone = cross_fit(config, prepared, 0, [Candidate("", pattern, options)])
            losses[rate, warmup] = float(alone.losses.mean())
    rate, warmup = min(losses, key=lambda point: losses[point])
    assert found.picked == {"retrain.learning_rate": rate, "retrain.warmup": warmup}
    # 4 folds of 8 rows, each scored in one batch; 4 points
    assert (found.cost.forwards, found.cost.backwards) == (4 * 4 * (8 + 1), 4 * 4 * 8)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            {"retrain.steps": [1, 2]},
            r"compare\.tune: 'retrain\.steps' is nothing to pick; allowed: retrain",
        ),
        ({"retrain.learning_rate": []}, r"compare\.tune: retrain\.learning_rate has no values"),
        ({"retrain.warmup": [0.1, 0.1]}, r"retrain\.warmup \[0\.1, 0\.1\] has a value twice"),
        ({"retrain.warmup": [0.1]}, r"\{retrain\.warmup: \[0\.1\]\} is one point"),
        ({"retrain.learning_rate": [0.1, 0]}, r"should be greater than 0 \(given: 0\)"),
        ({"retrain.learning_rate": ["fast"]}, r"compare\.tune"),
    ],
)
def test_a_grid_that_leaves_no_choice_is_refused_before_anything_is_read(
    grid: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig.load("quickstart", {"compare": {"tune": grid}})


def test_rows_with_nothing_to_predict_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    nan = float("nan")
    losses = torch.tensor([[2.0, nan, 4.0], [1.0, nan, 3.0]], dtype=torch.float64)
    monkeypatch.setattr(tuning, "cross_fit", lambda *_, **__: CrossFit(losses, Cost(1, 1)))
    base = {"name": "n", "model": {"name": "m"}, "data": {"source": "d.csv"}}
    config = RunConfig.load(base, {"compare": {"tune": {"retrain.learning_rate": RATES}}})
    pattern: Any = None
    prepared: Any = None
    assert tune(config, prepared, 0, pattern).picked == {"retrain.learning_rate": RATES[1]}
