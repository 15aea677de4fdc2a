"""DyLoRA: one training in which every rank is a prefix of the same components."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import scored
from autolora_meta.allocators.training import Training, learned_work, peer_steps, plain_lora
from autolora_meta.bilevel.gating import Gates, lora_factors
from autolora_meta.foundation.randomness import derive
from autolora_meta.ranks.directions import Factors

BATCHES = 2  # validation batches on which a rank is judged


def needed(losses: Tensor) -> Tensor:
    """Return the tolerance up to which component j of a layer is needed.

    The smallest rank within tau of the best is #{j : s_j > tau}, s_j = min_{b<j} f(b) - min_b f(b):
    one growing tolerance over all layers drops components in ascending score.

    Args:
        losses: of each layer at rank 0 to k, the other layers at k. (L, k + 1)

    >>> needed(torch.tensor([[2.0, 1.5, 1.0, 1.25]]))
    tensor([[1.0000, 0.5000, 0.0000]])
    """
    best = losses.cummin(dim=1).values  # min_{b<=j} f(b)
    return best[:, :-1] - best[:, -1:]


def scores(replicate: Replicate, *, frozen: bool) -> Tensor:
    """Return the tolerance up to which each component of each layer is needed. (L, k)

    Layer by layer, the others at k, the loss of every rank is measured on validation rows. A budget
    then gives every layer the smallest rank within one tolerance of its best.

    Departures from the paper: the paper looks for one rank for all layers, which leaves nothing to
    choose at a given budget; and it divides the scale of an adapter by the rank drawn, where the
    scale stays c here.
    """
    with _nested(replicate, frozen) as (training, gates):
        return needed(losses_of_ranks(training, gates, torch.ones(gates.k)))


def losses_of_ranks(training: Training, gates: Gates, weights: Tensor) -> Tensor:
    """Return the validation loss of each layer at each rank, the others at k. (L, k + 1)

    Args:
        training: of nested components, at its end.
        gates: of its model.
        weights: gates of the components of a layer, of which rank b keeps the first b. (k,)
    """
    batches = training.validation(BATCHES)
    keep(gates.logits, gates.k, weights)
    losses = torch.full((len(gates.names), gates.k + 1), training.loss(batches)).double()
    for layer, logits in enumerate(gates.logits):
        for rank in range(gates.k):
            keep(logits, rank, weights)
            losses[layer, rank] = training.loss(batches)
        keep(logits, gates.k, weights)
    return losses


@contextmanager
def _nested(replicate: Replicate, frozen: bool) -> Iterator[tuple[Training, Gates]]:
    """Yield a model trained on prefixes of its components, for as long as a learned search."""
    steps, draw = peer_steps(replicate.config), torch.Generator()
    draw.manual_seed(derive(replicate.seed, "dylora"))
    with plain_lora(replicate) as (program, model, gates):
        training = Training(replicate, program, model, steps, "dylora")
        factors = lora_factors(model, gates.names)
        for _ in range(steps):
            rank = int(torch.randint(1, gates.k + 1, (), generator=draw))  # b ~ U{1..k}
            keep(gates.logits, rank, torch.ones(gates.k))
            if frozen:
                with _others_stay(factors, rank - 1):
                    training.step()
            else:
                training.step()
        yield training, gates
        training.close()


def keep(logits: Tensor, rank: int, weights: Tensor) -> None:
    """Set gates to their weights for the first `rank` components and to 0 for the rest. (..., k)"""
    logits[..., :rank] = weights[:rank] - 1  # gate = 1 + logit
    logits[..., rank:] = -1.0


@contextmanager
def _others_stay(factors: Sequence[Factors], j: int) -> Iterator[None]:
    """Restore all components but j, which momentum would move without a gradient."""
    kept = [(a.detach().clone(), b.detach().clone()) for a, b in factors]
    yield
    with torch.no_grad():
        for (a, b), (a_kept, b_kept) in zip(factors, kept, strict=True):
            a_kept[j], b_kept[:, j] = a[j], b[:, j]
            a.copy_(a_kept)
            b.copy_(b_kept)


ALLOCATOR = scored(
    partial(scores, frozen=False),
    summary="nested ranks: the smallest of each layer within a tolerance of the best",
    source="DyLoRA, arXiv 2210.07558",
    work=learned_work,
)
FROZEN = scored(
    partial(scores, frozen=True),
    summary="nested ranks, each step moving the last component alone",
    source="DyLoRA, arXiv 2210.07558, its frozen mode",
    work=learned_work,
)
