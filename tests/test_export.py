"""Export: each form carries the same update, nothing is overwritten, and foreign adapters work."""

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
)
from typer.testing import CliRunner

from autolora_meta.cli.export import export as command
from autolora_meta.cli.main import _Teaching
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.exporting.export import export
from autolora_meta.exporting.forms import FORMS
from autolora_meta.exporting.source import find
from autolora_meta.finetuning.lora import layer_costs, quiet_peft
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.finetuning.models import load_model
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.finetuning.tasks.sequence_classification import SequenceClassification
from autolora_meta.ranks.pattern import RankPattern
from tests.end_to_end import contents
from tests.tiny import tiny_bert, tiny_tokenizer

RANKS = (3, 0, 1, 2)
IDS = torch.tensor([[2, 7, 9, 12, 3]])
Adapter = tuple[Path, Path]  # base, adapter


def drawn(model: nn.Module) -> None:
    """Every trained number away from zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_()


def saved(base: PreTrainedModel, config: LoraConfig, folder: Path) -> Path:
    torch.manual_seed(0)
    with quiet_peft():
        model = get_peft_model(base, config)  # type: ignore[arg-type]
    drawn(model)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def classifier(base: Path) -> PreTrainedModel:
    return AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    """An adapter with our ranks and a head of three classes."""
    place = tmp_path_factory.mktemp("bert")
    base = tiny_bert(place / "base")
    model = classifier(base)
    names = target_layers(model, ["query", "value"])
    pattern = RankPattern(names, RANKS, layer_costs(model, names), k=3, scale=2.0)
    config = lora_config(pattern, task_type="SEQ_CLS", modules_to_save=["classifier"])
    return base, saved(model, config, place / "adapter")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    """Somebody else's adapter: Conv1D layers, two scales, rsLoRA."""
    place = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=32, n_positions=32, n_embd=8, n_layer=2, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(place / "base")
    foreign = LoraConfig(
        r=2,
        lora_alpha=3,
        target_modules=["c_attn", "mlp.c_proj"],
        rank_pattern={"h.1.attn.c_attn": 4},
        alpha_pattern={"c_proj": 5},
        use_rslora=True,
        task_type="CAUSAL_LM",
    )
    base = AutoModelForCausalLM.from_pretrained(place / "base")
    return place / "base", saved(base, foreign, place / "adapter")


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


# -- the forms ------------------------------------------------------------------------------------


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
    assert "logits of a small input differ by" in said[0]
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


# -- the folder of a run --------------------------------------------------------------------------


@pytest.fixture
def run(bert: Adapter, tmp_path: Path) -> Callable[..., Path]:
    """A run's folder, before its adapter is there."""
    base, adapter = bert
    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    config = {"name": "tiny", "model": {"name": str(base)}, "data": {"source": "rows.csv"}}
    (folder / "config.yaml").write_text(RunConfig.load(config).to_yaml())
    model = classifier(base)
    names = target_layers(model, ["query", "value"])
    RankPattern(names, RANKS, layer_costs(model, names), k=3, scale=2.0).save(folder / "ranks.json")

    def with_adapter() -> Path:
        saved_files = contents(adapter)
        (folder / "adapter").mkdir()
        for name, content in saved_files.items():
            (folder / "adapter" / name).write_bytes(content)
        tiny_tokenizer().save_pretrained(folder / "adapter")
        return folder

    return lambda adapter=True: with_adapter() if adapter else folder


def test_a_run_is_exported_with_its_tokenizer(run: Callable[..., Path], tmp_path: Path) -> None:
    folder = run()
    for name in ("optimizer.pt", "training_args.bin", "trainer_state.json"):  # of a checkpoint
        (folder / "adapter" / name).write_bytes(b"{}")
    for form in ("merged", "padded"):
        place = export(folder, form, tmp_path / form)
        names = {path.name for path in place.iterdir()}
        assert "tokenizer.json" in names and not names & {"optimizer.pt", "training_args.bin"}
        assert "trainer_state.json" not in names
        assert AutoTokenizer.from_pretrained(place).tokenize("the cat") == ["the", "cat"]


def test_the_base_of_a_run_is_found_from_any_folder(
    bert: Adapter, run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, folder = bert[0], run(adapter=False)
    config = RunConfig.load(folder / "config.yaml", {"model": {"name": base.name}})
    (folder / "config.yaml").write_text(config.to_yaml())
    monkeypatch.chdir(base.parent)  # where the run was started
    assert find(folder).name == find(folder).config.base_model_name_or_path == str(base)
    model, _ = load_model(config.model, SequenceClassification(("a", "b"), 8), seed=0)
    assert model.name_or_path == str(base)  # what PEFT writes down
    run()
    monkeypatch.chdir(tmp_path)
    export(folder, "padded", tmp_path / "padded")
    moved = base.rename(tmp_path / "moved")
    try:
        with pytest.raises(InputError, match=r"no such folder.*--base"):
            export(folder, "padded", tmp_path / "other")
        for form in ("peft", "padded"):
            place = export(folder, form, tmp_path / "new" / form, base="moved")
            stored: Any = LoraConfig.from_pretrained(str(place))
            assert stored.base_model_name_or_path == str(moved)
    finally:
        moved.rename(base)


def test_ranks_without_an_adapter(run: Callable[..., Path], tmp_path: Path) -> None:
    folder = run(adapter=False)
    place = export(folder, "peft", tmp_path / "config")
    written: Any = LoraConfig.from_pretrained(str(place))
    assert written.rank_pattern == {
        f"^bert\\.encoder\\.layer\\.{layer}\\.attention\\.self\\.{name}": rank
        for layer, name, rank in ((0, "query", 3), (1, "query", 1), (1, "value", 2))
    }
    assert "lora_rank_pattern" in export(folder, "axolotl", tmp_path / "a.yml").read_text()
    compile(export(folder, "trainer", tmp_path / "a.py").read_text(), "a.py", "exec")
    with pytest.raises(InputError, match=r"ranks and no adapter.*autolora-meta retrain"):
        export(folder, "merged", tmp_path / "merged")


# -- what is refused, and the command -------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("content", "weights", "message"),
    [
        ("{", None, "is not a configuration of a PEFT adapter"),
        ('{"peft_type": "IA3"}', None, "of type IA3; only LORA"),
        ('{"peft_type": "LORA"}', None, "safetensors.*pickles"),
        ('{"peft_type": "LORA"}', b"broken", "safetensors.*pickles"),
    ],
)
def test_folders_that_hold_no_lora_adapter(
    tmp_path: Path, content: str, weights: bytes | None, message: str
) -> None:
    (tmp_path / "adapter_config.json").write_text(content)
    if weights is not None:
        (tmp_path / "adapter_model.safetensors").write_bytes(weights)
    with pytest.raises(InputError, match=message):
        export(tmp_path, "merged", tmp_path / "x")


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
