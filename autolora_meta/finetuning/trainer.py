"""The Trainer, with the loss of a task, that goes on from checkpoints without a pickle."""

import json
import math
from collections.abc import Callable, Mapping, Sized
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback

from autolora_meta.errors import NotFinite
from autolora_meta.finetuning.batch_order import Collate
from autolora_meta.foundation import processes
from autolora_meta.foundation.checkpoints import (
    Checkpoints,
    machine,
    naming_what_is_kept,
    refuse_other,
    tell_elsewhere,
)
from autolora_meta.foundation.interrupts import Stop
from autolora_meta.foundation.parts import Count, rows
from autolora_meta.foundation.places import replace_text
from autolora_meta.foundation.progress import Progress, Say
from autolora_meta.foundation.randomness import RandomState, derive, seeded

_STATE = "trainer_state.json"  # the one file of a checkpoint that the Trainer reads itself


class TaskTrainer(Trainer):
    """The Trainer, with the loss of a task.

    Its own checkpoints hold pickles, are half there after a kill, and lose the order of rows that
    are grouped by length. Here each is one file, of what is trained.

    Args:
        loss: (model, batch) -> scalar.
        collate: makes a batch of a list of rows; what it draws hangs on the number of the batch.
        autocast: training passes under bfloat16 autocast. The Trainer's own `bf16` would leave the
            model under autocast for good.
        count: batch -> how many its loss is the mean of, by which accumulated passes are joined.
        settings: of the Trainer.
    """

    def __init__(
        self,
        loss: Callable[[nn.Module, Mapping[str, Any]], Tensor],
        collate: Collate,
        *,
        autocast: bool = False,
        count: Count = rows,
        **settings: Any,
    ) -> None:
        self._autocast, self._count, self._total = autocast, count, 1.0
        self._rows: Sized = settings["train_dataset"]
        self._loss, self._collator = loss, _Numbered(collate, settings["args"].seed)
        super().__init__(data_collator=self._collator, **settings)
        if self.args.gradient_accumulation_steps > 1:
            self.model_accepts_loss_kwargs = False  # the Trainer divides, `compute_loss` weighs
        self._checkpoints: Checkpoints | None = None
        self._known: dict[str, str] = {}
        self._found: dict[str, Any] = {}
        self._epoch_began = RandomState.snapshot()
        self._to_restore: RandomState | None = None

    def compute_loss(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, model: nn.Module, inputs: dict[str, Any], **_: Any
    ) -> Tensor:
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=self._autocast):
            loss = self._loss(model, inputs)
        if self.args.gradient_accumulation_steps == 1:
            return loss
        passes = self.current_gradient_accumulation_steps  # fewer at the end of an epoch
        return loss * (passes * self._count(inputs) / self._total)

    def get_batch_samples(self, *given: Any, **named: Any) -> Any:
        found = super().get_batch_samples(*given, **named)
        self._total = float(sum(map(self._count, found[0])))
        return found

    def training_step(self, model: nn.Module, *given: Any, **more: Any) -> Tensor:
        """Take the gradients of one batch; of processes that share it out, the sum of theirs."""
        if processes.count() == 1:
            return super().training_step(model, *given, **more)
        trained = [p for p in model.parameters() if p.requires_grad]
        before = [p.grad for p in trained]  # of other batches of this step
        for parameter in trained:
            parameter.grad = None
        loss = super().training_step(model, *given, **more)
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        *found, whole = processes.summed([*own, loss])
        for parameter, held, gradient in zip(trained, before, found, strict=True):
            parameter.grad = gradient if held is None else held + gradient
        return whole

    def train_from(
        self, checkpoints: Checkpoints, known: dict[str, str], stop: Stop, say: Say
    ) -> None:
        """Train from the last checkpoint, or from the start, and save on the way.

        Args:
            checkpoints: of this training alone.
            known: hashes of `configuration`, `base` and `batches`.
            stop: a signal at which to save and end.
            say: told from where it goes on.

        Raises:
            InputError: the checkpoint is of another training.
            NotFinite: the loss is no longer a number; the message names the last checkpoint.
        """
        self._checkpoints, self._known = checkpoints, known
        self.add_callback(_Saving(self, checkpoints, stop))
        with naming_what_is_kept(checkpoints):
            self._go_on(checkpoints, known, say)

    def _go_on(self, checkpoints: Checkpoints, known: dict[str, str], say: Say) -> None:
        if (found := processes.agreed(checkpoints.latest)) is None:
            self.train()
            return
        step, self._found = found
        refuse_other(checkpoints, "retraining", self._found["known"], known)
        tell_elsewhere(self._found["where"], machine(self.args.device))
        say(
            f"goes on at step {step} of {self.args.max_steps} "
            f"(a checkpoint in {checkpoints.folder})"
        )
        place = Path(str(self.args.output_dir))
        replace_text(place / _STATE, self._found["trainer"])
        self._to_restore = RandomState.of(self._found["random"])
        self._collator.count = self._passes(step)
        self.train(resume_from_checkpoint=str(place))

    def _passes(self, steps: int) -> int:
        """Return the number of batches that the first steps have taken."""
        each = self.args.gradient_accumulation_steps
        of_epoch = math.ceil(len(self._rows) / self.args.per_device_train_batch_size)
        epochs, more = divmod(steps, math.ceil(of_epoch / each))
        return epochs * of_epoch + more * each

    def begin_epoch(self) -> None:
        """Note the random state, by which rows are ordered; put it back in a half-done epoch."""
        if self._to_restore is not None:
            half_done = self.state.epoch != int(self.state.epoch or 0)
            began = RandomState.of(self._found["epoch_began"])
            (began if half_done else self._to_restore).restore()
        self._epoch_began = RandomState.snapshot()

    # -- what the Trainer saves -------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        assert self._checkpoints and self.model and self.optimizer and self.lr_scheduler
        state = {
            "known": self._known,
            "where": machine(self.args.device),
            "weights": {n: p for n, p in self.model.named_parameters() if p.requires_grad},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.lr_scheduler.state_dict(),
            "trainer": json.dumps(asdict(self.state)),
            "random": RandomState.snapshot().state_dict(),
            "epoch_began": self._epoch_began.state_dict(),
        }
        if processes.leads():
            self._checkpoints.save(self.state.global_step, state)

    # -- and what it loads ------------------------------------------------------------------------

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        assert self.model
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in self._found["weights"].items():
                parameters[name].copy_(value)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self._found:
            assert self.optimizer and self.lr_scheduler
            self.optimizer.load_state_dict(self._found["optimizer"])
            self.lr_scheduler.load_state_dict(self._found["schedule"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        assert self._to_restore is not None
        self._to_restore.restore()
        self._to_restore = None


class _Numbered:
    """A collator that draws the same whatever was drawn before: batches are made ahead of steps."""

    def __init__(self, collate: Collate, seed: int) -> None:
        self._collate, self._seed, self.count = collate, seed, 0

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        self.count += 1
        with seeded(derive(self._seed, "collate", self.count)):
            return self._collate(rows)


def lost(loss: float, step: int) -> NotFinite:
    """Return what is to be said of a loss that is no number."""
    return NotFinite(
        f"the loss of the retraining is {loss} at step {step}; lower retrain.learning_rate"
    )


class Follow(TrainerCallback):
    """A callback that keeps and shows the loss of each step, and stops when it is not a number."""

    def __init__(self, progress: Progress, steps: int) -> None:
        self.progress = progress
        self.log: list[dict[str, float]] = []
        progress.start("retrain", steps)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for logs in state.log_history:  # of a training that goes on
            self._keep(logs["step"], logs)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self._keep(state.global_step, logs)

    def _keep(self, step: int, logs: Mapping[str, float]) -> None:
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise lost(loss, step)
        self.log.append({"step": step, "loss": loss, "learning_rate": logs["learning_rate"]})
        self.progress.step(loss)


class _Saving(TrainerCallback):
    """Asks for a checkpoint when one is due, and ends the training when that is asked for."""

    def __init__(self, trainer: TaskTrainer, checkpoints: Checkpoints, stop: Stop) -> None:
        self._trainer, self._checkpoints, self._stop = trainer, checkpoints, stop
        self._ends = False

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.begin_epoch()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        due = self._checkpoints.due(state.global_step)
        self._ends, due = processes.anywhere(self._stop.asked, due)
        control.should_save = self._ends or due

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._stop.now()
        if self._ends and processes.count() > 1:  # it came to another process
            raise KeyboardInterrupt
