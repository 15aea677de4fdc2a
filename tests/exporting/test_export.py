"""Every form of an export holds what the adapter holds."""

import json
import runpy
import shutil
from pathlib import Path

import pytest
import torch
import typer
import yaml
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)
from typer.testing import CliRunner

from autolora_meta.cli.export import export as command
from autolora_meta.cli.main import _Teaching
from autolora_meta.errors import InputError
from autolora_meta.exporting.export import export
from autolora_meta.exporting.forms import FORMS
from autolora_meta.finetuning.lora import quiet_peft
from tests.end_to_end import contents
from tests.exporting.adapters import Adapter, classifier, saved

IDS = torch.tensor([[2, 7, 9, 12, 3]])


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def adapted(base: PreTrainedModel, adapter: Path) -> Tensor:
    with quiet_peft():
        return logits(PeftModel.from_pretrained(base, str(adapter)))


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def same_bytes(one: Path, other: Path) -> bool:
    return contents(one) == contents(other)


def test_a_merged_model_is_the_adapted_one_without_peft(bert: Adapter, tmp_path: Path) -> None:
    base, adapter = bert
    export(adapter, "merged", tmp_path / "merged")
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    assert merged.config.num_labels == 3  # nothing but the adapter's head tells
    assert close(logits(merged), adapted(classifier(base), adapter))
    assert not any("lora" in name for name in merged.state_dict())


def test_a_padded_adapter_has_one_rank_and_the_same_logits(bert: Adapter, tmp_path: Path) -> None:
    base, adapter = bert
    said: list[str] = []
    padded = export(adapter, "padded", tmp_path / "padded", say=said.append)
    config = json.loads((padded / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (3, 6)
    assert config["rank_pattern"] == config["alpha_pattern"] == {}
    assert len(config["target_modules"]) == 3  # the layer of rank 0 is left out
    weights = load_file(padded / "adapter_model.safetensors")
    assert {w.shape[0] for n, w in weights.items() if "lora_A" in n} == {3}
    assert {w.shape[1] for n, w in weights.items() if "lora_B" in n} == {3}
    assert close(adapted(classifier(base), padded), adapted(classifier(base), adapter))
    assert "vLLM refuse" in said[-1] and "--to merged" in said[-1]


def test_axolotl_gets_its_own_keys(bert: Adapter, tmp_path: Path) -> None:
    base, adapter = bert
    made = yaml.safe_load(export(adapter, "axolotl", tmp_path / "lora.yml").read_text())
    assert made["base_model"] == str(base) and made["adapter"] == "lora"
    name = "^bert\\.encoder\\.layer\\.0\\.attention\\.self\\.query"
    assert made["lora_rank_pattern"][name] == 3 and made["lora_alpha_pattern"][name] == 6
    assert "classifier" in made["lora_modules_to_save"]  # PEFT adds names of its own


def test_a_file_for_the_trainer_runs(
    bert: Adapter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, adapter = bert
    script = export(adapter, "trainer", tmp_path / "lora.py")
    capsys.readouterr()
    with quiet_peft():
        runpy.run_path(str(script), run_name="__main__")
    # Three layers at total rank 6 of 32 parameters a rank, and the head.
    assert f"trainable params: {6 * 32 + 3 * 16 + 3:,} " in capsys.readouterr().out


def test_the_names_of_the_classes_go_along(bert: Adapter, tmp_path: Path) -> None:
    base, adapter = bert
    shutil.copytree(adapter, tmp_path / "adapter")
    names = {0: "animal", 1: "colour", 2: "number"}
    config = AutoConfig.from_pretrained(base, id2label=names)
    config.save_pretrained(tmp_path / "adapter")  # as a run leaves it
    for form in ("merged", "padded"):
        place = export(tmp_path / "adapter", form, tmp_path / form)
        assert AutoConfig.from_pretrained(place).id2label == names


def test_a_peft_adapter_is_copied_whole(bert: Adapter, tmp_path: Path) -> None:
    _, adapter = bert
    export(adapter, "peft", tmp_path / "deep" / "copy")
    assert same_bytes(adapter, tmp_path / "deep" / "copy")


@pytest.mark.parametrize("form", FORMS)
def test_a_foreign_adapter_goes_into_every_form(gpt2: Adapter, tmp_path: Path, form: str) -> None:
    base, adapter = gpt2
    said: list[str] = []
    place = export(adapter, form, tmp_path / "out", say=said.append)
    compared = "the logits of the base" if form == "start" else "logits of a small input differ by"
    assert compared in said[0]
    expected = adapted(AutoModelForCausalLM.from_pretrained(base), adapter)
    if form == "padded":
        config = json.loads((place / "adapter_config.json").read_text())
        assert config["r"] == 4 and not config["use_rslora"]
        assert close(adapted(AutoModelForCausalLM.from_pretrained(base), place), expected)
    if form == "merged":
        assert close(logits(AutoModelForCausalLM.from_pretrained(place)), expected)


def test_an_export_that_gives_other_logits_is_not_kept(
    bert: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autolora_meta.exporting.surgery.plain", lambda number: number + 1)
    with pytest.raises(RuntimeError, match=r"logits that differ by .*not kept"):
        export(bert[1], "padded", tmp_path / "padded")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported(bert: Adapter, tmp_path: Path) -> None:
    base, adapter = bert
    for folder, message in ((tmp_path, "holds nothing to export"), (base, "nothing to export")):
        with pytest.raises(InputError, match=message):
            export(folder, "merged", tmp_path / "x")
    with pytest.raises(InputError, match=r"unknown form 'mergd' \(did you mean 'merged'"):
        export(adapter, "mergd", tmp_path / "x")
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(InputError, match="mine exists, and finished work is not overwritten"):
        export(adapter, "axolotl", tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "precious"
    with pytest.raises(InputError, match=r"moved.*cannot be loaded.*--base"):
        export(adapter, "merged", tmp_path / "x", base=str(tmp_path / "moved"))
    assert not (tmp_path / "x").exists()


def test_a_dora_adapter_is_merged_and_not_padded(bert: Adapter, tmp_path: Path) -> None:
    base, _ = bert
    config = LoraConfig(r=2, target_modules=["query"], use_dora=True, task_type="SEQ_CLS")
    adapter = saved(classifier(base), config, tmp_path / "dora")
    with pytest.raises(InputError, match=r"DoRA.*--to merged"):
        export(adapter, "padded", tmp_path / "padded")
    export(adapter, "merged", tmp_path / "merged")


def test_the_command_shows_ranks_and_writes(bert: Adapter, gpt2: Adapter, tmp_path: Path) -> None:
    app = typer.Typer(cls=_Teaching)
    app.command()(command)
    app.callback()(lambda: None)

    def say(*arguments: object) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["export", *map(str, arguments)])
        return done.exit_code, done.output

    status, shown = say(bert[1])
    assert status == 0 and "total rank 6, 192 parameters" in shown
    assert "scale (alpha / rank) 2\n" in shown and str(bert[0]) in shown
    assert "scale (alpha / rank) 1.5 to 3.53553" in say(gpt2[1])[1]
    status, shown = say(bert[1], "--to", "axolotl", "-o", tmp_path / "a.yml")
    assert status == 0 and "written to" in shown and (tmp_path / "a.yml").is_file()
    assert say(bert[1], "--to", "axolotl", "-o", tmp_path / "a.yml")[0] == 2
    assert "needs --output" in say(bert[1], "--to", "axolotl")[1]
    assert "needs --to" in say(bert[1], "-o", tmp_path / "b.yml")[1]
