"""Grid: uniform ranks tried one after another on validation data, as people do today."""

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
    """Return rank `rank` in as many layers as the budget pays for (`narrow_pattern`)."""
    (names, costs), lora = replicate.layers, replicate.config.lora
    limits = bounds(lora.k, replicate.config.ranks)
    return narrow_pattern(names, costs, lora.k, lora.scale, replicate.budget, rank, limits)


def candidates(replicate: Replicate) -> dict[int, RankPattern]:
    """Return the patterns to try: the uniform rank that the budget pays for, twice that, and so on.

    At one budget, a higher rank goes to fewer layers.

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
    """Retrain on training rows alone; return the main metric on validation rows, higher is better.

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
    """Allocate the best candidate on validation rows, of equal ones the lowest rank.

    Every candidate is retrained with the options of the run, but on training rows alone. A budget
    fixes the rank of all layers, so higher ranks go to fewer and fewer layers.

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
