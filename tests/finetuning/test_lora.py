"""Which layers are adapted, what they cost, and the model wrapped for a search."""

import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    MPNetConfig,
    MPNetForSequenceClassification,
    PreTrainedModel,
)
from transformers.pytorch_utils import Conv1D

from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import (
    LoraOptions,
    adapter_parameters,
    layer_costs,
    unwrapped_afterwards,
    wrap_for_search,
)
from autolora_meta.finetuning.targets import target_layers


def tiny_gpt2() -> PreTrainedModel:
    config = GPT2Config(vocab_size=32, n_embd=8, n_layer=1, n_head=2)
    return GPT2ForSequenceClassification(config)


class Mixed(nn.Module):
    """Layer kinds of every sort, in a plain module."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.conv = nn.Conv2d(3, 5, (2, 4))
        self.grouped = nn.Conv2d(4, 4, 1, groups=2)
        self.attention = nn.MultiheadAttention(8, 2)
        self.norm = nn.LayerNorm(8)
        self.block = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8))
        self.one = nn.Linear(8, 8)
        self.two = nn.Linear(8, 8)
        self.two.weight = self.one.weight


def test_layers_by_name_in_the_order_of_the_model(model: PreTrainedModel) -> None:
    path = "bert.encoder.layer.{}.attention.self.{}"
    expected = tuple(path.format(i, name) for i in (0, 1) for name in ("query", "value"))
    assert target_layers(model, ["value", "query"]) == expected
    assert target_layers(model, "default") == expected
    assert target_layers(model, [expected[2]]) == expected[2:3]
    assert target_layers(model, "self.query") == expected[::2]


def test_all_linear_leaves_the_head_out(model: PreTrainedModel) -> None:
    names = target_layers(model, "all-linear")
    assert len(names) == 2 * 6 + 1 and names[-1] == "bert.pooler.dense"
    assert layer_costs(model, names[:6]) == (32, 32, 32, 32, 48, 48)
    assert target_layers(tiny_gpt2(), "all-linear") == (
        "transformer.h.0.attn.c_attn",
        "transformer.h.0.attn.c_proj",
        "transformer.h.0.mlp.c_fc",
        "transformer.h.0.mlp.c_proj",
    )
    plain = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert target_layers(plain, "all-linear") == ("0", "1")
    assert target_layers(plain, "all-linear", head=["1"]) == ("0",)


def test_costs_are_the_parameters_of_a_rank() -> None:
    for model, name in [
        (Mixed(), "conv"),
        (Mixed(), "block.0"),
        (tiny_gpt2(), "transformer.h.0.attn.c_attn"),
    ]:
        (cost,) = layer_costs(model, [name])
        wrapped = wrap_for_search(model, [name], LoraOptions(k=3), 0)
        assert 3 * cost == sum(p.numel() for p in adapter_parameters(wrapped).values()), name
    assert isinstance(tiny_gpt2().get_submodule(name), Conv1D)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["blok"], "no layer is called 'blok'.*did you mean 'block'"),
        (["embed"], "embed is nn.Embedding.*allowed kinds: nn.Linear"),
        (["attention"], "attention is .*nn.MultiheadAttention"),
        (["out_proj"], "attention.out_proj is .*nn.MultiheadAttention"),
        (["grouped"], "groups or dilation"),
        (["norm"], "norm is LayerNorm"),
        (["block"], "block is Sequential"),
        (["one", "two"], "one and two share one weight"),
        ("default", "no default for 'Mixed'.*all-linear"),
    ],
)
def test_layers_that_are_refused(targets: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        target_layers(Mixed(), targets)


def test_output_embeddings_that_are_tied_are_refused() -> None:
    config = GPT2Config(vocab_size=32, n_embd=8, n_layer=1, n_head=2)
    message = "lm_head shares its weight with the embedding transformer.wte"
    with pytest.raises(InputError, match=message):
        target_layers(GPT2LMHeadModel(config), ["c_attn", "lm_head"])
    config = GPT2Config(vocab_size=32, n_embd=8, n_layer=1, n_head=2, tie_word_embeddings=False)
    assert target_layers(GPT2LMHeadModel(config), ["lm_head"]) == ("lm_head",)


def test_query_and_value_are_found_where_peft_has_no_default() -> None:
    config = MPNetConfig(
        vocab_size=32,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    path = "mpnet.encoder.layer.0.attention.attn."
    names = target_layers(MPNetForSequenceClassification(config), "default")
    assert names == (f"{path}q", f"{path}v")


def test_a_head_is_no_target(model: PreTrainedModel) -> None:
    with pytest.raises(InputError, match="no layer is called 'classifier'"):
        target_layers(model, ["classifier"])
    with pytest.raises(InputError, match="no linear layer"):
        target_layers(nn.Sequential(nn.ReLU()), "all-linear")


def test_wrapped_at_rank_k_with_the_scale_asked_for(model: PreTrainedModel) -> None:
    names = target_layers(model, ["query"])
    outside = torch.get_rng_state()
    wrapped = wrap_for_search(model, names, LoraOptions(k=3, scale=0.5), 7, head=["classifier"])
    assert torch.equal(torch.get_rng_state(), outside)
    for name in names:
        layer = wrapped.get_base_model().get_submodule(name)
        assert isinstance(layer, LoraLayer)
        assert layer.r["default"] == 3 and layer.scaling["default"] == 0.5
    factors = adapter_parameters(wrapped)
    assert len(factors) == 2 * len(names)
    trained = {name for name, p in wrapped.named_parameters() if p.requires_grad}
    assert len(trained - set(factors)) == 2  # weight and bias
    assert all("classifier" in name for name in trained - set(factors))


def test_the_factors_depend_on_the_seed(model: PreTrainedModel) -> None:
    names = target_layers(model, ["query"])

    def factors(seed: int) -> torch.Tensor:
        with unwrapped_afterwards(model):
            wrapped = wrap_for_search(model, names, LoraOptions(k=2), seed)
            return torch.cat([p.detach().flatten() for p in adapter_parameters(wrapped).values()])

    assert torch.equal(factors(1), factors(1))
    assert not torch.equal(factors(1), factors(2))


def test_a_model_comes_back_as_it_was(model: PreTrainedModel) -> None:
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    next(model.parameters()).requires_grad_(False)
    flags = [p.requires_grad for p in model.parameters()]
    kinds = [type(module) for module in model.modules()]
    attributes = set(vars(model))
    with pytest.raises(KeyboardInterrupt), unwrapped_afterwards(model):
        names = target_layers(model, "all-linear")
        wrapped = wrap_for_search(model, names, LoraOptions(k=2), 0, head=["classifier"]).train()
        ids = torch.tensor([[2, 5, 6, 3]])
        optimizer = torch.optim.SGD([p for p in wrapped.parameters() if p.requires_grad], lr=1.0)
        wrapped(input_ids=ids, labels=torch.tensor([1])).loss.backward()
        optimizer.step()
        raise KeyboardInterrupt
    assert {n: v.tolist() for n, v in model.state_dict().items()} == {
        n: v.tolist() for n, v in weights.items()
    }
    assert [p.requires_grad for p in model.parameters()] == flags
    assert [type(module) for module in model.modules()] == kinds
    assert not any(module.training for module in model.modules())
    assert set(vars(model)) == attributes
    assert all(p.grad is None for p in model.parameters())
