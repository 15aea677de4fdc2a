"""A search that was stopped goes on to the same bytes, or says why it cannot."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.checkpoints import Every
from autolora_meta.hypergradients.methods import METHODS
from autolora_meta.pipeline.search import search
from autolora_meta.pipeline.search_model import search_model
from tests.pipeline.tiny_search import changed, files

EACH_STEP = ("runtime.checkpoint_steps=1", "runtime.checkpoint_minutes=null")


class Killed(Exception):
    """In place of a kill: nothing is saved when it comes."""


def stopping(rows: int, stop: Callable[[], None]) -> Callable[[dict[str, Any]], None]:
    """What a search is observed with, to stop it once it has given so many rows."""
    seen: list[dict[str, Any]] = []

    def observe(row: dict[str, Any]) -> None:
        seen.append(row)
        if len(seen) == rows:
            stop()

    return observe


def kill() -> None:
    raise Killed


def killed(config: RunConfig, folder: Path, rows: int = 2, **how: Any) -> None:
    with pytest.raises(Killed):
        search(config, observe=stopping(rows, kill), checkpoints=folder, **how)


def unlike(config: RunConfig, folder: Path, **how: Any) -> list[str]:
    """Names of the files in which a search from checkpoints differs from an unbroken one."""
    whole = files(search(config, **how), folder / "whole")
    going_on = search(config, checkpoints=folder / "kept", **how)
    parts = files(going_on, folder / "parts")
    return [name for name in whole if parts.get(name) != whole[name]]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_on_to_the_same_bytes(
    config: RunConfig, tmp_path: Path, method: str
) -> None:
    config = changed(config, f"search.hypergradient={method}", *EACH_STEP)
    killed(config, tmp_path / "kept")
    assert unlike(config, tmp_path) == []


@pytest.mark.parametrize(
    ("selection", "changes"),
    [
        ("frozen", ()),
        ("random", ()),
        ("learned", ("search.schedule=alternating", "search.inner.name=sgd")),
        ("learned", ("search.inner_steps=2", "search.precision=bf16")),
        ("learned", ("search.patience=4", "search.outer_steps=6", "search.diagnostics_every=1")),
        ("learned", ("ranks.importance=layered", "search.gates.per=layer")),
        ("plain", ()),
    ],
)
def test_every_kind_of_search_goes_on_to_the_same_bytes(
    config: RunConfig, tmp_path: Path, selection: str, changes: tuple[str, ...]
) -> None:
    config = changed(config, *changes, *EACH_STEP)
    killed(config, tmp_path / "kept", rows=3, selection=selection)
    assert unlike(config, tmp_path, selection=selection) == []


@pytest.mark.parametrize("rows", [3, 4])  # at the end of the first; in the second
def test_pooled_searches_go_on_to_the_same_bytes(
    config: RunConfig, tmp_path: Path, rows: int
) -> None:
    config = changed(config, "search.seeds=2", *EACH_STEP)
    killed(config, tmp_path / "kept", rows=rows)
    assert unlike(config, tmp_path) == []


def test_a_search_that_is_killed_while_it_measures_sensitivity_does_not_search_again(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed(config, "search.sensitivity_batches=1")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("autolora_meta.pipeline.running.sensitivity", lambda *_: kill())
        search(config, checkpoints=tmp_path / "kept")
    steps: list[str] = []
    search(config, checkpoints=tmp_path / "kept", say=steps.append)
    assert steps == [f"goes on at step 5 of 5 (a checkpoint in {tmp_path / 'kept'})"]
    assert unlike(config, tmp_path) == []


@pytest.mark.usefixtures("both_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_search_when_it_is_saved(
    config: RunConfig, tmp_path: Path, number: signal.Signals
) -> None:
    config = changed(config, "runtime.checkpoint_minutes=null")
    stop = stopping(2, lambda: os.kill(os.getpid(), number))
    with pytest.raises(KeyboardInterrupt):
        search(config, observe=stop, checkpoints=tmp_path / "kept")
    assert signal.getsignal(number) is signal.default_int_handler
    rows: list[dict[str, Any]] = []
    search(config, checkpoints=tmp_path / "kept", observe=rows.append)
    assert [row["outer_step"] for row in rows] == [1, 2, 3]  # those of before are given again
    assert len([*(tmp_path / "kept").iterdir()]) == 1
    assert unlike(config, tmp_path) == []


def test_a_damaged_checkpoint_is_told_and_the_one_before_serves(
    config: RunConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = changed(config, *EACH_STEP)
    killed(config, tmp_path / "kept", rows=3)
    first, last = sorted((tmp_path / "kept").iterdir())
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    said: list[str] = []
    again = search(config, checkpoints=tmp_path / "kept", say=said.append)
    assert f"{last} is damaged" in caplog.text
    assert said and f"step {int(first.name.split('-')[1])} of" in said[0]
    assert files(again, tmp_path / "again") == files(search(config), tmp_path / "whole")


def test_checkpoints_of_another_search_are_refused(config: RunConfig, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    killed(changed(config, *EACH_STEP), kept)
    with pytest.raises(InputError, match=r"are of another configuration or version.*--restart"):
        search(changed(config, "search.inner.learning_rate=0.5"), checkpoints=kept)
    with pytest.raises(InputError, match="another configuration"):
        search(config, seed=1, checkpoints=kept)


LOSS = {"loss": lambda model, batch: (model(batch[0]) - batch[1]).square().mean()}
FEW = {"options": {"outer_steps": 6, "warmup_steps": 1}, "lora": {"k": 2}}


def rows_of(seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    return [(torch.randn(4, generator=draw), torch.randn(3, generator=draw)) for _ in range(10)]


def net(seed: int = 0) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))


def searched(model: torch.nn.Module, rows: list[Any], **more: Any) -> Any:
    def batches() -> DataLoader:
        return DataLoader(rows, batch_size=3, shuffle=True)  # type: ignore[arg-type]

    return search_model(model, batches(), batches(), **LOSS, **FEW, **more)


def test_a_model_of_your_own_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    kept = {"checkpoints": tmp_path, "every": Every(steps=1)}
    with pytest.raises(Killed):
        searched(net(), rows_of(), observe=stopping(5, kill), **kept)
    again, whole = searched(net(), rows_of(), **kept), searched(net(), rows_of())
    assert torch.equal(again.trajectory, whole.trajectory) and again.rows == whole.rows


def test_a_model_or_rows_that_have_changed_are_told(tmp_path: Path) -> None:
    kept = {"checkpoints": tmp_path, "every": Every(steps=1)}
    with pytest.raises(Killed):
        searched(net(), rows_of(), observe=stopping(5, kill), **kept)
    with pytest.raises(InputError, match="the weights of the model are others now"):
        searched(net(seed=1), rows_of(), **kept)
    with pytest.raises(InputError, match="the rows are others now"):
        searched(net(), rows_of(seed=1), **kept)


def test_a_loader_with_a_generator_of_its_own_is_refused(tmp_path: Path) -> None:
    loader = DataLoader(rows_of(), batch_size=3, shuffle=True, generator=torch.Generator())  # type: ignore[arg-type]
    search_model(net(), loader, loader, **LOSS, **FEW)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="generator of its own"):
        search_model(net(), loader, loader, checkpoints=tmp_path, **LOSS, **FEW)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_a_search_on_a_gpu_goes_on_to_the_same_bytes(tmp_path: Path, method: str) -> None:
    options = {**FEW["options"], "hypergradient": method}
    kept = {"checkpoints": tmp_path, "every": Every(steps=1)}

    def ends(**more: Any) -> Any:
        torch.manual_seed(0)
        net = torch.nn.TransformerEncoderLayer(32, 2, 64, dropout=0.1, batch_first=True)
        model = torch.nn.Sequential(torch.nn.Linear(4, 32), net, torch.nn.Linear(32, 3))
        rows = [(x.expand(8, 5, 4), y.expand(8, 5, 3)) for x, y in rows_of()]
        given = {"options": options, "lora": {"k": 2}, "targets": ["0", "1.linear1", "2"]}
        return search_model(model, rows, rows[::-1], device="cuda", **LOSS, **given, **more)  # type: ignore[arg-type]

    with pytest.raises(Killed):
        ends(observe=stopping(4, kill), **kept)
    again, whole = ends(**kept), ends()
    assert torch.equal(again.trajectory, whole.trajectory) and again.rows == whole.rows
