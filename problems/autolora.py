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

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autolora_meta.bilevel.batches import Batches, Loss
from autolora_meta.bilevel.engine import Dependencies, SearchEngine
from autolora_meta.bilevel.gating import Gates
from autolora_meta.bilevel.options import SearchOptions, Selection
from autolora_meta.bilevel.problem import LoraProblem
from autolora_meta.foundation.progress import Progress, Row
from autolora_meta.foundation.randomness import derive


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


class Noise:
    """Endless Gaussian tensors in place of batches.

    Args:
        shape: of each tensor.
        seed: of the sequence.
    """

    def __init__(self, shape: Sequence[int], seed: int) -> None:
        self._shape, self._seed, self._drawn = tuple(shape), seed, 0

    def next(self) -> Tensor:
        noise = self.peek()
        self._drawn += 1
        return noise

    def peek(self) -> Tensor:
        generator = torch.Generator().manual_seed(derive(self._seed, "noise", self._drawn))
        return torch.randn(self._shape, generator=generator)

    def state_dict(self) -> dict[str, int]:
        return {"drawn": self._drawn}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self._drawn = state["drawn"]


class RandomGradients(LoraProblem):
    """Outer problem of the control: a random linear function of alpha, whose gradient is noise.

    It does not run the model, so it costs nothing.
    """

    def training_step(self, batch: Tensor) -> Tensor:
        return (batch * self.module.logits).sum()

    def training_step_exec(self, batch: Tensor) -> Tensor:
        return self.training_step(batch)

    def backward(
        self, loss: Tensor, params: Sequence[Tensor], paths: Sequence[Any], **_: Any
    ) -> None:
        self.set_grads(params, torch.autograd.grad(loss, list(params)))


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
) -> SearchEngine:
    """Return an engine with the two problems of AutoLoRA, ready to `run`.

    Args:
        model: a PeftModel whose components `gates` weigh (`autolora_meta.bilevel.gating.gated`).
        gates: the selection variables.
        train_batches: endless training batches, for the inner problem.
        validation_batches: endless validation batches, for the outer problem.
        loss: (model, batch) -> scalar.
        options: schedule, optimizers and hypergradient method.
        selection: frozen leaves out Validation, so that gates stay at their start; random puts
            RandomGradients in its place, seeded from torch's random state.
        device: of model, gates and batches.
        progress: told after each inner step.
        observe: given one row of figures after each outer step.
    """
    autocast = options.precision == "bf16"
    gates.to(device).requires_grad_(selection != "frozen")
    finetune = Finetune(
        "finetune",
        loss=loss,
        module=model.to(device),
        optimizer=options.inner.build_for(model),
        batches=train_batches,
        hypergradient=options.hypergradient if selection == "learned" else None,
        inner_steps=options.inner_steps,
        warmup_steps=options.warmup_steps,
        autocast=autocast,
    )
    problems: list[LoraProblem] = [finetune]
    dependencies: Dependencies = {"u2l": {}, "l2u": {}}
    if selection != "frozen":
        learned = selection == "learned"
        outer = (Validation if learned else RandomGradients)(
            "validation",
            module=gates,
            optimizer=options.outer.build(gates.parameters()),
            batches=validation_batches
            if learned
            else Noise(gates.logits.shape, torch.initial_seed()),
            autocast=autocast,
        )
        problems = [outer, finetune]
        # Validation differentiates through Finetune's step; alpha stands in Finetune's loss.
        dependencies = {"u2l": {outer: [finetune]} if learned else {}, "l2u": {finetune: [outer]}}
    return SearchEngine(
        problems,
        dependencies,
        gates=gates,
        options=options,
        device=device,
        progress=progress,
        observe=observe,
    )
