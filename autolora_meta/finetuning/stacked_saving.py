"""A stack that goes on where it was: to the same bytes, or not at all."""

from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from autolora_meta.finetuning.known_by import rows_hash
from autolora_meta.finetuning.stacked import Stack
from autolora_meta.finetuning.stacked_adamw import StackedAdamW
from autolora_meta.finetuning.stacked_jobs import Job
from autolora_meta.foundation.checkpoints import (
    Checkpoints,
    machine,
    refuse_other,
    tell_elsewhere,
)
from autolora_meta.foundation.content_hash import base_hash, content_hash
from autolora_meta.foundation.interrupts import Stop
from autolora_meta.foundation.options import hashed
from autolora_meta.foundation.progress import Say
from autolora_meta.foundation.randomness import RandomState
from autolora_meta.foundation.version import __version__


class Saving:
    """Saves what a stack trains between two steps, and puts it back.

    Args:
        checkpoints: of this stack alone.
        stack: at its start.
        jobs: of the stack.
        dropout: on the input of the adapters.
    """

    def __init__(
        self, checkpoints: Checkpoints, stack: Stack, jobs: Sequence[Job], dropout: float
    ) -> None:
        self._checkpoints, self._stack = checkpoints, stack
        about = [[asdict(job.pattern), hashed(job.options), job.seed] for job in jobs]
        rows = {id(job.prepared): rows_hash(job.prepared) for job in jobs}
        self._known = {
            "configuration": content_hash(about, dropout, stack.vector, __version__),
            "base": base_hash(stack.model),
            "batches": content_hash([rows[id(job.prepared)] for job in jobs]),
        }

    def restore(self, adamw: StackedAdamW, losses: Tensor, say: Say) -> int:
        """Put back the last checkpoint, if there is one, and return the steps that it has seen.

        Args:
            adamw: the optimizer.
            losses: of each step of each adapter, changed in place. (R, T)
            say: told from where the stack goes on.

        Raises:
            InputError: the checkpoint is of another stack.
        """
        if (found := self._checkpoints.latest()) is None:
            return 0
        step, state = found
        refuse_other(self._checkpoints, "retraining", state["known"], self._known)
        tell_elsewhere(state["where"], machine(losses.device))
        steps, folder = losses.shape[1], self._checkpoints.folder
        say(f"goes on at step {step} of {steps} (a checkpoint in {folder})")
        with torch.no_grad():
            self._stack.vector.copy_(state["vector"])
            losses.copy_(state["losses"])
        adamw.load_state_dict(state["optimizer"])
        RandomState.of(state["random"]).restore()
        return step

    def between(self, step: int, adamw: StackedAdamW, losses: Tensor, stop: Stop) -> None:
        """Save after a step if it is time, or a signal asks for the end, which this lets happen."""
        if stop.asked or self._checkpoints.due(step):
            state = {
                "known": self._known,
                "where": machine(losses.device),
                "vector": self._stack.vector,
                "optimizer": adamw.state_dict(),
                "losses": losses,
                "random": RandomState.snapshot().state_dict(),
            }
            self._checkpoints.save(step, state)
            stop.now()
