"""A retraining that was stopped goes on to the same bytes, or says why it cannot."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import DatasetDict
from transformers import PreTrainedTokenizerBase

from autolora_meta.errors import InputError, NotFinite
from autolora_meta.finetuning.batch_order import Collate
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.lora import layer_costs
from autolora_meta.finetuning.models import ModelOptions, load_model
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainOptions, RetrainResult, retrain
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.finetuning.tasks import Task
from autolora_meta.foundation.checkpoints import Checkpoints, Every
from autolora_meta.ranks.pattern import RankPattern

Run = Callable[..., RetrainResult]


class Killed(Exception):
    """In place of a kill: nothing is saved when it comes."""


class Stopping:
    """Progress that calls `stop` after so many steps."""

    def __init__(self, steps: int, stop: Callable[[], None]) -> None:
        self.left, self.stop = steps, stop

    def start(self, label: str, total: float) -> None: ...

    def close(self) -> None: ...

    def step(self, loss: float | None = None, work: float = 1) -> None:
        self.left -= 1
        if not self.left:
            self.stop()


def kill() -> None:
    raise Killed


@pytest.fixture
def run(folder: Path, task: Task, tokenizer: PreTrainedTokenizerBase, encoded: DatasetDict) -> Run:
    plain = task.collator(tokenizer)

    def go(
        ranks: tuple[int, ...] = (1, 0, 2, 4), collate: Collate = plain, seed: int = 0, **more: Any
    ) -> RetrainResult:
        model = load_model(ModelOptions(name=str(folder)), task, 0)[0]
        names = target_layers(model, "default")
        pattern = RankPattern(names, ranks, layer_costs(model, names), k=4, scale=2.0)
        held = {key: more.pop(key) for key in ("progress", "checkpoints", "say") if key in more}
        rows = len(encoded["train"]) + len(encoded["validation"])
        options = {"steps": 2 * (rows // 8) + 3, "batch_size": 8, "learning_rate": 1e-2} | more
        prepared = Prepared(model, tokenizer, task, encoded, head_modules(model), collate)
        settings = RetrainOptions.model_validate(options)
        return retrain(prepared, pattern, settings, seed=seed, dropout=0.1, **held)

    return go


def weights(result: RetrainResult) -> list[torch.Tensor]:
    return [p.detach() for p in result.model.parameters() if p.requires_grad]


def same(one: RetrainResult, other: RetrainResult) -> bool:
    equal = all(map(torch.equal, weights(one), weights(other)))
    return equal and one.log == other.log and one.metrics == other.metrics


def steps_of_an_epoch(encoded: DatasetDict) -> int:
    return -(-(len(encoded["train"]) + len(encoded["validation"])) // 8)


@pytest.mark.parametrize("options", [{}, {"schedule": "cosine"}, {"group_by_length": True}])
@pytest.mark.parametrize("after", [2, "an epoch", "more than an epoch"])
def test_it_goes_on_to_the_same_bytes(
    run: Run, encoded: DatasetDict, tmp_path: Path, options: dict[str, Any], after: int | str
) -> None:
    epoch = steps_of_an_epoch(encoded)
    steps = {"an epoch": epoch, "more than an epoch": epoch + 2}.get(str(after), 2)
    kept = {"checkpoints": Checkpoints(tmp_path, Every(steps=1))}
    with pytest.raises(Killed):  # the checkpoint of this step is not written any more
        run(progress=Stopping(steps + 1, kill), **kept, **options)
    said: list[str] = []
    again = run(say=said.append, **kept, **options)
    assert f"goes on at step {steps} of {len(again.log)}" in said[0]
    assert same(again, run(**options))


def test_a_collator_that_draws_sees_the_same_random_numbers(
    run: Run, task: Task, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    plain = task.collator(tokenizer)

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = plain(rows)
        hidden = torch.rand(batch["input_ids"].shape) < 0.2
        return {**batch, "input_ids": batch["input_ids"].masked_fill(hidden, 4)}

    kept = {"checkpoints": Checkpoints(tmp_path, Every(steps=1)), "collate": collate}
    with pytest.raises(Killed):
        run(progress=Stopping(4, kill), **kept)
    assert same(run(**kept), run(collate=collate))


@pytest.mark.usefixtures("both_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_when_it_is_saved(
    run: Run, tmp_path: Path, number: signal.Signals
) -> None:
    kept = Checkpoints(tmp_path, Every())
    with pytest.raises(KeyboardInterrupt):
        run(progress=Stopping(3, lambda: os.kill(os.getpid(), number)), checkpoints=kept)
    assert kept.step == 4  # that of the step after the signal: it came when step 3 was logged
    assert same(run(checkpoints=kept), run())


def test_checkpoints_of_another_retraining_are_refused(run: Run, tmp_path: Path) -> None:
    kept = {"checkpoints": Checkpoints(tmp_path, Every(steps=1))}
    with pytest.raises(Killed):
        run(progress=Stopping(4, kill), **kept)
    for other in ({"ranks": (1, 1, 2, 4)}, {"learning_rate": 1e-3}, {"seed": 1}):
        with pytest.raises(InputError, match="not of this retraining: they are of another conf"):
            run(**kept, **other)


def test_numbers_that_are_none_leave_the_state_before_and_name_it(run: Run, tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, Every(steps=1))
    with pytest.raises(
        NotFinite, match=r"at step 2; lower retrain\.learning_rate\. .*step 1 is kept"
    ):
        run(checkpoints=kept, learning_rate=1e30, schedule="constant", warmup=0.0)
    assert kept.step == 1
