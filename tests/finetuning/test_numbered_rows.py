"""Weights of rows in a retraining: what weighs nothing does nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from datasets import Dataset, DatasetDict

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainOptions, RetrainResult, retrain
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.program import program_of
from autolora_meta.ranks.pattern import RankPattern
from tests.tiny import tiny_bert, tiny_csv

OPTIONS = RetrainOptions(steps=4, batch_size=8)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, RankPattern]:
    place: Path = tmp_path_factory.mktemp("weighted")
    config = RunConfig.load(
        {
            "name": "weighted",
            "model": {"name": str(tiny_bert(place / "model"))},
            "data": {"source": str(tiny_csv(place / "rows.csv", 60)), "train_rows": 24},
            "lora": {"k": 2, "targets": ["query"]},
        }
    )
    found = prepare(config)
    names = program_of(config, found, 0).targets().names
    return found, RankPattern(names, (1,) * len(names), (32,) * len(names), k=2, scale=1.0)


def trained(given: tuple[Prepared, RankPattern], weights: torch.Tensor | None) -> RetrainResult:
    return retrain(*given, OPTIONS, seed=0, weights=weights)


def numbers(result: RetrainResult) -> torch.Tensor:
    return torch.cat([p.flatten() for p in result.model.parameters() if p.requires_grad])


def test_equal_weights_train_as_none_do(prepared: tuple[Prepared, RankPattern]) -> None:
    count = len(prepared[0].rows["train"]) + len(prepared[0].rows["validation"])
    plain, equal = (trained(prepared, w) for w in (None, torch.full((count,), 0.3)))
    torch.testing.assert_close(numbers(equal), numbers(plain), rtol=1e-3, atol=1e-5)
    assert equal.metrics == pytest.approx(plain.metrics, rel=1e-3)


def test_the_label_of_a_row_without_weight_does_not_matter(
    prepared: tuple[Prepared, RankPattern],
) -> None:
    found, pattern = prepared
    train = found.rows["train"]
    count = len(train) + len(found.rows["validation"])
    weights = torch.ones(count)
    weights[:12] = 0
    held = train[:]
    held["labels"] = [(y + 1) % 3 if i < 12 else y for i, y in enumerate(held["labels"])]
    changed = DatasetDict({**found.rows, "train": Dataset.from_dict(held)})
    other = replace(found, rows=changed), pattern
    assert torch.equal(numbers(trained(prepared, weights)), numbers(trained(other, weights)))
    assert not torch.equal(numbers(trained(prepared, None)), numbers(trained(other, None)))


@pytest.mark.parametrize("weights", [torch.ones(3), torch.full((48,), -1.0), torch.zeros(48)])
def test_weights_that_do_not_fit_are_refused(
    weights: torch.Tensor, prepared: tuple[Prepared, RankPattern]
) -> None:
    with pytest.raises(InputError, match="at least 0 for each of the"):
        trained(prepared, weights)
