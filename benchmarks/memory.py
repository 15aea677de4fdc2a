"""Peak memory of one kind of step over the loaded model; run by step_cost in a fresh process."""

import json
import sys
from pathlib import Path

import torch

from autolora_meta.config import RunConfig
from autolora_meta.finetuning.prepare import prepare
from autolora_meta.randomness import seed_everything
from benchmarks.arms import ARMS, PLAIN, opened

STEPS = 4
STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_increment(label: str, layers: list[str]) -> int | None:
    """Bytes by which memory rises above the loaded model within a few steps.

    On CUDA what torch allocates; on Linux the resident set; elsewhere None, nothing reliable.

    Args:
        label: of the arm.
        layers: of the configuration.
    """
    config = RunConfig.load(*layers)
    torch.set_num_threads(config.runtime.threads)
    seed_everything(0)
    arm = next(arm for arm in (PLAIN, *ARMS) if arm.label == label)
    prepared = prepare(config.model, config.data, config.task, config.seed)
    with opened(arm, config, prepared) as step:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            loaded = torch.cuda.memory_allocated()
        elif REFERENCES.exists():
            REFERENCES.write_text("5")  # the peak of the resident set starts again from here
            loaded = _resident("VmRSS")
        else:
            return None
        for _ in range(STEPS):
            step()
        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() - loaded
        return _resident("VmHWM") - loaded


def _resident(field: str) -> int:
    line = next(x for x in STATUS.read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(peak_increment(sys.argv[1], sys.argv[2:])))
