"""Peak memory of one kind of step above the loaded model; step_cost runs it in a new process."""

import json
import sys

import torch

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.prepare import prepare
from autolora_meta.foundation.memory import peak
from autolora_meta.foundation.randomness import seed_everything
from benchmarks.arms import ARMS, PLAIN, opened

STEPS = 4


def peak_increment(label: str, layers: list[str]) -> int | None:
    """Return the bytes by which memory rises above the loaded model in a few steps, if known.

    Args:
        label: of the arm.
        layers: of the configuration.
    """
    config = RunConfig.load(*layers)
    torch.set_num_threads(config.runtime.threads)
    seed_everything(0)
    arm = next(arm for arm in (PLAIN, *ARMS) if arm.label == label)
    prepared = prepare(config.model, config.data, config.task, config.seed)
    with opened(arm, config, prepared) as step, peak(config.runtime.resolved_device) as rose:
        for _ in range(STEPS):
            step()
    return rose[0] if rose else None


if __name__ == "__main__":
    print(json.dumps(peak_increment(sys.argv[1], sys.argv[2:])))
