"""A second process that follows a test, in float64; run as `python -m`, as launchers would."""

import sys

import torch

from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.foundation.launcher import begun, follow
from autolora_meta.pipeline import beside
from autolora_meta.pipeline.prepare import prepare


def in_float64(config: object, seed: int) -> Prepared:
    found = prepare(config, seed)  # type: ignore[arg-type]
    found.model.to(torch.float64)  # type: ignore[call-overload]
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    beside.prepare = in_float64  # type: ignore[assignment]
    with begun() as group:
        sys.exit(follow(group))
