"""What processes cannot share out is refused in a sentence, before anything is loaded."""

from types import SimpleNamespace
from typing import Any

import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation import processes
from autolora_meta.foundation.launcher import refuse_sharded
from autolora_meta.pipeline.divided import refuse_undivided
from autolora_meta.workflow import run


@pytest.fixture
def three() -> Any:
    group: Any = SimpleNamespace(count=3, rank=0, shares=False, own_gpu=False)
    with processes.reaching(group):
        yield


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("search.batch_size=8", "search.batch_size is 8, and 3 .*set search.batch_size=9"),
        ("search.outer_batch_size=1", "search.outer_batch_size=3"),
        ("retrain.batch_size=16", "retrain.batch_size=15"),
        ("runtime.stack=4", "runtime.stack is 4"),
        ("runtime.workers=2", "leave runtime.workers at 0"),
    ],
)
def test_what_cannot_be_divided_is_refused(change: str, said: str) -> None:
    sizes = [f"{key}=6" for key in ("search.batch_size", "search.outer_batch_size")]
    sizes += ["retrain.batch_size=6", "runtime.device=cpu"]
    refuse_undivided([RunConfig.load("quickstart", *sizes)])
    with pytest.raises(InputError, match=said):
        refuse_undivided([RunConfig.load("quickstart", *sizes, change)])


@pytest.mark.usefixtures("three")
def test_a_study_is_refused_before_its_folder_is_made(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="cannot share that out evenly"):
        run(RunConfig.load("quickstart"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_process_divides_nothing() -> None:
    refuse_undivided([RunConfig.load("quickstart", "search.batch_size=7", "runtime.stack=4")])


@pytest.mark.parametrize(
    ("name", "said"), [("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")]
)
def test_launchers_that_cut_models_are_refused(name: str, said: str) -> None:
    refuse_sharded({name: "false"})
    with pytest.raises(InputError, match=f"launched with {said}, which cuts a model in pieces"):
        refuse_sharded({name: "true"})
