"""The search over a person's own model, batches and loss, which come back as they were."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from transformers import AutoModel, BertConfig, BertForSequenceClassification

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.search import search
from autolora_meta.pipeline.search_model import search_model
from tests.pipeline.tiny_search import FEW
from tests.tiny import tiny_tokenizer


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 3))


def bert() -> nn.Module:
    settings = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    vocabulary = len(tiny_tokenizer())
    return BertForSequenceClassification(
        BertConfig(vocab_size=vocabulary, intermediate_size=12, num_labels=3, **settings)  # type: ignore[arg-type]
    )


def rows_of(shape: tuple[int, ...], seed: int) -> DataLoader:
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (12,), generator=draw)
    return DataLoader(TensorDataset(torch.randn(12, *shape, generator=draw), y), 4, shuffle=True)


def texts(shape: tuple[int, ...], seed: int) -> list[dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 15, (3, 4, *shape), generator=draw)
    labels = torch.randint(0, 3, (3, 4), generator=draw)
    return [{"input_ids": x, "labels": y} for x, y in zip(ids, labels, strict=True)]


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def own_loss(model: nn.Module, batch: Any) -> Tensor:
    return model(**batch).loss


OWN = {
    "MLP": (mlp, rows_of, (8,), cross_entropy, {"targets": ["0"], "head": ["3"]}),
    "ConvNet": (ConvNet, rows_of, (1, 5, 5), cross_entropy, {"targets": ["conv"]}),
    "BERT": (bert, texts, (5,), own_loss, {"targets": "all-linear"}),
}


def look(model: nn.Module) -> dict[str, Any]:
    """All that must be as it was."""
    return {
        "values": {name: value.tolist() for name, value in model.state_dict().items()},
        "parameters": [(n, id(p), p.requires_grad) for n, p in model.named_parameters()],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "modules": [(n, type(m), m.training) for n, m in model.named_modules()],
        "hooks": sum(
            len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
            for m in model.modules()
        ),
        "attributes": sorted(vars(model)),
    }


@pytest.fixture(params=OWN)
def own(request: pytest.FixtureRequest) -> Iterator[tuple[nn.Module, Callable[..., SearchResult]]]:
    build, batches, shape, loss, settings = OWN[request.param]
    torch.manual_seed(0)
    model = build()
    first, *_, last = model.parameters()
    first.requires_grad_(False)  # a person's own choices
    last.grad = torch.ones_like(last)
    next(model.children()).eval()

    def run(**changes: Any) -> SearchResult:
        given = {"loss": loss, "lora": {"k": 2}, "options": FEW, **settings, **changes}
        return search_model(model, batches(shape, 1), batches(shape, 2), **given)

    yield model, run


def test_a_model_of_ones_own_comes_back_as_it_was(
    own: tuple[nn.Module, Callable[..., SearchResult]],
) -> None:
    model, run = own
    before, random = look(model), torch.get_rng_state()
    result = run()
    assert look(model) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert all(name in dict(model.named_modules()) for name in result.ranks.names)
    assert (result.trajectory[-1] != 1).any()
    again = run()
    assert torch.equal(again.trajectory, result.trajectory) and again.ranks == result.ranks


def test_several_searches_and_sensitivity_leave_a_model_of_ones_own_as_it_was(
    own: tuple[nn.Module, Callable[..., SearchResult]],
) -> None:
    model, run = own
    before, random = look(model), torch.get_rng_state()
    result = run(options={**FEW, "seeds": 3, "sensitivity_batches": 1})
    assert look(model) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert len(result.searches) == 3
    assert result.allocate(importance="sensitivity").names == result.ranks.names


@pytest.mark.parametrize("place", [1, 4, 9])
def test_it_comes_back_also_when_the_loss_raises(
    own: tuple[nn.Module, Callable[..., SearchResult]], place: int
) -> None:
    model, run = own
    before, random = look(model), torch.get_rng_state()
    seen = []

    def failing(model: nn.Module, batch: Any) -> Tensor:
        seen.append(batch)
        if len(seen) == place:
            raise ZeroDivisionError("a bug of one's own")
        return cross_entropy(model, batch) if isinstance(batch, list) else own_loss(model, batch)

    with pytest.raises(ZeroDivisionError):
        run(loss=failing)
    assert look(model) == before
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ["5"]}, "no layer is called '5'"),
        ({"targets": ["1"]}, "1 is Tanh; allowed kinds: nn.Linear"),
        ({"targets": ["0", "3"], "lora": {"k": 4}, "head": []}, "3 can hold rank 3 at most"),
        ({"lora": {"k": 0}}, "lora has a mistake:\n  - k: should be greater than or equal to 1"),
        ({"options": {"outer_step": 3}}, "did you mean 'outer_steps'"),
        ({"options": {"problem": "other"}}, "unknown problem 'other'; allowed: autolora"),
        ({"options": {"hypergradient": "drats"}}, "did you mean 'darts'"),
        ({"ranks": {"max_rank": 9}}, "max_rank 9 is above k = 2"),
        ({"budget": 7}, "cheapest component costs 16"),
        ({"budget": "unifrm:1"}, "'unifrm:1' is not a budget"),
        ({"loss": lambda model, batch: model(batch[0])}, r"loss.*given shape \(4, 3\)"),
        ({"loss": lambda model, batch: 0.5}, "loss.*given float"),
        ({"device": "tpu"}, "'tpu' is not a device"),
        ({"train": []}, "no batch came"),
        ({"train": iter([1])}, "give a DataLoader or a list"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    model = mlp()
    before = look(model)
    settings: dict[str, Any] = {
        "train": rows_of((8,), 1),
        "validation": rows_of((8,), 2),
        "loss": cross_entropy,
        "targets": ["0"],
        "lora": {"k": 2},
        "options": FEW,
    }
    with pytest.raises(InputError, match=message):
        search_model(model, **(settings | changes))
    assert look(model) == before


def test_a_search_over_a_bare_encoder(config: RunConfig) -> None:
    encoder = AutoModel.from_pretrained(config.model.name)

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return model(input_ids=batch["input_ids"]).last_hidden_state.square().mean()

    result = search_model(
        encoder,
        texts((5,), 1),
        texts((5,), 2),
        loss=loss,
        targets="default",
        lora={"k": 2},
        options=FEW,
    )
    assert {name.rsplit(".", 1)[-1] for name in result.ranks.names} == {"query", "value"}
    with quiet_peft():
        assert get_peft_model(encoder, result.lora_config()).peft_config


def test_a_keyword_of_the_other_search_is_refused_by_the_name_that_was_called(
    config: RunConfig,
) -> None:
    with pytest.raises(TypeError, match=r"^search\(\) got an unexpected keyword argument 'budget'"):
        search(config, budget=7)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^search_model\(\) got an unexpected .* 'prepared'"):
        search_model(mlp(), [1], [2], loss=own_loss, prepared=None)  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"given Sequential.*search_model\(model, train, val"):
        search(mlp())  # type: ignore[arg-type]
