"""What a retraining leaves."""

from dataclasses import dataclass

import torch
from peft import PeftModel

from autolora_meta.finetuning.tasks import Processor


@dataclass(frozen=True)
class RetrainResult:
    """A trained adapter and its metrics.

    Args:
        model: the base with the adapter "default" and the trained head, in eval mode on the CPU
            (a base that stays where it was loaded: there).
        tokenizer: of the base; for a model of pictures, its image processor.
        metrics: the task's metrics on the test rows; none where losses are wanted.
        log: {"step", "loss", "learning_rate"} of each step.
        parameters: trained parameters of the adapter, head excluded.
        sample: a few encoded test rows as a batch, to check a saved adapter with.
        losses: of the test rows, where they are wanted. (n,) float64
    """

    model: PeftModel
    tokenizer: Processor
    metrics: dict[str, float]
    log: list[dict[str, float]]
    parameters: int
    sample: dict[str, torch.Tensor]
    losses: torch.Tensor | None = None
