"""Many searches leave nothing behind, and the number of threads changes results by rounding."""

import pytest
import torch

from autolora_meta.config.run import RunConfig
from autolora_meta.pipeline.search import search
from benchmarks.soak.long import left_behind
from tests.pipeline.tiny_search import changed


def test_searches_leave_no_handle_hook_thread_or_tensor() -> None:
    assert left_behind(8) is None


@pytest.mark.parametrize("method", ["darts", "cg"])
def test_two_threads_give_what_one_gives(config: RunConfig, method: str) -> None:
    # Wide batches, so that kernels are split.
    wide = changed(config, f"search.hypergradient={method}", "search.batch_size=32")
    one, two = (search(changed(wide, f"runtime.threads={n}")) for n in (1, 2))
    torch.testing.assert_close(one.trajectory, two.trajectory, rtol=0, atol=1e-3)
    assert one.ranks == two.ranks
