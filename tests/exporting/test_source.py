"""What can be exported from: a run, ranks alone, a folder of PEFT."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig
from transformers import (
    AutoTokenizer,
)

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.exporting.export import export
from autolora_meta.exporting.source import find
from autolora_meta.finetuning.lora import layer_costs
from autolora_meta.finetuning.models import load_model
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.finetuning.tasks.sequence_classification import SequenceClassification
from autolora_meta.ranks.pattern import RankPattern
from tests.end_to_end import contents
from tests.exporting.adapters import RANKS, Adapter, classifier
from tests.tiny import tiny_tokenizer


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
