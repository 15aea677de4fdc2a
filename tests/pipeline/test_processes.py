"""Two processes end where one does with the joined batch, or say why they cannot."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.foundation import processes
from autolora_meta.foundation.launcher import begun
from autolora_meta.hypergradients.methods import METHODS
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.retrain import retrain
from autolora_meta.pipeline.search import search
from tests.pipeline.second_process import in_float64
from tests.pipeline.test_going_on import EACH_STEP, stopping
from tests.pipeline.tiny_search import changed
from tests.tiny import tiny_bert, tiny_tokenizer

NEAR = 1e-10
FEWER = "search.outer_steps=2", "search.warmup_steps=1"


@pytest.fixture
def still(config: RunConfig, tmp_path: Path) -> RunConfig:
    """The tiny configuration, without dropout."""
    base = tiny_bert(tmp_path / "still", dropout=0.0)
    return changed(config, f"model.name={base}", "lora.dropout=0", *FEWER)


@pytest.fixture
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@contextmanager
def two_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lead a second process in the body, as under `torchrun --nproc-per-node 2`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    about = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    for name, value in {**about, "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    other = subprocess.Popen(
        [sys.executable, "-m", "tests.pipeline.second_process"],
        env={**os.environ, **about, "RANK": "1"},
    )
    try:
        with begun():
            yield
    finally:
        other.wait(timeout=60)


_prepared: dict[str, Prepared] = {}


def prepared(config: RunConfig) -> Prepared:
    """Model and rows, loaded once for all searches, which leave them as they are."""
    name = config.model.name
    if name not in _prepared:
        _prepared[name] = in_float64(config, config.seed)
    return _prepared[name]


def found(config: RunConfig, **how: Any) -> SearchResult:
    return search(config, prepared=prepared(config), **how)


def apart(one: SearchResult, other: SearchResult) -> float:
    """The largest difference in gates, on the whole way, and in what was trained."""
    pairs = [(one.trajectory, other.trajectory)]
    own, others = one.components.sensitivity, other.components.sensitivity
    pairs += [(own, others)] if own is not None and others is not None else []
    pairs += [(one.start.head[n], other.start.head[n]) for n in one.start.head]  # type: ignore[union-attr]
    return max(float((a - b).abs().max()) for a, b in pairs)


def trained(config: RunConfig, pattern: Any) -> RetrainResult:
    return retrain(config, pattern, prepared=prepared(config))


def apart_in_training(one: RetrainResult, other: RetrainResult) -> float:
    """The largest difference in what was trained, the losses on the way, and the metrics."""
    pairs = [(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True)]
    pairs += [(torch.tensor([row["loss"] for row in r.log]) for r in (one, other))]  # type: ignore[list-item]
    assert one.metrics == pytest.approx(other.metrics, abs=NEAR)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def writer(still: RunConfig, tmp_path: Path) -> RunConfig:
    """A decoder, whose loss is a mean over tokens: rows have different numbers of them."""
    tokenizer = tiny_tokenizer()
    small: dict[str, Any] = {
        "bos_token_id": 1,
        "eos_token_id": 1,
        "n_positions": 48,
        "n_embd": 16,
        "n_layer": 1,
        "n_head": 2,
    }
    none: dict[str, Any] = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **small, **none)).save_pretrained(
        tmp_path / "writer"
    )
    tokenizer.save_pretrained(tmp_path / "writer")
    text = ("task={type: causal-lm, max_length: 16}", "lora.targets=[c_attn]")
    return changed(still, f"model.name={tmp_path / 'writer'}", *text, "retrain.start=search")


@pytest.mark.usefixtures("float64", "both_signals")
def test_two_processes_end_where_one_does(
    still: RunConfig, writer: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = {name: changed(still, f"search.hypergradient={name}") for name in METHODS}
    measures = "search.diagnostics_every=1", "search.sensitivity_batches=1"
    each["nystrom"] = changed(each["nystrom"], *measures)
    each["tokens"] = changed(writer, "search.hypergradient=one_step", "search.inner_steps=2")
    alone = {name: found(config) for name, config in each.items()}
    # 32 + 44 rows in batches of 8: an epoch ends with a batch of 4.
    short = changed(still, "retrain.steps=11", "retrain.batch_size=8")
    stops, kept, ranks = changed(each["cg"], *EACH_STEP), tmp_path / "kept", alone["cg"].ranks
    once = trained(short, ranks)
    with two_processes(monkeypatch):
        for name, config in each.items():
            both = found(config)
            # transformers takes the loss of a decoder in float32, whatever the model is in.
            assert apart(both, alone[name]) < (1e-6 if name == "tokens" else NEAR), name
            assert both.cost == alone[name].cost
            assert [list(row) for row in both.rows] == [list(row) for row in alone[name].rows]
        assert apart_in_training(trained(short, ranks), once) < NEAR
        # What fails in both alike fails alone: they are in step afterwards.
        with pytest.raises(InputError, match=r"Lower search\.inner\.learning_rate"):
            found(changed(still, "search.inner={name: sgd, learning_rate: 1e30}"))
        # A signal that comes to one of them is answered by both.
        with pytest.raises(KeyboardInterrupt):
            found(stops, observe=stopping(1, terminate), checkpoints=kept)
        with pytest.raises(processes.Lost, match="another of the 2 processes does not answer"):
            found(still)
    # One process goes on from the checkpoint of two.
    assert apart(found(stops, checkpoints=kept), alone["cg"]) < NEAR
