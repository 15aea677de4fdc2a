"""A base that transformers quantises or lays out: what is passed on, refused, left in place."""

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import BertForSequenceClassification

from autolora_meta import InputError, RunConfig, prepare, retrain, search
from autolora_meta.finetuning import quantized
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.staying import copied, moved, stays
from autolora_meta.ranks.pattern import RankPattern
from tests.tiny import tiny_bert, tiny_csv

PASSED = transformers.AutoModelForSequenceClassification


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("staying")
    return {
        "name": "tiny",
        "model": {"name": str(tiny_bert(place / "model"))},
        "data": {"source": str(tiny_csv(place / "rows.csv")), "train_rows": 32},
        "lora": {"k": 3, "targets": ["query", "value"], "dropout": 0.1},
        "search": {"outer_steps": 2, "warmup_steps": 1, "batch_size": 8, "outer_batch_size": 8},
        "ranks": {"budget": "uniform:1", "importance": "alpha"},
        "retrain": {"steps": 3, "batch_size": 8},
        "runtime": {"device": "cpu"},
    }


def test_double_backward_is_refused_with_the_configuration(settings: dict[str, Any]) -> None:
    RunConfig.load(settings, "model.quantization=nf4")
    for method in ("cg", "unrolled"):
        with pytest.raises(InputError, match=rf"'{method}' needs one; methods that work: .*darts"):
            RunConfig.load(settings, "model.quantization=int8", f"search.hypergradient={method}")
    with pytest.raises(InputError, match="should be 'nf4' or 'int8'"):
        RunConfig.load(settings, "model.quantization=fp4")


def test_without_a_gpu_it_is_refused_before_anything_is_read(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = RunConfig.load(settings, "model.quantization=nf4", "data.source=/nowhere.csv")
    with pytest.raises(InputError, match=r"is nf4, which needs a CUDA device.*sees none here"):
        prepare(config)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(quantized, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'autolora-meta\[quantization\]'"):
        prepare(config)


@pytest.mark.parametrize(
    ("bits", "wanted"),
    [
        ("nf4", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}),
        ("int8", {"load_in_8bit": True, "load_in_4bit": False}),
    ],
)
def test_transformers_is_told_of_bits_and_places(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, bits: str, wanted: dict[str, Any]
) -> None:
    told: dict[str, Any] = {}

    def load(*_: Any, **given: Any) -> None:
        told.update(given)
        raise RuntimeError("enough")

    versions = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "0.50.0" if name == "bitsandbytes" else versions(name)
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(quantized, "find_spec", lambda name: name)
    monkeypatch.setattr(PASSED, "from_pretrained", load)
    with pytest.raises(InputError, match="enough"):
        prepare(RunConfig.load(settings, f"model.quantization={bits}", "model.device_map=auto"))
    assert told["device_map"] == "auto"
    found = told["quantization_config"].to_dict()
    assert found.items() >= wanted.items()
    assert found["llm_int8_skip_modules"] == ["classifier"]  # the head is trained in full
    told.clear()
    with pytest.raises(InputError, match="enough"):
        prepare(RunConfig.load(settings))
    assert not told.keys() & {"quantization_config", "device_map"}


def weights(model: Any) -> dict[str, int]:
    return {name: p.data_ptr() for name, p in model.named_parameters() if "lora_" not in name}


def test_a_base_that_is_laid_out_stays_and_is_not_copied(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, laid = RunConfig.load(settings), RunConfig.load(settings, "model.device_map=cpu")
    prepared: dict[bool, Prepared] = {on: prepare(laid if on else plain) for on in (False, True)}
    base: Any = prepared[True].model
    assert stays(base) and not stays(prepared[False].model)
    before = weights(base)
    moves: list[Any] = []
    monkeypatch.setattr(BertForSequenceClassification, "to", lambda self, *a: moves.append(a))
    assert moved(base, "cpu") is base and not moves
    monkeypatch.undo()
    found = {on: search(laid if on else plain, prepared=prepared[on]) for on in (False, True)}
    assert torch.equal(found[True].trajectory, found[False].trajectory)
    pattern: RankPattern = found[True].ranks
    trained = {
        on: retrain(laid if on else plain, pattern, prepared=prepared[on]) for on in (False, True)
    }
    assert trained[True].log == trained[False].log
    shared = set(before.values())
    own = trained[True].model.get_base_model()
    assert {p for n, p in weights(own).items() if "base_layer" in n} <= shared
    assert not {p for n, p in weights(trained[False].model).items()} & set(
        weights(prepared[False].model).values()
    )
    assert weights(base) == before and not any("lora_" in n for n, _ in base.named_parameters())


def test_a_copy_of_what_stays_has_modules_of_its_own(settings: dict[str, Any]) -> None:
    base: Any = prepare(RunConfig.load(settings, "model.device_map=cpu")).model
    again = copied(base)
    assert weights(again) == weights(base)
    again.classifier = torch.nn.Identity()
    assert isinstance(base.classifier, torch.nn.Linear)


def test_the_extra_is_named_as_the_message_names_it() -> None:
    extras = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert '\nquantization = ["bitsandbytes>=' in extras
