"""Weights of training rows (arXiv 1803.09050, 1902.07379): learn which rows to trust.

    outer    min over a   L_validation(W*(a))
    inner    W*(a) = argmin over W   sum_i sigmoid(a_i) l_i(W) / sum_i sigmoid(a_i)

W are the LoRA factors and the head, l_i the loss of training row i, a_i the logit of its weight.
Validation rows are clean. The weights do not stand in the outer loss, so the hypergradient is its
implicit part alone: after one step with rate eta it is, by the normalised weight of row i,

    df/dw_i = -eta <v, grad l_i(W)>,   v = grad f(W'),

so a row gains weight where a step along its own gradient lowers the validation loss. One search
step:

    1. Finetune takes a step on a batch of weighted training rows
    2. Validation takes the loss of its batch there, and moves the weights of that batch's rows
    3. Finetune goes back to W and repeats its step with the new weights (look-ahead)

The first paper keeps no weight from one step to the next, the second makes them a small network of
the row's loss. Here each row keeps one, which many passes over few rows can learn.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.bilevel.feed import Batches, Loss
from autolora_meta.bilevel.formulation import Formulation
from autolora_meta.bilevel.options import SearchOptions, Selection
from autolora_meta.bilevel.problem import LoraProblem
from autolora_meta.bilevel.random_gradients import RandomGradients
from autolora_meta.bilevel.row_weights import RowWeights
from autolora_meta.finetuning.numbered_rows import losses_of_batch, parted
from autolora_meta.foundation.device import resolved_precision
from autolora_meta.foundation.progress import Progress, Row
from autolora_meta.hypergradients.choice import HypergradientOptions


class Finetune(LoraProblem):
    """Inner problem: the weighted training loss, over LoRA factors and head."""

    def __init__(self, name: str, *, loss: Loss, weights: RowWeights, **problem: Any) -> None:
        super().__init__(name, **problem)
        self.loss_function, self.weights = loss, weights

    def training_step(self, batch: Any) -> Tensor:
        numbers, inputs = parted(batch)
        losses = losses_of_batch(self.loss_function, self.module, inputs, len(numbers))  # (B,)
        w = self.weights(numbers)  # (B,)
        return (w * losses).sum() / w.sum()


class Validation(LoraProblem):
    """Outer problem: the loss of the fine-tuned model on clean rows, over the weights' logits."""

    def training_step(self, batch: Any) -> Tensor:
        return self.finetune.loss_function(self.finetune.module, batch)


def _reweighting(
    model: nn.Module,
    weights: RowWeights,
    train_batches: Batches,
    validation_batches: Batches,
    loss: Loss,
    options: SearchOptions,
    *,
    selection: Selection = "learned",
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    observe: Callable[[Row], None] = lambda row: None,
) -> SearchEngine:
    """Return an engine that learns weights of training rows, ready to `run`.

    Args:
        model: a PeftModel.
        weights: of all training rows.
        train_batches: endless batches of numbered training rows, for the inner problem.
        validation_batches: endless batches of clean rows, for the outer problem.
        loss: (model, batch) -> scalar, a mean over rows.
        options: schedule, optimizers and hypergradient method. A balanced weight counts as 1: there
            is no direct part to balance the implicit one with.
        selection: frozen leaves out Validation, so that the weights stay at their start; random
            moves them along noise.
        device: of model, weights and batches.
        progress: told after each inner step.
        observe: given one row of figures after each outer step.
    """
    bf16 = resolved_precision(options.precision, device) == "bf16"
    weights.to(device).requires_grad_(selection != "frozen")
    finetune = Finetune(
        "finetune",
        loss=loss,
        weights=weights,
        module=model.to(device),
        optimizer=options.inner.build_for(model),
        batches=train_batches,
        hypergradient=_of_one_part(options.hypergradient) if selection == "learned" else None,
        inner_steps=options.inner_steps,
        warmup_steps=options.warmup_steps,
        diagnostics_every=options.diagnostics_every,
        autocast=bf16,
    )
    engine = partial(
        SearchEngine,
        gates=weights,
        options=options,
        device=device,
        progress=progress,
        observe=observe,
    )
    if selection == "frozen":
        return engine([finetune], {"u2l": {}, "l2u": {}})
    optimizer = options.outer.build(weights.parameters())
    if selection == "random":
        noise = RandomGradients("validation", gates=weights, optimizer=optimizer)
        return engine([noise, finetune], {"u2l": {}, "l2u": {finetune: [noise]}})
    validation = Validation(
        "validation", module=weights, optimizer=optimizer, batches=validation_batches, autocast=bf16
    )
    return engine(
        [validation, finetune],
        {
            "u2l": {validation: [finetune]},  # it differentiates through Finetune's steps
            "l2u": {finetune: [validation]},  # the weights stand in Finetune's loss
        },
    )


def _of_one_part(method: HypergradientOptions) -> HypergradientOptions:
    """Return the method with 1 in the place of a balanced weight."""
    balanced = method.weight == "balanced"
    return method.model_copy(update={"weight": 1.0}) if balanced else method


reweighting = Formulation(_reweighting, learns="weights of rows", direct=False)
