"""A start holds the ranks, and what the search trained if that is asked for; anybody trains it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from autolora_meta.errors import InputError
from autolora_meta.exporting.export import export
from autolora_meta.exporting.stored import read_adapter
from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.finetuning.start import Start
from autolora_meta.ranks.pattern import RankPattern
from tests.end_to_end import Tiny, command, tiny_setting
from tests.exporting.adapters import Adapter, classifier, saved

IDS = torch.tensor([[2, 7, 9, 12, 3]])


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    tiny = tiny_setting(tmp_path_factory.mktemp("searched"))
    assert command("search", tiny.config, "--runs", tiny.run.parent).status == 0
    return tiny


def trainable(tiny: Tiny, start: Path) -> PeftModel:
    base = AutoModelForSequenceClassification.from_pretrained(tiny.model, num_labels=3)
    with quiet_peft():
        return PeftModel.from_pretrained(base, str(start), is_trainable=True).eval()


def pattern(tiny: Tiny) -> dict[str, int]:
    return {name: rank for name, rank in RankPattern.load(tiny.run / "ranks.json") if rank}


def test_an_untrained_start_has_the_ranks_of_the_search(searched: Tiny, tmp_path: Path) -> None:
    done = command("export", searched.run, "--to", "start", "-o", tmp_path / "start")
    assert done.status == 0 and "the logits of the base (B is 0)" in done.out
    stored = read_adapter(tmp_path / "start")
    assert dict(stored.pattern) == pattern(searched) and set(stored.scales) == {2.0}
    config: dict[str, Any] = json.loads((tmp_path / "start" / "adapter_config.json").read_text())
    assert all(name.startswith("^") for name in (*config["rank_pattern"], *config["alpha_pattern"]))
    tensors = load_file(tmp_path / "start" / "adapter_model.safetensors")
    assert not any(t.any() for name, t in tensors.items() if "lora_B" in name)
    # PEFT draws A evenly within 1 / sqrt(in), which is 16.
    drawn = torch.cat([t.flatten() for name, t in tensors.items() if "lora_A" in name])
    assert drawn.abs().max() <= 0.25 and drawn.std() == pytest.approx(0.25 / 3**0.5, rel=0.3)
    model = trainable(searched, tmp_path / "start")
    model(input_ids=IDS, labels=torch.tensor([1])).loss.backward()
    moved = [p for n, p in model.named_parameters() if "lora_B" in n]
    assert moved and all(p.grad is not None and p.grad.any() for p in moved)


def test_the_seed_decides_the_start(searched: Tiny, tmp_path: Path) -> None:
    first, again, other = (
        export(searched.run, "start", tmp_path / str(i), seed=seed) / "adapter_model.safetensors"
        for i, seed in enumerate((0, 0, 1))
    )
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()


def test_what_the_search_trained_is_cut_to_the_ranks(searched: Tiny, tmp_path: Path) -> None:
    place, option = tmp_path / "start", ("--weights", "search")
    done = command("export", searched.run, "--to", "start", *option, "-o", place)
    assert done.status == 0 and "logits as what the search trained" in done.out
    model, trained = (
        trainable(searched, place),
        Start.load(searched.run / "search/start.safetensors"),
    )
    layers: Any = model.get_base_model()
    for name, rank in pattern(searched).items():
        update = 2.0 * trained.left[name][:, :rank] @ trained.right[name][:rank]
        given = layers.get_submodule(name).get_delta_weight("default")
        assert torch.allclose(given, update, atol=1e-6) and given.any()
    (head,) = [n for n in trained.head if n.endswith("classifier.modules_to_save.default.weight")]
    assert torch.equal(model.get_parameter(head), trained.head[head])


def test_a_start_of_an_adapter_forgets_its_weights(bert: Adapter, tmp_path: Path) -> None:
    stored, start = (read_adapter(p) for p in (bert[1], export(bert[1], "start", tmp_path / "s")))
    assert dict(stored.pattern) == dict(start.pattern) and stored.scales == start.scales
    tensors = load_file(tmp_path / "s" / "adapter_model.safetensors")
    assert not any(t.any() for name, t in tensors.items() if "lora_B" in name)


def test_what_is_no_start_is_refused(bert: Adapter, searched: Tiny, tmp_path: Path) -> None:
    place = tmp_path / "start"
    with pytest.raises(InputError, match="holds nothing that a search trained"):
        export(bert[1], "start", place, weights="search")
    with pytest.raises(InputError, match="--weights search is for --to start"):
        export(searched.run, "peft", place, weights="search")
    done = command("export", searched.run, "--to", "start", "--weights", "serch", "-o", place)
    assert done.status == 2 and "did you mean 'search'" in done.err
    config = LoraConfig(r=2, target_modules=["query"], use_dora=True, task_type="SEQ_CLS")
    dora = saved(classifier(bert[0]), config, tmp_path / "dora")
    with pytest.raises(InputError, match=r"DoRA needs the base's weights.*--to trainer"):
        export(dora, "start", place)
    shutil.copytree(searched.run, tmp_path / "run")
    trained = tmp_path / "run" / "search" / "start.safetensors"
    trained.write_bytes(trained.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"start\.safetensors"):
        export(tmp_path / "run", "start", place, weights="search")
    assert not place.exists()
