"""Grid: what people do today, uniform ranks tried one after another on validation data."""

import math
from dataclasses import replace

from datasets import DatasetDict

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.allocators.uniform import allocate as uniform
from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.retrain import retrain
from autolora_meta.foundation.cost import Cost
from autolora_meta.ranks.options import bounds
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import narrow_pattern


def uniform_in(replicate: Replicate, rank: int) -> RankPattern:
    """Rank `rank` in as many layers as the budget pays for (`narrow_pattern`)."""
    (names, costs), lora = replicate.layers, replicate.config.lora
    limits = bounds(lora.k, replicate.config.ranks)
    return narrow_pattern(names, costs, lora.k, lora.scale, replicate.budget, rank, limits)


def candidates(replicate: Replicate) -> dict[int, RankPattern]:
    """The patterns that are tried: the uniform rank that the budget pays for, twice that, and on.

    At one budget a higher rank is one in fewer layers.

    Returns:
        Rank -> pattern, from 1 or the uniform rank up to k or `max_rank`; equal patterns once.
    """
    even = uniform(replicate)
    most = replicate.config.ranks.max_rank or replicate.config.lora.k
    rank, found = max(1, min(even.ranks)), {}
    while rank <= most:
        pattern = uniform_in(replicate, rank)
        if pattern not in found.values():
            found[rank] = pattern
        rank *= 2
    return found


def validation_score(replicate: Replicate, pattern: RankPattern) -> float:
    """The main metric on validation rows after retraining on training rows alone; high is good.

    The main metric is the primary one (`compare.primary`).
    """
    config, prepared = replicate.config, replicate.prepared
    rows = prepared.rows
    within = DatasetDict(
        train=rows["train"], validation=rows["validation"].select([]), test=rows["validation"]
    )
    result = retrain(
        replace(prepared, rows=within),
        pattern,
        config.retrain,
        seed=replicate.seed,
        dropout=config.lora.dropout,
        device=config.runtime.resolved_device,
        progress=replicate.progress,
    )
    steps = config.retrain.steps
    evaluated = math.ceil(len(rows["validation"]) / config.retrain.eval_batch_size)
    replicate.cost += Cost(forwards=steps + evaluated, backwards=steps)
    metric = config.compare.compared(prepared.task.compared)[0]
    sign = 1 if prepared.task.measures[metric].better == "higher" else -1
    return sign * result.metrics[metric]


def allocate(replicate: Replicate) -> RankPattern:
    """The best of the candidates on validation rows, the lowest rank where several are.

    Every candidate is retrained as the chosen one will be, with the same options, but on training
    rows alone. At a given budget the rank of all layers leaves nothing to choose, so the ranks
    tried are spread over fewer and fewer layers.

    Source: LoRA, arXiv 2106.09685, section 7.1, where a budget is laid out in few layers of high
    rank or in many of low rank.
    """
    scores = {
        pattern: validation_score(replicate, pattern) for pattern in candidates(replicate).values()
    }
    return max(scores, key=scores.__getitem__)


def _work(config: RunConfig) -> float:
    return float(config.retrain.steps * (1 + int(math.log2(config.lora.k))))  # at most


ALLOCATOR = Allocator(
    allocate,
    summary="uniform ranks in more or fewer layers, tried one after another on validation data",
    source="what people do today; LoRA, arXiv 2106.09685, section 7.1",
    work=_work,
    by_metric=True,
)
