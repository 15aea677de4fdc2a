"""The options of a search: schedule, optimizers, hypergradient, gates."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from autolora_meta.bilevel.gating import GateOptions
from autolora_meta.bilevel.scaled_sgd import ScaledSGD
from autolora_meta.errors import InputError
from autolora_meta.foundation import plugins
from autolora_meta.foundation.cost import Cost, plain_steps
from autolora_meta.foundation.options import LATER, Options, one_of_two
from autolora_meta.foundation.schema import suggesting
from autolora_meta.hypergradients.choice import DEFAULT, HypergradientOptions, parse

# frozen leaves all gates at their start: plain LoRA, read out the same way. random moves them along
# noise in place of the hypergradient. Both are controls. plain is frozen on training and validation
# rows, all that a retraining sees; what it trains is read for its spectrum.
Selection = Literal["learned", "frozen", "random", "plain"]


class OptimizerOptions(Options):
    """An optimizer of torch and its settings."""

    name: Literal["adamw", "adam", "sgd"] = Field(
        default="adamw", description="Optimizer of torch."
    )
    momentum: float = Field(
        default=0.0, ge=0, lt=1, description="Momentum of sgd; the others ignore it."
    )

    def _build(
        self, groups: Iterable[dict[str, Any]], learning_rate: float
    ) -> torch.optim.Optimizer:
        if self.name == "sgd":
            return torch.optim.SGD(groups, lr=learning_rate, momentum=self.momentum)
        kind = torch.optim.AdamW if self.name == "adamw" else torch.optim.Adam
        return kind(groups, lr=learning_rate)


class InnerOptimizerOptions(OptimizerOptions):
    """The optimizer of the LoRA factors and the head."""

    learning_rate: float = Field(
        default=5e-3, gt=0, description="Length of a step; the same through the whole search."
    )
    weight_decay: float | None = Field(
        default=None,
        ge=0,
        description="Decay of the factors under adamw, L2 penalty under the others; the head has "
        "none. On both factors it is a penalty on the singular values of their product: layers "
        "that need no rank lose it, which helps with few and noisy rows. null: 5 for adamw "
        "(docs/ranks.md), 0 for the others.",
    )

    def build_for(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer over all of `model` that requires gradients, decay on the factors alone."""
        decay = self.weight_decay
        if decay is None:
            decay = 5.0 if self.name == "adamw" else 0.0
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        factors = [p for name, p in trained if "lora_" in name]
        others = [p for name, p in trained if "lora_" not in name]
        groups = [
            {"params": factors, "weight_decay": decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return self._build([group for group in groups if group["params"]], self.learning_rate)


class OuterOptimizerOptions(OptimizerOptions):
    """The optimizer of the gates' logits."""

    name: Literal["adamw", "adam", "sgd", "scaled_sgd"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default="adamw",
        description="Optimizer of torch, or scaled_sgd: gradient descent over the largest root "
        "mean square that the gradient had, for outer variables that are seldom seen, such as "
        "weights of rows.",
    )
    learning_rate: float = Field(
        default=3e-2,
        gt=0,
        description="Length of a step of the logits. 5e-2 with softmax gates drove one gate of "
        "each layer to 1 within 100 steps; watch gate_entropy in metrics.jsonl.",
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="Decay of adamw, L2 penalty of the others."
    )

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer over `parameters`."""
        group = {"params": list(parameters), "weight_decay": self.weight_decay}
        if self.name == "scaled_sgd":
            return ScaledSGD([group], self.learning_rate)
        return self._build([group], self.learning_rate)


class SearchOptions(Options):
    """One search: what is alternated, for how long, and how the hypergradient is taken."""

    problem: str = Field(
        default="autolora",
        description="Bilevel formulation: an entry point of autolora_meta.problems.",
        json_schema_extra=suggesting(lambda: plugins.names(plugins.PROBLEMS)),
    )
    hypergradient: HypergradientOptions = Field(
        default_factory=lambda: parse(DEFAULT),
        description="Name of a method, or a mapping with `method` and that method's own options. "
        "`autolora-meta methods` lists them.",
    )
    schedule: Literal["look_ahead", "alternating"] = Field(
        default="look_ahead",
        description="What follows a step of the gates. look_ahead: the weights go back, and the "
        "inner steps are repeated with the new gates (the paper). alternating: the weights stay, "
        "at one plain step less.",
    )
    outer_steps: int = Field(default=150, ge=1, description="Steps of the gates.")
    epochs: float | None = Field(
        default=None,
        gt=0,
        description="Passes over the training rows, warm-up included, in place of outer_steps, "
        "which follow once the rows are read; null: as outer_steps says.",
        json_schema_extra=LATER,
    )
    inner_steps: int = Field(
        default=1, ge=1, description="Steps of the LoRA factors per outer step."
    )
    warmup_steps: int = Field(
        default=50,
        ge=0,
        description="Inner steps before the gates move, since there is nothing to learn from while "
        "B is near 0.",
    )
    batch_size: int = Field(default=16, ge=1, description="Rows of a training batch.")
    outer_batch_size: int = Field(default=16, ge=1, description="Rows of a validation batch.")
    inner: InnerOptimizerOptions = Field(
        default_factory=InnerOptimizerOptions,
        description="Optimizer of the LoRA factors and the head.",
    )
    outer: OuterOptimizerOptions = Field(
        default_factory=OuterOptimizerOptions, description="Optimizer of the gates' logits."
    )
    gates: GateOptions = Field(
        default_factory=GateOptions, description="How gates follow from their logits."
    )
    precision: Literal["float32", "bf16", "auto"] = Field(
        default="float32",
        description="Precision of training passes; bf16: under autocast; auto: bf16 where the "
        "device is faster with it. Hypergradients are always float32.",
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Passes that make one step, of batch_size or outer_batch_size rows each: "
        "gradients and hypergradients are those of all their rows, and memory holds one pass. "
        "Methods by double backward take a forward and a backward more for each product.",
        json_schema_extra=LATER,
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Whether blocks of the model are computed again on the way back, in the place "
        "of keeping what is in them: less memory, about a third more time, the same gradients.",
        json_schema_extra=LATER,
    )
    diagnostics_every: int = Field(
        default=0,
        ge=0,
        description="Outer steps between two checks that replayed masks give the same gradient, "
        "and of how far other masks change the implicit part (replay_error and mask_agreement in "
        "metrics.jsonl); a check costs about 4 plain steps. 0: never.",
    )

    seeds: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Number of searches of the same rows that differ in their seed (factors, order "
        "of batches, dropout masks); their importance is pooled. 3 or more can show whether the "
        "learned ranks are distinguishable from noise.",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Outer steps without a change of the allocation (at ranks.budget, by "
        "ranks.importance) after which the search ends; null: never early.",
    )
    sensitivity_batches: int = Field(
        default=0,
        ge=0,
        description="Validation batches on which importance `sensitivity` is measured after the "
        "search, at one forward per singular direction and batch; 0: not measured.",
    )

    @classmethod
    def kept_under(cls, below: Any, above: Mapping[str, Any]) -> dict[str, Any]:
        """Let a layer that sets outer_steps or epochs take the place of both below it."""
        return one_of_two(below, above, "outer_steps", "epochs")

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> Self:
        given, default = self.outer_steps, type(self).model_fields["outer_steps"].default
        if self.epochs is not None and given != default:
            raise ValueError(
                f"outer_steps is {given} and epochs is {self.epochs:g}; give one of the two"
            )
        return self

    def in_steps(self, rows: int) -> Self:
        """Return the options with the outer steps that the epochs are over so many rows.

        Raises:
            InputError: the warm-up takes all of them.
        """
        if self.epochs is None:
            return self
        epoch = max(1, rows // (self.batch_size * self.accumulate))  # what is left is dropped
        steps = math.ceil(self.epochs * epoch)
        if steps <= self.warmup_steps:
            raise InputError(
                f"search.epochs is {self.epochs:g}, {steps} steps of {rows} rows, and "
                f"search.warmup_steps {self.warmup_steps} takes them all; raise epochs, or lower "
                "warmup_steps"
            )
        outer = math.ceil((steps - self.warmup_steps) / self.inner_steps)
        return self.model_copy(update={"outer_steps": outer, "epochs": None})

    def read_by(self, per_layer: bool) -> "SearchOptions":
        """Return the options with the gates that such a read-out has (`GateOptions.read_by`)."""
        return self.model_copy(update={"gates": self.gates.read_by(per_layer)})

    def of(self, selection: Selection) -> "SearchOptions":
        """Return the options that a selection runs with: a plain search has no decay.

        A decay on the factors stands in for the validation rows that a gate would see. A spectrum
        is read for where a layer stops, and the decay would hide its smaller values.
        """
        if selection != "plain":
            return self
        inner = self.inner.model_copy(update={"weight_decay": 0.0})
        return self.model_copy(update={"inner": inner})

    @property
    def saves_memory(self) -> bool:
        """Whether time is given for memory, so that searches run one at a time."""
        return self.accumulate > 1 or self.gradient_checkpointing

    @property
    def total_inner_steps(self) -> int:
        """Inner steps of the whole search, warm-up included, repeats not."""
        return self.warmup_steps + self.outer_steps * self.inner_steps

    def work(self, selection: Selection = "learned") -> float:
        """One whole search in plain steps, at most: what progress is measured against."""
        inner = Cost(self.total_inner_steps, self.total_inner_steps)
        if selection in ("frozen", "plain"):
            return plain_steps(inner)
        again = self.inner_steps if self.schedule == "look_ahead" else 0
        outer = Cost(again, again)
        if selection == "learned":
            parts = self.accumulate > 1
            outer += self.hypergradient.cost(centre_known=True, in_parts=parts) + Cost(1, 1)
        return plain_steps(inner) + self.outer_steps * plain_steps(outer)

    def total_work(self, selection: Selection = "learned") -> float:
        """All `seeds` searches in plain steps, at most."""
        return self.seeds * self.work(selection)
