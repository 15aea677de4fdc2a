"""The memory that work takes, whatever the process did before."""

import sys

import pytest
import torch

from autolora_meta.foundation.memory import peak


@pytest.mark.skipif(sys.platform != "linux", reason="known on Linux alone")
def test_equal_work_takes_equal_memory_in_a_process_that_has_worked() -> None:
    took, pins = [], []
    for _ in range(3):
        with peak("cpu") as rose:
            held = [torch.ones(64 << 8) for _ in range(1000)]  # 64 MB, in pieces that are kept
            pins.append(torch.ones(8))  # so that what is freed is not at the end
            del held
        took += rose
    assert all(55e6 < one < 90e6 for one in took), took
