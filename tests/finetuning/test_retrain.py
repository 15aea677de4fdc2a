"""Retraining with a rank pattern, and the adapter that is left behind."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import DatasetDict
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autolora_meta.errors import InputError
from autolora_meta.exporting import adapter
from autolora_meta.exporting.adapter import save_adapter
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.lora import layer_costs, quiet_peft
from autolora_meta.finetuning.models import ModelOptions, load_model
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainOptions, RetrainResult, retrain
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.finetuning.tasks import Task
from autolora_meta.ranks.pattern import RankPattern

Run = Callable[..., RetrainResult]
FAST = {"steps": 4, "learning_rate": 1e-2}


class Watcher:
    """Progress that is remembered."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def start(self, label: str, total: float) -> None:
        self.seen.append((label, total))

    def step(self, loss: float | None = None, work: float = 1) -> None:
        self.seen.append(loss)

    def close(self) -> None:
        self.seen.append("closed")


def fresh(folder: Path, task: Task, seed: int = 0) -> PreTrainedModel:
    return load_model(ModelOptions(name=str(folder)), task, seed)[0]


@pytest.fixture
def run(folder: Path, task: Task, tokenizer: PreTrainedTokenizerBase, encoded: DatasetDict) -> Run:
    def go(ranks: list[int], seed: int = 0, progress: Watcher | None = None, **options: object):
        model = fresh(folder, task, seed)
        names = target_layers(model, "default")
        pattern = RankPattern(names, tuple(ranks), layer_costs(model, names), k=4, scale=2.0)
        settings = RetrainOptions.model_validate(FAST | options)
        collate = task.collator(tokenizer)
        prepared = Prepared(model, tokenizer, task, encoded, head_modules(model), collate)
        return retrain(prepared, pattern, settings, seed=seed, progress=progress)

    return go


def trained(result: RetrainResult) -> dict[str, torch.Tensor]:
    return {n: p.detach() for n, p in result.model.named_parameters() if p.requires_grad}


def test_it_learns(run: Run) -> None:
    result = run([2, 2, 2, 2], steps=80, learning_rate=3e-2)
    assert result.metrics["accuracy"] > 0.55  # a third by chance
    assert result.metrics["cross_entropy"] < 0.9  # log 3 = 1.10 by chance
    assert result.log[-1]["loss"] < 0.8 * result.log[0]["loss"]
    assert result.parameters == 8 * 32


def test_two_runs_give_the_same_bytes(run: Run) -> None:
    torch.manual_seed(1)
    one = run([1, 0, 2, 4])
    torch.manual_seed(2)
    random.seed(3)
    np.random.seed(3)
    before = torch.get_rng_state()
    same = run([1, 0, 2, 4])
    assert torch.equal(torch.get_rng_state(), before)
    # The Trainer seeds them all; what the caller draws next does not hang on it.
    assert random.random() == random.Random(3).random()
    assert np.random.random() == np.random.RandomState(3).random()
    assert one.metrics == same.metrics and one.log == same.log
    assert all(torch.equal(p, trained(same)[name]) for name, p in trained(one).items())
    assert run([1, 0, 2, 4], seed=1).log != one.log


def test_what_was_prepared_serves_any_number_of_retrainings(
    folder: Path, task: Task, tokenizer: PreTrainedTokenizerBase, encoded: DatasetDict
) -> None:
    model = fresh(folder, task)
    names = target_layers(model, "default")
    pattern = RankPattern(names, (1, 0, 2, 4), layer_costs(model, names), k=4, scale=2.0)
    prepared = Prepared(
        model, tokenizer, task, encoded, head_modules(model), task.collator(tokenizer)
    )
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    settings = RetrainOptions.model_validate(FAST)
    one = retrain(prepared, pattern, settings, seed=0)
    retrain(prepared, pattern.with_ranks([4, 1, 0, 1]), settings, seed=0)
    again = retrain(prepared, pattern, settings, seed=0)
    assert one.log == again.log and one.metrics == again.metrics
    after = dict(model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], p) for name, p in before.items())


