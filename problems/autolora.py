"""AutoLoRA (arXiv 2403.09113): learn which rank-1 components each layer needs.

    outer    min over alpha   L_validation(W*(alpha), alpha)
    inner    W*(alpha) = argmin over W   L_train(W, alpha)

W are the LoRA factors and the head, alpha the gates of the components: the update of layer l is
sum_j alpha_lj u_lj v_lj^T. One search step (section 3.3 of the paper):

    1. Finetune takes a step on a training batch:             W' = W - eta dL_train/dW
    2. Validation takes the loss of its batch at W' and moves alpha along the hypergradient
    3. Finetune goes back to W and repeats its step with the new alpha (look-ahead)

A control puts RandomGradients in place of Validation: the same search, with noise moving alpha.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.bilevel.feed import Batches, Loss
from autolora_meta.bilevel.gating import Gates
from autolora_meta.bilevel.options import SearchOptions, Selection
from autolora_meta.bilevel.problem import LoraProblem
from autolora_meta.bilevel.random_gradients import RandomGradients
from autolora_meta.finetuning.staying import moved
from autolora_meta.foundation.device import resolved_precision
from autolora_meta.foundation.progress import Progress, Row


class Finetune(LoraProblem):
    """Inner problem: the training loss, over LoRA factors and head."""

    def __init__(self, name: str, *, loss: Loss, **problem: Any) -> None:
        super().__init__(name, **problem)
        self.loss_function = loss

    def training_step(self, batch: Any) -> Tensor:
        return self.loss_function(self.module, batch)


class Validation(LoraProblem):
    """Outer problem: the validation loss of the fine-tuned model, over the gates' logits."""

    def training_step(self, batch: Any) -> Tensor:
        return self.finetune.loss_function(self.finetune.module, batch)


def autolora(
    model: nn.Module,
    gates: Gates,
    train_batches: Batches,
    validation_batches: Batches,
    loss: Loss,
    options: SearchOptions,
    *,
    selection: Selection = "learned",
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    observe: Callable[[Row], None] = lambda row: None,
    seeds: Sequence[int] | None = None,
) -> SearchEngine:
    """Return an engine with the two problems of AutoLoRA, ready to `run`.

    Args:
        model: a PeftModel whose components `gates` weigh (`autolora_meta.bilevel.gating.gated`).
        gates: the selection variables; of several searches at once (`Gates.several`), whose
            numbers `model` holds, too (`autolora_meta.finetuning.stacked`).
        train_batches: endless training batches, for the inner problem.
        validation_batches: endless validation batches, for the outer problem.
        loss: (model, batch) -> scalar; of several searches one for each, (R,).
        options: schedule, optimizers and hypergradient method.
        selection: frozen leaves out Validation, so that gates stay at their start; random puts
            RandomGradients in its place, seeded from torch's random state or from `seeds`.
        device: of model, gates and batches.
        progress: told after each inner step.
        observe: given one row of figures after each outer step.
        seeds: of several searches, of the noise of each.
    """
    bf16 = resolved_precision(options.precision, device) == "bf16"
    gates.to(device).requires_grad_(selection != "frozen")
    finetune = Finetune(
        "finetune",
        loss=loss,
        module=moved(model, device),
        optimizer=options.inner.build_for(model),
        batches=train_batches,
        hypergradient=options.hypergradient if selection == "learned" else None,
        inner_steps=options.inner_steps,
        warmup_steps=options.warmup_steps,
        diagnostics_every=options.diagnostics_every,
        autocast=bf16,
        members=gates.members,
    )
    engine = partial(
        SearchEngine,
        gates=gates,
        options=options,
        device=device,
        progress=progress,
        observe=observe,
    )
    if selection == "frozen":
        return engine([finetune], {"u2l": {}, "l2u": {}})
    optimizer = options.outer.build(gates.parameters())
    if selection == "random":
        noise = RandomGradients("validation", gates=gates, optimizer=optimizer, seeds=seeds)
        return engine([noise, finetune], {"u2l": {}, "l2u": {finetune: [noise]}})
    validation = Validation(
        "validation",
        module=gates,
        optimizer=optimizer,
        batches=validation_batches,
        autocast=bf16,
        members=gates.members,
    )
    return engine(
        [validation, finetune],
        {
            "u2l": {validation: [finetune]},  # it differentiates through Finetune's steps
            "l2u": {finetune: [validation]},  # alpha stands in Finetune's loss
        },
    )
