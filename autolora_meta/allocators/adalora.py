"""AdaLoRA, by PEFT's own code: an SVD-form adapter pruned by smoothed sensitivity."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import AdaLoraConfig, PeftModel
from torch import Tensor

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.allocators.scored import by_scores
from autolora_meta.allocators.training import Training, learned_work, peer_program, peer_steps
from autolora_meta.allocators.uniform import allocate as uniform
from autolora_meta.finetuning.lora import unwrapped_afterwards, with_adapter
from autolora_meta.finetuning.lora_config import lora_config, plain
from autolora_meta.finetuning.staying import moved
from autolora_meta.foundation.randomness import derive, seeded
from autolora_meta.pipeline.program import Program
from autolora_meta.ranks.pattern import RankPattern

CUTS = 100  # how often the budget is cut at most; PEFT's default is every step


def importance(replicate: Replicate) -> Tensor:
    """Return PEFT's importance of every triplet (P_j, Lambda_j, Q_j) after its schedule. (L, k)

    S_j = s(Lambda_j) + mean_i s(P_ij) + mean_i s(Q_ji), s = I_bar U_bar: sensitivity |w dg/dw| and
    its uncertainty, both smoothed in time (equations 8 to 11 of the paper).

    The adapter starts at rank k. After the warm-up of the search its budget falls along PEFT's
    cubic schedule, to as many ranks as `uniform` would get.
    """
    config, (names, _) = replicate.config, replicate.layers
    steps = peer_steps(config)
    target = uniform(replicate).total_rank
    with _wrapped(replicate, steps) as (program, model):
        tuner: Any = model.base_model
        allocator = tuner.rankallocator
        # PEFT has no mask that keeps everything.
        allocator.target_bgt = min(target, allocator.init_bgt - 1)
        training = Training(replicate, program, model, steps, "adalora")
        for step in range(1, steps + 1):
            training.step()
            tuner.update_and_allocate(step)
        training.close()
        return torch.stack([_triplets(allocator, name) for name in names])


def allocate(replicate: Replicate) -> RankPattern:
    """Allocate the budget to triplets by PEFT's importance after its whole schedule.

    It trains for as many plain steps as the learned search costs. Departures from the paper: its
    budget counts ranks, ours parameters, so the last cut is ours; the training at the final ranks
    is the retraining that every arm gets; and where a task forms its loss outside the model, PEFT
    adds no orthogonality penalty.
    """
    return by_scores(replicate, importance(replicate))


@contextmanager
def _wrapped(replicate: Replicate, steps: int) -> Iterator[tuple[Program, PeftModel]]:
    program, (names, costs) = peer_program(replicate), replicate.layers
    lora = replicate.config.lora
    whole = RankPattern(names, (lora.k,) * len(names), costs, lora.k, lora.scale)
    config = AdaLoraConfig(
        init_r=lora.k,
        target_r=1,  # the allocator's budget is set by itself
        tinit=program.options.warmup_steps,
        deltaT=max(1, steps // CUTS),
        total_step=steps + 1,  # at its last step PEFT forgets the importance
        lora_alpha=plain(lora.scale * lora.k),  # pyright: ignore[reportArgumentType]
        target_modules=lora_config(whole).target_modules,
        lora_dropout=lora.dropout,
        modules_to_save=list(program.head) or None,
    )
    with (
        unwrapped_afterwards(program.model),
        seeded(derive(replicate.seed, "adalora")),
        warnings.catch_warnings(),
    ):
        # PEFT sets it right by itself, layer by layer.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        model = with_adapter(program.model, config, derive(replicate.seed, "factors"))
        yield program, moved(model, program.device).train()


def _triplets(allocator: Any, name: str) -> Tensor:
    """Return the importance of the triplets of one layer. (k,)"""

    def score(factor: str) -> Tensor:
        key = f"{name}.lora_{factor}.default"
        return (allocator.exp_avg_ipt[key] * allocator.exp_avg_unc[key]).double().cpu()

    # (k, 1), (k, in), (out, k)
    return score("E").flatten() + score("A").mean(dim=1) + score("B").mean(dim=0)


ALLOCATOR = Allocator(
    allocate,
    summary="SVD-form adapter pruned by smoothed sensitivity, by PEFT",
    source="AdaLoRA, arXiv 2303.10512; PEFT's AdaLoraConfig",
    work=learned_work,
)
