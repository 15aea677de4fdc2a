"""While training: one training that is cut to the budget on its way, and goes on from there."""

from dataclasses import replace

import torch
from peft import PeftModel
from torch import Tensor

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.allocators.training import PLAIN, Training
from autolora_meta.bilevel.gating import Gates, lora_factors
from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.start import Start
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.parts import each, weighted
from autolora_meta.hypergradients.vectors import gradients
from autolora_meta.pipeline.program import Program, program_of
from autolora_meta.pipeline.running import start_of
from autolora_meta.ranks.budget import Budget
from autolora_meta.ranks.components import Components
from autolora_meta.ranks.options import bounds
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import spend


def cubic(first: float, last: float, share: float) -> float:
    """Return b(t) = b_T + (b_0 - b_T) (1 - t / T)^3: the budget when a share t / T is done.

    Source: AdaLoRA, arXiv 2303.10512, equation 12.

    >>> cubic(100, 20, 0.5)
    30.0
    """
    return last + (first - last) * (1 - share) ** 3


class Cut:
    """Cuts components of a model in training, by the run's importance.

    As many of a layer stay as the run's importance gives it at the budget, those of the largest
    |gate| norm(u) norm(v). A gate that is cut is 0, so that its factors get no gradient; what stood
    in it comes back if a later budget has room for nothing better.

    Args:
        replicate: gives limits of ranks, and importance.
        program: of the training.
        model: gated by `gates`.
        gates: of its components, free.
        costs: of one rank in each layer, in the unit of the budget. (L,)
    """

    def __init__(
        self,
        replicate: Replicate,
        program: Program,
        model: PeftModel,
        gates: Gates,
        costs: tuple[int, ...],
    ) -> None:
        self._gates, self._costs = gates, costs
        self._factors = lora_factors(model, gates.names)
        self._ranks, self._scale = program.followed_ranks, program.lora.scale
        self._least, self._most = bounds(gates.k, replicate.config.ranks)
        self._inside = torch.ones_like(gates.logits, dtype=torch.bool)
        self._held = gates.logits.detach().clone()

    @torch.no_grad()
    def to(self, budget: int) -> tuple[int, ...]:
        """Cut to a budget; return the ranks that are left. (L,)"""
        logits = self._gates.logits
        logits[~self._inside] = -1.0  # the optimizer moved these too; gate = 1 + logit
        names, costs, factors = self._gates.names, self._costs, self._factors
        found = Components.from_factors(names, costs, self._scale, self._gates(), factors)
        ranks = spend(
            found.scores(self._ranks.importance),
            costs,
            Budget(budget),
            least=self._least,
            most=self._most,
            per=self._ranks.per,
        )
        self._held = torch.where(self._inside, logits, self._held)
        norms = (found.norm_u * found.norm_v).to(logits)
        size = (1 + self._held).abs() * norms  # |gate| norm(u) norm(v)
        inside = self._inside & (size > 0)
        # What is in goes before what was cut, then the larger before the smaller.
        by_size = size.argsort(dim=1, descending=True, stable=True)
        behind = (~inside).gather(1, by_size).int().argsort(dim=1, stable=True)
        place = by_size.gather(1, behind).argsort(dim=1)  # (L, k)
        self._inside = place < torch.tensor(ranks, device=place.device)[:, None]
        logits.copy_(torch.where(self._inside, self._held, -1.0))
        return ranks


def begun(replicate: Replicate) -> tuple[RankPattern, Start]:
    """Train once, cut to the budget on the way; return the ranks, and what was trained.

    The warm-up and the steps of the search train k components a layer on training rows. After each
    outer step's inner steps the gates take a step against their gradient on a validation batch,
    df/da = f_a (first order), and components are cut along `cubic`, from all to the budget. Gates
    are then folded into B, and the retraining on all rows goes on from there, for the steps that
    every arm gets.

    Gates are free, and there is one training, whatever `search.gates`, `search.hypergradient`,
    `search.schedule`, `search.patience` and `search.seeds` say. Importance `sensitivity` is read as
    `singular`.

    Source: this project; the schedule is AdaLoRA's, arXiv 2303.10512.
    """
    config = replicate.config
    search, ranks = config.search, config.ranks
    program = program_of(config, replicate.prepared, replicate.seed)
    program = replace(program, options=search.model_copy(update={"gates": PLAIN}))
    with program.opened() as (model, gates, costs):
        last, units = replicate.budget.checked_limit(costs, ranks.min_rank)
        first = gates.k * sum(units)
        training = Training(replicate, program, model, int(work(config)), "while_training")
        optimizer = search.outer.build(gates.parameters())
        cut = Cut(replicate, program, model, gates, units)
        for _ in range(search.warmup_steps):
            training.step()
        left = (gates.k,) * len(units)
        for step in range(1, search.outer_steps + 1):
            for _ in range(search.inner_steps):
                training.step()
            (batch,) = training.validation(1)
            gates.logits.grad = _gradient(program, model, gates, batch)
            optimizer.step()
            training.spent(Cost(forwards=1, backwards=1))
            left = cut.to(int(cubic(first, min(first, last), step / search.outer_steps)))
        training.close()
        pattern = RankPattern(gates.names, left, costs, gates.k, program.lora.scale)
        return pattern, start_of(program, model, gates)


def _gradient(program: Program, model: PeftModel, gates: Gates, batch: object) -> Tensor:
    """Return f_a on a validation batch. (L, k)"""
    passes = (weighted(weight, program.loss(model, part)) for weight, part in each(batch))
    (gradient,) = gradients(passes, [gates.logits])
    return gradient


def work(config: RunConfig) -> float:
    """Return the plain steps up to the budget: those of the search, and one for each of gates."""
    return float(config.search.total_inner_steps + config.search.outer_steps)


ALLOCATOR = Allocator(
    lambda replicate: begun(replicate)[0],
    summary="one training, cut to the budget on its way by gates, that goes on at its ranks",
    source="this project; schedule of AdaLoRA, arXiv 2303.10512",
    work=work,
    begins=begun,
)