def test_rows_grouped_by_length_come_in_another_order_and_always_the_same(run: Run) -> None:
    one = run([1, 1, 1, 1], group_by_length=True)
    assert one.log == run([1, 1, 1, 1], group_by_length=True).log
    assert one.log != run([1, 1, 1, 1]).log


def test_the_ranks_are_what_is_trained(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    watcher = Watcher()
    result = run([1, 0, 2, 4], progress=watcher)
    assert "".join(capfd.readouterr()) == ""
    names = [name for name in trained(result) if "lora_A" in name]
    assert [tuple(trained(result)[name].shape) for name in names] == [(1, 16), (2, 16), (4, 16)]
    config = result.model.peft_config["default"]
    layers = [m for m in result.model.modules() if isinstance(m, LoraLayer)]
    scales = {layer.scaling["default"] for layer in layers}
    assert scales == {2.0} and config.task_type == "SEQ_CLS"
    assert [row["step"] for row in result.log] == [1, 2, 3, 4]
    losses = [row["loss"] for row in result.log]
    assert watcher.seen == [("retrain", 4), *losses, "closed"]
    assert not result.model.training


def test_no_rank_anywhere_is_refused(run: Run) -> None:
    with pytest.raises(InputError, match="ranks are 0"):
        run([0, 0, 0, 0])


def test_a_loss_that_is_no_number_stops_the_run(run: Run) -> None:
    watcher = Watcher()
    with pytest.raises(InputError, match=r"loss of the retraining is nan.*learning_rate"):
        run([1, 1, 1, 1], progress=watcher, learning_rate=1e30, max_grad_norm=1e30, warmup=0.0)
    assert watcher.seen[-1] == "closed"


def test_the_saved_adapter_loads_with_peft_alone(
    run: Run, folder: Path, task: Task, tmp_path: Path
) -> None:
    result = run([1, 0, 2, 4])
    save_adapter(result, tmp_path / "adapter", "# A card\n", base=fresh(folder, task, seed=9))
    files = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md"} <= files
    assert "tokenizer.json" in files and not any(name.endswith(".bin") for name in files)
    assert (tmp_path / "adapter" / "README.md").read_text() == "# A card\n"
    with quiet_peft():
        base = fresh(folder, task, seed=5)
        loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        expected = result.model(**result.sample).logits
        assert torch.allclose(loaded(**result.sample).logits, expected, atol=1e-6)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert sorted(config["rank_pattern"].values()) == [1, 2, 4]


def test_an_adapter_that_loads_as_another_is_noticed(
    run: Run, folder: Path, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = PeftModel.from_pretrained

    def damaged(base: PreTrainedModel, path: str) -> PeftModel:
        file = Path(path) / "adapter_model.safetensors"
        save_file({name: value + 0.1 for name, value in load_file(file).items()}, file)
        return load(base, path)  # type: ignore[return-value]

    monkeypatch.setattr(adapter.PeftModel, "from_pretrained", damaged)
    with pytest.raises(RuntimeError, match="logits that differ"):
        save_adapter(run([1, 1, 1, 1]), tmp_path / "adapter", "card", base=fresh(folder, task))
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_never_mixes_with_other_files(
    run: Run, folder: Path, task: Task, tmp_path: Path
) -> None:
    result, mine = run([1, 1, 1, 1]), tmp_path / "notes.txt"
    mine.write_text("mine")
    with pytest.raises(InputError, match="exists; give another folder"):
        save_adapter(result, tmp_path, "card", base=fresh(folder, task))
    assert list(tmp_path.iterdir()) == [mine]
    (tmp_path / "empty").mkdir()
    save_adapter(result, tmp_path / "empty", "card", base=fresh(folder, task))
    assert (tmp_path / "empty" / "README.md").read_text() == "card"


def test_bf16_is_for_training_passes_alone(run: Run) -> None:
    plain, half = run([2, 2, 2, 2]), run([2, 2, 2, 2], precision="bf16")
    losses = [[row["loss"] for row in result.log] for result in (plain, half)]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.05)
    batch = {name: rows for name, rows in half.sample.items() if name != "labels"}
    with torch.no_grad():
        logits = half.model(**batch).logits
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float()), "the model is left under autocast"
