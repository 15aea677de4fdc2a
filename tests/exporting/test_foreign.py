"""Export of adapters that change their base, or hold more than factors: equal on a fresh base."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from autolora_meta.errors import InputError
from autolora_meta.exporting import export as exporting
from autolora_meta.exporting.export import export
from autolora_meta.finetuning.lora import quiet_peft

# What PEFT says to those who train such adapters.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{start}:UserWarning")
    for start in (
        "Using Rank-Stabilized",
        "Adapter 'default'",
        "Model has `tie_word",
        "`lora_bias=True` was passed",
    )
]
IDS = torch.arange(4, 16).reshape(2, 6)
MIXED = {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {"v_proj": 7}}


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose input and output embeddings share one weight."""
    return llama(tmp_path_factory.mktemp("llama"), tie_word_embeddings=True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama(tmp_path_factory.mktemp("llama"))


def llama(folder: Path, **settings: Any) -> Path:
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        initializer_range=0.2,
        **settings,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def fresh(base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base)


def adapter(base: Path, folder: Path, **settings: Any) -> Path:
    """An adapter that was trained: every number that PEFT would train has moved."""
    with quiet_peft(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        chosen = {"target_modules": ["q_proj", "v_proj"], "r": 2, "lora_alpha": 4} | settings
        model = get_peft_model(fresh(base), LoraConfig(task_type="CAUSAL_LM", **chosen))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
        model.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model.eval()(input_ids=IDS).logits


def adapted(base: Path, folder: Path) -> Tensor:
    with quiet_peft():
        return logits(PeftModel.from_pretrained(fresh(base), str(folder)))


@pytest.mark.parametrize(
    "settings",
    [
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "pissa", "use_rslora": True, **MIXED},
        {"init_lora_weights": "olora", **MIXED},
        {"trainable_token_indices": [4, 5]},
        {"target_modules": ["lm_head", "q_proj"]},
        {"target_modules": ["embed_tokens"]},
        {"modules_to_save": ["lm_head"]},
    ],
    ids=["pissa", "pissa-mixed", "olora-mixed", "tokens", "lm_head", "embedding", "saved"],
)
def test_every_form_equals_the_adapter_on_a_fresh_base(
    tied: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    base = tied
    folder = adapter(base, tmp_path / "adapter", **settings)
    expected = adapted(base, folder)
    assert not torch.allclose(expected, logits(fresh(base)), atol=1e-2)
    found = {form: export(folder, form, tmp_path / form) for form in ("peft", "padded", "merged")}
    assert torch.allclose(adapted(base, found["peft"]), expected, atol=1e-5)
    assert torch.allclose(adapted(base, found["padded"]), expected, atol=1e-4)
    assert torch.allclose(logits(fresh(found["merged"])), expected, atol=1e-4)
    assert json.loads((found["padded"] / "adapter_config.json").read_text())["rank_pattern"] == {}


def test_padded_factors_need_no_changed_base(plain: Path, tmp_path: Path) -> None:
    """W + c B A, as an engine computes it that knows nothing of PiSSA."""
    folder = adapter(plain, tmp_path / "adapter", init_lora_weights="pissa", **MIXED)
    said: list[str] = []
    padded = export(folder, "padded", tmp_path / "padded", say=said.append)
    config = json.loads((padded / "adapter_config.json").read_text())
    assert config["init_lora_weights"] is True and config["r"] == 6
    assert "twice the rank" in said[-1]
    model, weights = fresh(plain), load_file(padded / "adapter_model.safetensors")
    with torch.no_grad():
        for name, a in weights.items():
            if name.endswith("lora_A.weight"):
                b = weights[name.replace("lora_A", "lora_B")]
                name = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
                model.get_submodule(name).weight += config["lora_alpha"] / 6 * b @ a
    assert torch.allclose(logits(model), adapted(plain, folder), atol=1e-4)


def test_biases_are_padded_with_their_layer_and_not_merged_into_none(
    plain: Path, tmp_path: Path
) -> None:
    folder = adapter(plain, tmp_path / "adapter", lora_bias=True, **MIXED)
    padded = export(folder, "padded", tmp_path / "padded")
    assert torch.allclose(adapted(plain, padded), adapted(plain, folder), atol=1e-4)
    with pytest.raises(
        InputError, match=r"lora_bias adds a bias to 'model\.layers\.0\.self_attn\.q_proj'"
    ):
        export(folder, "merged", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    ("settings", "form", "message"),
    [
        ({"target_parameters": ["mlp.experts.gate_up_proj"]}, "padded", "factors for all experts"),
        ({"alora_invocation_tokens": [5]}, "merged", "alora_invocation_tokens"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "merged", "layer_replication"),
        ({"use_dora": True}, "padded", "DoRA"),
        ({"init_lora_weights": "pissa_niter_4"}, "merged", "its logits differ each time"),
        ({"init_lora_weights": "pissa_niter_4"}, "peft", "its logits differ each time"),
    ],
)
def test_what_a_form_cannot_hold_is_refused_before_the_base_is_loaded(
    plain: Path,
    tmp_path: Path,
    settings: dict[str, Any],
    form: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = adapter(plain, tmp_path / "adapter")
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    def unloaded(*_: Any, **__: Any) -> None:
        raise AssertionError("the base was loaded")

    monkeypatch.setattr(exporting, "load_base", unloaded)
    with pytest.raises(InputError, match=f"--to {form} cannot hold this adapter: .*{message}"):
        export(folder, form, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]


def test_more_than_factors_is_not_padded(plain: Path, tmp_path: Path) -> None:
    folder = adapter(plain, tmp_path / "adapter", use_dora=True)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_dora": False}))
    with pytest.raises(InputError, match=r"more than the factors A and B .*lora_magnitude_vector"):
        export(folder, "padded", tmp_path / "out")


def test_axolotl_gets_the_start_that_changes_a_base_and_no_empty_settings(
    plain: Path, tmp_path: Path
) -> None:
    folder = adapter(plain, tmp_path / "adapter", init_lora_weights="olora")
    path = folder / "adapter_config.json"
    # PEFT leaves an empty list behind in mixtures of experts.
    path.write_text(json.dumps(json.loads(path.read_text()) | {"target_parameters": []}))
    made = yaml.safe_load(export(folder, "axolotl", tmp_path / "lora.yml").read_text())
    assert made["peft_init_lora_weights"] == "olora"
    assert not any("target_parameters" in key for key in made)


def test_an_adapter_that_stock_peft_cannot_load_or_run_is_refused(
    plain: Path, tmp_path: Path
) -> None:
    folder = adapter(plain, tmp_path / "adapter")
    wide = llama(tmp_path / "wide", head_dim=32)
    with pytest.raises(InputError, match=r"PEFT cannot load .*--base"):
        export(folder, "merged", tmp_path / "out", base=str(wide))
