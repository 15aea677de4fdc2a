"""Epochs stand in place of steps, and become steps once the rows are read."""

from pathlib import Path

import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.retrain import RetrainOptions
from autolora_meta.pipeline.epochs import in_steps
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.studies.study import Study
from tests.pipeline.tiny_search import changed


@pytest.mark.parametrize(
    ("epochs", "more", "steps"), [(1, {}, 5), (2.5, {}, 13), (3, {"accumulate": 2}, 9)]
)
def test_an_epoch_of_the_retraining_is_one_of_its_trainer(epochs, more, steps) -> None:
    options = RetrainOptions.model_validate({"epochs": epochs, "batch_size": 8} | more)
    found = options.in_steps(36)  # 5 batches; 3 steps of two, the last of one
    assert found.steps == steps and found.epochs is None


def test_either_steps_or_epochs(config: RunConfig) -> None:
    for key, steps in (("retrain", "steps"), ("search", "outer_steps")):
        both = {key: {"epochs": 2, steps: 7}}
        with pytest.raises(InputError, match=rf"{steps} is 7 and epochs is 2; give one of the two"):
            RunConfig.load(config.model_dump(mode="json"), both)
    # A later layer takes the place of an earlier one, whichever of the two it gives.
    over = changed(config, "search.epochs=2", "retrain.steps=70", "retrain.epochs=3")
    assert over.search.epochs == 2 and over.retrain.epochs == 3
    back = changed(over, "search.outer_steps=9")
    assert back.search.epochs is None and back.search.outer_steps == 9


def test_a_run_in_epochs_is_the_run_in_steps(config: RunConfig, tmp_path: Path) -> None:
    asked = changed(config, "search.epochs=3", "retrain.epochs=2", "retrain.batch_size=10")
    rows = prepare(config).rows
    train, both = len(rows["train"]), len(rows["train"]) + len(rows["validation"])
    outer, steps = 3 * (train // 8) - 2, 2 * -(-both // 10)
    known = changed(
        config,
        f"search.outer_steps={outer}",
        f"retrain.steps={steps}",
        "retrain.batch_size=10",
    )
    assert in_steps(asked) == known
    one, other = (Study.of(each, tmp_path / "run") for each in (asked, known))
    assert [run.id for run in one.planned] == [run.id for run in other.planned]
    assert one.base == other.base and one.base.retrain.epochs is None


def test_epochs_that_the_warm_up_takes_are_said(config: RunConfig) -> None:
    asked = changed(config, "search.epochs=1", "search.warmup_steps=50")
    with pytest.raises(InputError, match=r"search.warmup_steps 50 takes them all"):
        in_steps(asked)
