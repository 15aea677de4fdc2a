"""EVA, by PEFT's own incremental SVD: ranks by the variance that input directions explain."""

from typing import Any

import torch
from peft.tuners.lora.eva import SVDHook
from torch import Tensor, nn

from autolora_meta.allocators.inputs import input_rows
from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import scored
from autolora_meta.allocators.training import learned_work, peer_program, peer_steps
from autolora_meta.bilevel.feed import to_device
from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import unwrapped_afterwards
from autolora_meta.finetuning.staying import moved
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.parts import each
from autolora_meta.foundation.progress import Silent
from autolora_meta.foundation.randomness import derive, seeded

CONVERGED = 0.99  # cosine of a direction with itself one batch before: PEFT's default of tau


def explained_variance(replicate: Replicate) -> Tensor:
    """Return the share of the variance of a layer's inputs along its first k directions. (L, k)

    Training batches run forward through the pretrained model, in evaluation mode, until the
    directions of all layers have converged, for at most the cost of the learned search. Tokens that
    the attention mask hides do not count.

    Departures from the paper: its budget counts ranks, ours parameters; the largest rank is k, not
    rho r; A does not start at the directions, since every arm is retrained alike.

    Raises:
        InputError: a target is a convolution, whose inputs are no rows of features; or a layer
            never saw as many inputs in a batch as it has components.
    """
    (names, _), k = replicate.layers, replicate.config.lora.k
    program, progress = peer_program(replicate), replicate.progress or Silent()
    model, limit = program.model, 2 * peer_steps(replicate.config)
    with unwrapped_afterwards(model), seeded(derive(replicate.seed, "eva")), torch.no_grad():
        moved(model, program.device).eval()
        hooks = [_hook(name, k) for name in names]
        layers = [_linear(model, name) for name in names]
        handles = [layer.register_forward_hook(h) for layer, h in zip(layers, hooks, strict=True)]
        progress.start("eva", limit / 2)
        try:
            for _ in range(limit):
                batch: Any = to_device(program.train.next(), program.device)
                for _, part in each(batch):
                    for hook in hooks:
                        hook.model_input = part
                    program.loss(model, part)
                replicate.cost += Cost(forwards=1)
                progress.step(work=0.5)
                if all(bool(hook.converged.all()) for hook in hooks):
                    break
        finally:
            for handle in handles:
                handle.remove()
            progress.close()
    starved = [hook.name for hook in hooks if not hasattr(hook.svd, "components_")]
    if starved:
        raise InputError(
            f"a batch brings {starved[0]} fewer than lora.k = {k} inputs, too few for {k} "
            "directions; raise search.batch_size, or leave eva out of compare.arms"
        )
    return torch.stack([h.svd.explained_variance_ratio_[:k].double().cpu() for h in hooks])


def _hook(name: str, k: int) -> SVDHook:
    return SVDHook(
        n_components=k,
        sim_thresh=CONVERGED,
        name=name,
        prepare_layer_inputs_fn=lambda inputs, batch, name: input_rows(inputs, batch),
        gather_distributed_inputs=False,
    )


def _linear(model: nn.Module, name: str) -> nn.Module:
    layer = model.get_submodule(name)
    if isinstance(layer, nn.Conv2d):
        raise InputError(
            f"eva reads inputs that are rows of features, and {name} is a convolution; leave it "
            "out of lora.targets, or eva out of compare.arms"
        )
    return layer


ALLOCATOR = scored(
    explained_variance,
    summary="variance that the directions of the layers' inputs explain, by PEFT",
    source="EVA, arXiv 2410.07170; PEFT's incremental SVD",
    work=learned_work,
)
