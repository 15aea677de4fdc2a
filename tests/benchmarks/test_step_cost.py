"""The cost benchmark: every arm steps, and a missed bound is said to be missed."""

import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.prepare import Prepared, prepare
from benchmarks.arms import ARMS, PLAIN, Arm, opened
from benchmarks.step_cost import verdicts
from tests.tiny import tiny_bert, tiny_csv


@pytest.fixture(scope="module")
def person(tmp_path_factory) -> tuple[RunConfig, Prepared]:
    folder = tmp_path_factory.mktemp("person")
    config = RunConfig.load(
        {
            "name": "mine",
            "model": {"name": str(tiny_bert(folder / "model"))},
            "data": {"source": str(tiny_csv(folder / "rows.csv"))},
            "task": {"max_length": 16},
            "lora": {"k": 2},
            "search": {"batch_size": 8, "outer_batch_size": 8},
        }
    )
    return config, prepare(config.model, config.data, config.task, config.seed)


@pytest.mark.parametrize("arm", [PLAIN, *ARMS], ids=lambda arm: arm.label)
def test_every_arm_takes_steps(arm, person):
    with opened(arm, *person) as step:
        step()
        step()


def row(arm: Arm, ratio: float, memory: float | None) -> dict:
    return {**arm._asdict(), "ratio_to_plain": ratio, "memory_ratio": memory}


def test_bounds_that_are_missed_are_told():
    cheap = Arm("darts", "forward", "alternating")
    (time, memory) = verdicts([row(cheap, 3.2, 1.3)])
    assert time.startswith("holds") and memory.startswith("MISSED")
    assert verdicts([row(Arm("one_step", None, "alternating"), 9.0, 9.0)]) == []
