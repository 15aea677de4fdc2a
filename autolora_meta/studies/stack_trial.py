"""How many adapters of a study train at a time on this machine: a trial of a few steps."""

import torch

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.stacked_jobs import Job
from autolora_meta.finetuning.stacked_trial import most_that_fit, times_as_fast
from autolora_meta.foundation.device import threads
from autolora_meta.ranks.pattern import RankPattern

PAYS = 1.25  # times as fast: nearer to 1 the decision would hang on noise


def tried(config: RunConfig, seed: int, most: int) -> tuple[int, str]:
    """Return how many adapters are to train at a time, and why, in a line.

    On an accelerator as many as fit. On a CPU `most`, if a pass of so many is clearly faster than
    one at a time.

    Args:
        config: of a run that needs as much memory as any of them.
        seed: of a replicate.
        most: how many there could be.
    """
    with threads(config.runtime.threads):
        replicate = Replicate(config, seed)
        names, costs = replicate.layers
        k = config.lora.k
        pattern = RankPattern(names, (k,) * len(names), costs, k=k, scale=config.lora.scale)
        job = Job(replicate.prepared, pattern, config.retrain, seed)
        device, dropout = config.runtime.resolved_device, config.lora.dropout
        try:
            if torch.device(device).type != "cpu":
                fit = most_that_fit(job, most, dropout, device)
                return fit, f"{counted(fit)} at a time: of {most} as many as fit into {device}"
            gain = times_as_fast(job, most, dropout, device)
        except InputError as error:
            return 1, f"{counted(1)} at a time: {error}"
    told = f"{most} in one pass are {gain:.1f} times as fast as one at a time here"
    many = most if gain >= PAYS else 1
    return many, f"{counted(many)} at a time: {told}"


def counted(adapters: int) -> str:
    """Return a number of adapters in words.

    >>> counted(1), counted(8)
    ('one adapter', '8 adapters')
    """
    return "one adapter" if adapters == 1 else f"{adapters} adapters"
