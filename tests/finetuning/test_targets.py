"""Targets: PEFT makes what was asked for, and what shared names leave out is said."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel, get_peft_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from autolora_meta import search_model
from autolora_meta.errors import InputError
from autolora_meta.exporting.export import export
from autolora_meta.exporting.stored import read_adapter
from autolora_meta.finetuning.lora import (
    LoraOptions,
    layer_costs,
    quiet_peft,
    refuse_other_layers,
    wrap_for_search,
)
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.finetuning.targets import choose_targets, target_layers
from autolora_meta.ranks.pattern import RankPattern

SIZE: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
MIXTURE: dict[str, Any] = SIZE | {
    "num_key_value_heads": 1,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 12,
}
LATENT: dict[str, Any] = {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 4,
    "n_group": 2,
    "topk_group": 1,
    "num_key_value_heads": 2,
}
MIXTURES: dict[str, tuple[Any, ...]] = {
    "mixtral": ("Mixtral", MIXTURE),
    "olmoe": ("Olmoe", MIXTURE),
    "qwen3 with a dense layer": ("Qwen3Moe", MIXTURE, {"head_dim": 8, "mlp_only_layers": [1]}),
    "qwen2": ("Qwen2Moe", MIXTURE, {"shared_expert_intermediate_size": 20}),
    "deepseek": ("DeepseekV3", MIXTURE, LATENT),
}
STATES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}


def config_of(family: str, *settings: dict[str, Any], **more: Any) -> Any:
    """A configuration of transformers with these settings, later ones over earlier ones."""
    together = {key: value for one in (*settings, more) for key, value in one.items()}
    return getattr(transformers, f"{family}Config")(**together)


def causal(config: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


def words() -> list[dict[str, torch.Tensor]]:
    ids = torch.randint(4, 40, (4, 6), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": ids, "labels": ids}]


def loss(model: Any, batch: Any) -> Any:
    return model(**batch).loss


def searched(model: Any, k: int) -> Any:
    options = {"outer_steps": 1}
    return search_model(model, words(), words(), loss=loss, lora={"k": k}, options=options)


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_of_experts_gets_the_ranks_asked_for_and_no_others(
    name: str, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    causal(config_of(*MIXTURES[name])).save_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    result = searched(model, k=4)
    names = result.ranks.names
    ranks = tuple([0, 3, 1, 2, 4][i % 5] for i in range(len(names)))
    pattern = RankPattern(names, ranks, result.ranks.costs, k=4, scale=2.0)
    asked = {layer: rank for layer, rank in pattern if rank}
    config = lora_config(pattern, architecture=result.architecture)
    with quiet_peft():
        made = get_peft_model(model, config)  # type: ignore[arg-type]
    assert isinstance(made, PeftModel)
    refuse_other_layers(made, pattern)
    for parameter in made.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.1)
    made.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    assert dict(read_adapter(tmp_path / "adapter").pattern) == asked
    fresh = AutoModelForCausalLM.from_pretrained(base)
    with quiet_peft():
        loaded = PeftModel.from_pretrained(fresh, str(tmp_path / "adapter"))
    refuse_other_layers(loaded, pattern)
    (batch,) = words()
    expected = made.eval()(**batch).logits
    assert torch.allclose(loaded.eval()(**batch).logits, expected, atol=1e-6)
    merged = export(tmp_path / "adapter", "merged", tmp_path / "merged", base=str(base))
    alone = AutoModelForCausalLM.from_pretrained(merged).eval()
    assert torch.allclose(alone(**batch).logits, expected, rtol=1e-3, atol=1e-4)


def test_other_layers_or_ranks_than_asked_for_are_refused_by_name() -> None:
    model = causal(config_of("Mixtral", MIXTURE))
    names = target_layers(model, ["q_proj", "v_proj"])
    pattern = RankPattern(names, (0, 3, 1, 2), layer_costs(model, names), k=4, scale=2.0)
    with quiet_peft():  # of an unknown architecture: what PEFT makes of it by itself
        made = get_peft_model(model, lora_config(pattern))  # type: ignore[arg-type]
    assert isinstance(made, PeftModel)
    with pytest.raises(InputError, match=r"layers\.0.*q_proj: no adapter asked, rank \d made"):
        refuse_other_layers(made, pattern)


@pytest.mark.parametrize(
    ("config", "kind", "reason"),
    [
        (
            config_of("Mamba", STATES, time_step_rank=8),
            "mixer.out_proj",
            "PEFT refuses it in mamba",
        ),
        (
            config_of("Mamba2", STATES, num_heads=4, head_dim=8, n_groups=1, chunk_size=4),
            "mixer.out_proj",
            "PEFT refuses it in mamba2",
        ),
        (
            config_of("Llama4Text", MIXTURE, intermediate_size_mlp=32, head_dim=8),
            "feed_forward.router",
            "Llama4Router has a forward of its own",
        ),
        (
            config_of("DeepseekV3", MIXTURE, LATENT),
            "mlp.gate_proj",
            "in deepseek_v3 PEFT takes a layer of this name for weights of the experts",
        ),
    ],
    ids=["mamba", "mamba2", "llama4", "deepseek"],
)
def test_all_linear_leaves_out_what_peft_cannot_adapt_and_says_so(
    config: Any, kind: str, reason: str
) -> None:
    model = causal(config)
    (batch,) = words()
    chosen = choose_targets(model, "all-linear", k=2, forward=lambda: model(**batch))
    assert chosen.names and not any(name.endswith(kind) for name in chosen.names)
    assert any(kind in said and reason in said for said in chosen.sentences())
    result = searched(model, k=2)
    assert result.ranks.names == chosen.names
    with pytest.raises(InputError, match=reason):
        choose_targets(model, [kind])


def test_narrow_layers_are_left_out_of_all_linear_unless_they_are_the_most() -> None:
    esm = config_of("Esm", SIZE, position_embedding_type="rotary", mask_token_id=3)
    with torch.device("meta"):  # only shapes are asked
        model = AutoModelForSequenceClassification.from_config(esm)
    chosen = choose_targets(model, "all-linear", k=4)
    assert len(chosen.names) == 12
    assert chosen.sentences() == [
        "no adapter on esm.contact_head.regression: it can hold rank 1 at most, and lora.k is 4"
    ]
    assert "esm.contact_head.regression" in choose_targets(model, "all-linear", k=20).names


def test_weights_in_no_layer_and_blocks_without_an_adapter_are_said() -> None:
    size = {"vocab_size": 40, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32}
    xlnet = AutoModelForSequenceClassification.from_config(config_of("XLNet", size))
    (said,) = choose_targets(xlnet, "all-linear").sentences()
    assert said.startswith("no adapter on rel_attn.q (2 layers), rel_attn.k (2 layers)")
    assert said.endswith("its weight is a plain parameter, in no layer that LoRA could wrap")
    (said,) = choose_targets(led(), "default").sentences()
    assert "decoder" not in said.partition(":")[0] and "encoder_attn.q_proj (2 layers)" in said
    assert said.endswith("default adapts nothing in its block (all-linear does, or name it)")


def led() -> PreTrainedModel:
    config: Any = {
        "vocab_size": 40,
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "attention_window": 4,
        "max_encoder_position_embeddings": 32,
        "max_decoder_position_embeddings": 32,
    }
    return AutoModelForSeq2SeqLM.from_config(config_of("LED", config))


class Unused(nn.Module):
    """A layer that is never called, and one whose weight alone is used."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.idle, self.weight_only = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(torch.tanh(self.first(x)), self.weight_only.weight)


