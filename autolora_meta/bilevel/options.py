"""The options of a search: schedule, optimizers, hypergradient, gates."""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from autolora_meta.gating import GateOptions
from autolora_meta.hypergradients.choice import HypergradientOptions, parse
from autolora_meta.hypergradients.products import Cost, plain_steps
from autolora_meta.options import Options

# frozen leaves all gates at their start: plain LoRA, read out the same way.
Selection = Literal["learned", "frozen"]


class OptimizerOptions(Options):
    """An optimizer of torch and its settings."""

    name: Literal["adamw", "adam", "sgd"] = Field(
        default="adamw", description="Which optimizer of torch."
    )
    learning_rate: float = Field(
        default=1e-3, gt=0, description="Length of a step; the same through the whole search."
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="Decay of adamw; L2 penalty of the others."
    )
    momentum: float = Field(
        default=0.0, ge=0, lt=1, description="Momentum of sgd; the others ignore it."
    )

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer over `parameters`."""
        lr, decay = self.learning_rate, self.weight_decay
        if self.name == "sgd":
            return torch.optim.SGD(parameters, lr=lr, weight_decay=decay, momentum=self.momentum)
        kind = torch.optim.AdamW if self.name == "adamw" else torch.optim.Adam
        return kind(parameters, lr=lr, weight_decay=decay)


class OuterOptimizerOptions(OptimizerOptions):
    """The optimizer of the gates' logits."""

    learning_rate: float = Field(
        default=1e-2,
        gt=0,
        description="Length of a step of the logits. 5e-2 with softmax gates drove one gate of "
        "each layer to 1 within 100 steps; watch gate_entropy in metrics.jsonl.",
    )


class SearchOptions(Options):
    """One search: what is alternated, for how long, and how the hypergradient is taken."""

    problem: str = Field(
        default="autolora",
        description="The bilevel formulation: an entry point of autolora_meta.problems.",
    )
    hypergradient: HypergradientOptions = Field(
        default_factory=lambda: parse("darts"),
        description="A method's name, or a mapping with `method` and that method's own options. "
        "`autolora-meta methods` lists them.",
    )
    schedule: Literal["look_ahead", "alternating"] = Field(
        default="look_ahead",
        description="look_ahead puts the weights back and repeats the inner steps with the new "
        "gates (the paper); alternating keeps them, at one plain step less.",
    )
    outer_steps: int = Field(default=100, ge=1, description="Steps of the gates.")
    inner_steps: int = Field(
        default=1, ge=1, description="Steps of the LoRA factors per outer step."
    )
    warmup_steps: int = Field(
        default=20,
        ge=0,
        description="Inner steps before the gates move: while B is near 0 there is nothing to "
        "learn from.",
    )
    batch_size: int = Field(default=16, ge=1, description="Rows of a training batch.")
    outer_batch_size: int = Field(default=16, ge=1, description="Rows of a validation batch.")
    inner: OptimizerOptions = Field(
        default_factory=OptimizerOptions, description="Optimizer of the LoRA factors and the head."
    )
    outer: OuterOptimizerOptions = Field(
        default_factory=OuterOptimizerOptions, description="Optimizer of the gates' logits."
    )
    gates: GateOptions = Field(
        default_factory=GateOptions, description="How gates follow from their logits."
    )
    precision: Literal["float32", "bf16"] = Field(
        default="float32",
        description="bf16: training passes under autocast. Hypergradients are always float32.",
    )
    diagnostics_every: int = Field(
        default=0,
        ge=0,
        description="Every so many outer steps, check that replayed masks give the same gradient, "
        "and how far other masks change the implicit part (replay_error and mask_agreement in "
        "metrics.jsonl), at about 4 plain steps a time; 0: never.",
    )

    @property
    def total_inner_steps(self) -> int:
        """Inner steps of the whole search, warm-up included, repeats not."""
        return self.warmup_steps + self.outer_steps * self.inner_steps

    def work(self, selection: Selection = "learned") -> float:
        """The whole search in plain steps, at most: what progress is measured against."""
        inner = Cost(self.total_inner_steps, self.total_inner_steps)
        if selection == "frozen":
            return plain_steps(inner)
        again = self.inner_steps if self.schedule == "look_ahead" else 0
        outer = self.hypergradient.cost(centre_known=True) + Cost(1 + again, 1 + again)
        return plain_steps(inner) + self.outer_steps * plain_steps(outer)
