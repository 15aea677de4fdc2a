"""Several adapters in one pass over the base are those that stock PEFT trains one at a time."""

import copy
from collections.abc import Sequence

import pytest
import torch
from peft import PeftModel, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from autolora_meta.errors import InputError
from autolora_meta.finetuning.stacked import adapter_state, stacked
from tests.finetuning.stacked_cases import (
    CASES,
    RANKS,
    ROWS,
    Convolutional,
    cut,
    encoder,
    model_loss,
    pictures,
    texts,
    trained,
    wrapped,
)


def states_of(models: Sequence[PeftModel]) -> list[dict[str, Tensor]]:
    return [adapter_state(model) for model in models]


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_those_of_separate_models(case: str) -> None:
    torch.manual_seed(0)
    make, targets, head, rows = CASES[case]
    base = make()
    alone = [wrapped(base, rank, targets, head) for rank in RANKS]
    batch = rows(ROWS * len(RANKS))
    losses = [model_loss(model, cut(batch, r)) for r, model in enumerate(alone)]
    for loss in losses:
        loss.backward()
    model = wrapped(base, max(RANKS), targets, head)
    before = trained(model)
    with stacked(model, [adapter_state(one) for one in alone]) as stack:
        given = stack.losses(model_loss, batch)
        stack.vector.copy_(stack.gradient(given))  # taken apart as the adapters are
        gradients = [stack.state(r) for r in range(len(RANKS))]
    near = 1e-12 if given.dtype == torch.float64 else 1e-6  # language models take it in float32
    assert torch.allclose(given, torch.stack(losses), rtol=0, atol=near)
    for one, gradient in zip(alone, gradients, strict=True):
        with torch.no_grad():
            for parameter in trained(one):
                assert parameter.grad is not None
                parameter.copy_(parameter.grad)
        expected = adapter_state(one)
        assert gradient.keys() == expected.keys()
        assert all(torch.allclose(g, expected[k], 0, near) for k, g in gradient.items())
    assert all(a is b for a, b in zip(trained(model), before, strict=True))
    assert model_loss(model, batch).shape == ()


def test_stock_peft_loads_each_adapter_at_its_own_ranks() -> None:
    torch.manual_seed(0)
    base = CASES["encoder"][0]()
    alone = [wrapped(base, rank, *CASES["encoder"][1:3]) for rank in RANKS]
    batch = texts(ROWS * len(RANKS))
    logits = []
    with stacked(wrapped(base, 4, *CASES["encoder"][1:3]), states_of(alone)) as stack:
        for _ in range(3):  # zeros above the rank of an adapter remain zeros
            stack.vector.sub_(0.3 * stack.gradient(stack.losses(model_loss, batch)))
        states = [stack.state(r) for r in range(len(RANKS))]
        for r in range(len(stack)):
            with stack.only([r]), torch.no_grad():
                logits.append(stack.model(**cut(batch, r)).logits)
    for r, (one, state) in enumerate(zip(alone, states, strict=True)):
        started = adapter_state(one)
        assert not set_peft_model_state_dict(one, state).unexpected_keys
        assert all(not torch.equal(value, started[k]) for k, value in adapter_state(one).items())
        assert torch.allclose(one(**cut(batch, r)).logits, logits[r], rtol=0, atol=1e-12)


def test_an_adapter_may_lack_layers() -> None:
    torch.manual_seed(0)
    base = CASES["encoder"][0]()
    few = wrapped(base, 2, ["query"], ["classifier", "pooler"])
    many = wrapped(base, 2, ["query", "value"], ["classifier", "pooler"])
    batch = texts(2 * ROWS)
    with stacked(copy.deepcopy(many), states_of([few, many])) as stack:
        losses = stack.losses(model_loss, batch)
        assert torch.allclose(losses[0], model_loss(few, cut(batch, 0)), rtol=0, atol=1e-12)
        stack.vector.sub_(0.3 * stack.gradient(losses))
        assert stack.state(0).keys() == adapter_state(few).keys()


