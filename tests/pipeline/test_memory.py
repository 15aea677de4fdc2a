"""Work that lacks memory says what to lower, with the numbers of this run."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from autolora_meta.cli.main import app
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import OutOfMemory
from autolora_meta.pipeline.memory import if_killed, naming_what_to_lower, what_to_lower
from tests.pipeline.tiny_search import changed

LACKS = (
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    OSError(12, "Cannot allocate memory"),
)


@pytest.mark.parametrize("lack", LACKS)
def test_every_lack_of_memory_is_one_sentence(config: RunConfig, lack: Exception) -> None:
    with (
        pytest.raises(OutOfMemory, match=r"lower search\.batch_size \(now 8\)"),
        naming_what_to_lower(config, "search"),
    ):
        raise lack


def test_other_errors_stay_what_they_are(config: RunConfig) -> None:
    with pytest.raises(RuntimeError, match="shapes"), naming_what_to_lower(config, "search"):
        raise RuntimeError("shapes differ")


def test_what_is_least_already_is_not_to_be_lowered(config: RunConfig) -> None:
    least = changed(config, "search.batch_size=1", "lora.k=1", "search.hypergradient=one_step")
    said = what_to_lower(least, "search")
    assert "search.batch_size" not in said and "lora.k" not in said
    assert "search.outer_batch_size (now 8)" in said and "search.hypergradient=darts" in said
    assert "runtime.workers=1 (now 3)" in if_killed(changed(config, "runtime.workers=3"), "search")


def test_a_search_without_memory_ends_with_status_3(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autolora_meta.pipeline.search.run_programs", _lack)
    (tmp_path / "mine.yaml").write_text(config.to_yaml())
    done = CliRunner().invoke(
        app, ["search", str(tmp_path / "mine.yaml"), "--runs", str(tmp_path / "runs")]
    )
    assert done.exit_code == 3
    assert "cpu has too little memory for this search" in done.output
    assert "Traceback" not in done.output


def _lack(*_: object, **__: object) -> None:
    raise MemoryError
