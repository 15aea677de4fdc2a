"""A model in which rows of a batch see each other is found, and no other model is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    MixtralConfig,
    MixtralForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from autolora_meta.errors import InputError
from autolora_meta.finetuning.buffers import standing_still
from autolora_meta.finetuning.lora import LoraOptions, wrap_for_search
from autolora_meta.finetuning.stacked import adapter_state, stacked
from autolora_meta.finetuning.stacked_rows import refuse_mixed_rows
from tests.finetuning.stacked_cases import SIZES

ROWS = 2


class Small(nn.Module):
    """A layer to adapt, something in the middle, and a head."""

    def __init__(self, middle: nn.Module | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.middle = middle or nn.Identity()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(self.head(self.middle(self.layer(x)).mean(1)), labels)


class Across(Small):
    """Hands its layer words in the first place and rows in the second."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(self.head(self.layer(x.transpose(0, 1)).mean(0)), labels)


class First(Small):
    """Norms its input over the batch, before any number that is trained."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(self.head(self.layer(self.middle(x)).mean(1)), labels)


class Capacity(nn.Module):
    """Lets the first words of a batch pass, as experts of limited capacity do."""

    def forward(self, x: Tensor) -> Tensor:
        chosen = (x.flatten(0, 1)[:, 0] > 0).cumsum(0) <= 10
        return x * chosen.view(*x.shape[:2], 1)


class Norm(nn.Module):
    def __init__(self, running: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6, track_running_stats=running)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.mT).mT


def vectors(rows: int) -> dict[str, Tensor]:
    return {"x": torch.randn(rows, 6, 6), "labels": torch.randint(0, 3, (rows,))}


def texts(rows: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(1, 40, (rows, 6)), "labels": torch.randint(0, 3, (rows,))}


def pairs(rows: int) -> dict[str, Tensor]:
    ids = torch.randint(1, 40, (rows, 6))
    return {"input_ids": ids, "labels": ids.flip(1)}


def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    given = model(**batch)
    return given if isinstance(given, Tensor) else given.loss


def check(model: nn.Module, layers: list[str], head: list[str], rows: Callable) -> PeftModel:
    """Ask whether three adapters, new ones but for the head, can be trained in one pass."""
    wrapped = wrap_for_search(model, layers, LoraOptions(k=2), 0, head=head).train()
    with stacked(wrapped, [adapter_state(wrapped)] * 3) as stack:
        refuse_mixed_rows(stack, loss, rows(3 * ROWS), rows(3 * ROWS))
    return wrapped


@pytest.mark.parametrize(
    "make",
    [
        lambda: Small(Capacity()),
        lambda: Small(Norm(True)),
        lambda: First(Norm(False)),
        lambda: Across(),
    ],
)
def test_rows_that_see_each_other_are_found(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = make()
    with pytest.raises(InputError, match=r"see each other in \w+ \(.*one at a time"):
        check(model, ["layer"], ["head"], vectors)


def test_weights_that_meet_positions_are_found() -> None:
    torch.manual_seed(0)
    options = SIZES | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
    options |= {"share_att_key": True, "position_buckets": 6}
    model = DebertaV2ForSequenceClassification(DebertaV2Config(**options))
    layer = "deberta.encoder.layer.0.attention.self.key_proj"
    with pytest.raises(InputError, match="one at a time"):
        check(model, [layer], ["classifier"], texts)


def test_a_layer_that_fails_in_one_pass_is_refused() -> None:
    with pytest.raises(InputError, match=r"3 adapters in one pass fail: .*one at a time"):
        check(Small(nn.Unflatten(0, (1, 2))), ["layer"], ["head"], vectors)


def test_rows_alone_are_let_through_and_the_model_is_as_before() -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**SIZES))  # with its dropout
    numbers = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    wrapped = check(model, ["bert.encoder.layer.1.attention.self.key"], ["classifier"], texts)
    assert not torch.equal(torch.get_rng_state(), state)  # PEFT and the rows drew
    left = wrapped.unload().state_dict()
    assert all(left[name].dtype == value.dtype for name, value in numbers.items())
    assert all(torch.equal(left[name], value) for name, value in numbers.items())


def test_running_statistics_that_stand_still_do_not_mix() -> None:
    torch.manual_seed(0)
    model = Small(Norm(True))
    wrapped = wrap_for_search(model, ["layer"], LoraOptions(k=2), 0, head=["head"]).train()
    with stacked(wrapped, [adapter_state(wrapped)] * 2) as stack, standing_still(wrapped):
        refuse_mixed_rows(stack, loss, vectors(2 * ROWS), vectors(2 * ROWS))


def test_experts_and_decoders_do_not_mix() -> None:
    torch.manual_seed(0)
    experts = MixtralConfig(**SIZES, num_key_value_heads=2, num_local_experts=4, pad_token_id=0)
    layer = "model.layers.0.self_attn.q_proj"
    check(MixtralForSequenceClassification(experts), [layer], ["score"], texts)
    sizes: dict[str, Any] = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 32}
    sizes |= {"num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    config = T5Config(**sizes)
    layers = ["decoder.block.0.layer.0.SelfAttention.q", "encoder.block.0.layer.0.SelfAttention.v"]
    check(T5ForConditionalGeneration(config), layers, [], pairs)
