"""Before a search, gradients are shown to reach every gate and factor."""

import logging
import warnings
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import BertConfig, BertForSequenceClassification

from autolora_meta import search_model
from autolora_meta.errors import InputError

IDS = torch.randint(4, 30, (4, 6), generator=torch.Generator().manual_seed(0))
WORDS = [{"input_ids": IDS, "labels": IDS[:, 0] % 2}]
VECTORS = [torch.randn(8, 6, generator=torch.Generator().manual_seed(0))]


def bert() -> Any:
    torch.manual_seed(0)
    size: Any = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2}
    return BertForSequenceClassification(
        BertConfig(vocab_size=30, num_hidden_layers=3, initializer_range=0.3, **size)
    )


def of_words(model: Any, batch: Any) -> Tensor:
    return model(**batch).loss


def of_vectors(model: Any, batch: Any) -> Tensor:
    return model(batch).square().mean()


def go(model: nn.Module, batches: list[Any], loss: Any, **settings: Any) -> Any:
    options = {"outer_steps": 2, "warmup_steps": 1}
    return search_model(
        model, batches, batches, loss=loss, lora={"k": 2}, options=options, **settings
    )


def switch_on(model: Any, *, use_reentrant: bool) -> None:
    """Gradient checkpointing, by the name that this release of transformers has for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})


def test_checkpointing_that_is_not_reentrant_gives_the_same_search() -> None:
    plain = go(bert(), WORDS, of_words)
    model = bert()
    switch_on(model, use_reentrant=False)
    saved = go(model, WORDS, of_words)
    assert torch.allclose(plain.trajectory, saved.trajectory, atol=1e-5)
    assert plain.ranks == saved.ranks


def test_reentrant_checkpointing_is_refused_with_what_to_call() -> None:
    model = bert()
    switch_on(model, use_reentrant=True)
    warned = pytest.warns(UserWarning, match="None of the inputs")
    with warned, pytest.raises(InputError, match=r"is reentrant.*'use_reentrant': False"):
        go(model, WORDS, of_words)


class Blocks(nn.Module):
    """Two blocks; what happens between them is up to `between`."""

    def __init__(self, between: Any = None) -> None:
        super().__init__()
        self.first, self.second, self.between = nn.Linear(6, 6), nn.Linear(6, 4), between

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        return self.second(self.between(x) if self.between else x)


class Checkpointed(Blocks):
    """Checkpoints its first block by itself, the reentrant way."""

    def forward(self, x: Tensor) -> Tensor:
        return self.second(checkpoint(self.first, x, use_reentrant=True))


def test_a_model_that_checkpoints_by_itself() -> None:
    with pytest.warns(UserWarning, match="None of the inputs"), pytest.raises(InputError) as told:
        go(Checkpointed(), VECTORS, of_vectors)
    assert "no gradient reaches 1 of 2 layers, for example first" in str(told.value)
    assert "lora.exclude: [first]" in str(told.value)


def test_layers_that_the_loss_does_not_depend_on_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"no gradient reaches 1 of 2 layers, for example first"):
        go(Blocks(Tensor.detach), VECTORS, of_vectors)


def test_a_gradient_of_exactly_0_is_told(caplog: pytest.LogCaptureFixture) -> None:
    go(Blocks(), VECTORS, of_vectors)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        go(Blocks(lambda x: 0 * x), VECTORS, of_vectors)
    assert "gradient of 2 of 2 layers is exactly 0" in caplog.text


@pytest.mark.parametrize("seed", range(3))
def test_a_random_layer_drop_is_told_apart_from_layers_that_are_unused(seed: int) -> None:
    size: Any = {
        f"{side}_{what}": n
        for side in ("encoder", "decoder")
        for what, n in (("layers", 4), ("attention_heads", 2), ("ffn_dim", 32))
    }
    more: Any = {
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "decoder_start_token_id": 3,
    }

    def model(drop: float) -> Any:
        settings: Any = {"vocab_size": 40, "d_model": 16, "max_position_embeddings": 40}
        config = transformers.M2M100Config(**settings, **size, **more)  # type: ignore[arg-type]
        config.encoder_layerdrop = config.decoder_layerdrop = drop
        torch.manual_seed(0)
        return transformers.M2M100ForConditionalGeneration(config)

    def loss(model: Any, batch: Any) -> Tensor:
        return model(input_ids=batch["input_ids"], labels=batch["input_ids"]).loss

    assert len(go(model(0.2), WORDS, loss, seed=seed).ranks) == 4 * (6 + 10)
    with pytest.raises(InputError, match=r"drops layers at random \(.*layerdrop 1\.0.*Set it to 0"):
        go(model(1.0), WORDS, loss, seed=seed)


class Experts(nn.Module):
    """Rows go to one of two experts by their sign."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(6, 4) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        up = x[:, 0] > 0
        parts = [
            expert(x[rows])
            for expert, rows in zip(self.experts, (up, ~up), strict=True)
            if rows.any()
        ]
        return torch.cat(parts)


def test_experts_that_no_token_reached_are_looked_for_in_other_batches(
    caplog: pytest.LogCaptureFixture,
) -> None:
    x = VECTORS[0]
    up, down = x[x[:, 0] > 0], x[x[:, 0] <= 0]
    with caplog.at_level(logging.WARNING):
        assert go(Experts(), [up, down], of_vectors).ranks.names == ("experts.0", "experts.1")
        assert not caplog.records
        assert go(Experts(), [up], of_vectors).ranks.names == ("experts.0", "experts.1")
    assert "no token of 8 batches reached 1 layers of experts, for example experts.1" in caplog.text


class Unused(nn.Module):
    """Blocks, and a branch of the same names that the loss does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList([Blocks(), Blocks()]), Blocks()
        for block in self.layers:
            block.second = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.layers:
            x = block(x)
        self.head(x)
        return x


def test_what_is_to_be_left_out_is_named_so_that_nothing_else_is() -> None:
    with pytest.raises(InputError, match=r"lora.exclude: \[head.first, head.second\]$"):
        go(Unused(), VECTORS, of_vectors)