def test_some_adapters_take_part_and_the_others_stand_aside() -> None:
    torch.manual_seed(0)
    alone = [encoder() for _ in range(4)]
    batch = texts(4 * ROWS)
    with stacked(encoder(), states_of(alone)) as stack:
        losses = stack.losses(model_loss, batch)
        gradient = stack.gradient(losses)
        for chosen in ([2], [1, 2], [3, 0], [2, 3, 1, 0]):
            parts = [cut(batch, r) for r in chosen]
            rows = {name: torch.cat([part[name] for part in parts]) for name in batch}
            with stack.only(chosen):
                some = stack.losses(model_loss, rows)
                assert torch.allclose(some, losses[chosen], rtol=0, atol=1e-12)
                given = stack.gradient(some)
            assert torch.allclose(given[chosen], gradient[chosen], rtol=0, atol=1e-12)
            assert not given[[r for r in range(4) if r not in chosen]].any()


def test_one_adapter_gives_the_bytes_of_stock_peft() -> None:
    torch.manual_seed(0)
    one, batch = encoder().float(), texts(ROWS)
    model_loss(one, batch).backward()
    with stacked(encoder().float(), [adapter_state(one)]) as stack:
        stack.model.load_state_dict(
            {n: p for n, p in one.state_dict().items() if n not in stack.names}, strict=False
        )
        gradient = stack.gradient(stack.losses(model_loss, batch))
    expected = [p.grad.flatten() for p in trained(one) if p.grad is not None]
    assert torch.equal(gradient[0], torch.cat(expected))


@pytest.mark.parametrize("case", ["encoder", "Conv2d"])
def test_under_autocast_losses_are_taken_in_float32(case: str) -> None:
    torch.manual_seed(0)
    make, targets, head, rows = CASES[case]
    model = wrapped(make(), 2, targets, head).float()
    batch = rows(2 * ROWS)
    batch = {n: t.float() if t.is_floating_point() else t for n, t in batch.items()}
    state = adapter_state(model)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        alone = torch.stack([model_loss(model, cut(batch, r)) for r in (0, 1)])
        with stacked(model, [state, state]) as stack:
            losses = stack.losses(model_loss, batch)
    assert losses.dtype == alone.dtype == torch.float32
    assert torch.allclose(losses, alone, rtol=0.02)


def test_each_adapter_draws_dropout_masks_of_its_own() -> None:
    torch.manual_seed(0)
    model = encoder()
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.lora_dropout["default"] = nn.Dropout(0.5)
    batch = {name: rows.repeat(2, *[1] * (rows.ndim - 1)) for name, rows in texts(ROWS).items()}
    with stacked(model, states_of([model, model])) as stack:
        one, other = stack.losses(model_loss, batch)
        assert one != other
        model.eval()
        one, other = stack.losses(model_loss, batch)
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_what_cannot_be_stacked_is_refused() -> None:
    torch.manual_seed(0)
    mean_by_hand = wrapped(Convolutional(), 2, ["body.0"], ["head"])
    state = adapter_state(mean_by_hand)
    batch = pictures(2 * ROWS)
    with stacked(mean_by_hand, [state, state]) as stack:
        with pytest.raises(InputError, match=r"no mean over rows .* one at a time"):
            stack.losses(lambda model, rows: model_loss(model, rows).exp().sum(), batch)
        with pytest.raises(InputError, match="7 rows for 2 adapters"):
            stack.losses(model_loss, {name: rows[:7] for name, rows in batch.items()})
    base = Convolutional()
    base.head[1] = nn.BatchNorm1d(6 * 16)
    with (
        pytest.raises(InputError, match=r"head.*BatchNorm1d"),
        stacked(wrapped(base, 2, ["body.0"], ["head"]), [state, state]),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"lora_A.* and the model .* largest rank"),
        stacked(mean_by_hand, [adapter_state(wrapped(Convolutional(), 3, ["body.0"], ["head"]))]),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"lacks .*head"),
        stacked(mean_by_hand, [{k: v for k, v in state.items() if "lora" in k}]),
    ):
        pass
    assert model_loss(mean_by_hand, batch).shape == ()