def test_layers_that_are_never_called_are_left_out_or_named_as_what_to_exclude() -> None:
    model, rows = Unused(), [torch.randn(4, 6, generator=torch.Generator().manual_seed(0))]

    def go(targets: Any, **lora: Any) -> tuple[str, ...]:
        def loss(model: Any, batch: Any) -> Any:
            return model(batch).square().mean()

        options = {"outer_steps": 1}
        lora = {"k": 2, **lora}
        return search_model(
            model, rows, rows, loss=loss, targets=targets, lora=lora, options=options
        ).ranks.names

    assert go("all-linear") == ("first",)
    with pytest.raises(InputError, match=r"lora\.exclude: \[idle, weight_only\]"):
        go(["first", "idle", "weight_only"])
    assert go(["first", "idle"], exclude=["idle"]) == ("first",)
    with pytest.raises(InputError, match=r"lora\.exclude: no layer is called 'idel' \(did you"):
        go("all-linear", exclude=["idel"])


def test_what_peft_refuses_by_itself_is_one_sentence() -> None:
    model = causal(config_of("Mamba", STATES, time_step_rank=8))
    with pytest.raises(InputError, match=r"PEFT cannot put LoRA on this model.*lora.exclude"):
        wrap_for_search(model, ["backbone.layers.0.mixer.out_proj"], LoraOptions(k=2), seed=0)


def test_linear_layers_with_a_forward_of_their_own_are_adapted() -> None:
    config = transformers.FalconConfig(**SIZE)
    names = target_layers(AutoModelForCausalLM.from_config(config), "all-linear")
    kinds = {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}
    assert {name.rpartition(".")[2] for name in names} == kinds
