"""Gates on PEFT's LoRA layers: what they weigh, what flows back, what is refused, what is left."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D

from autolora_meta.bilevel.gating import GateOptions, Gates, gated, lora_layers
from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import quiet_peft

K = 3
CONSTRAINTS = ("softmax", "sigmoid", "free")


class Layers(nn.Module):
    """Some layers, called one after another; those named `idle` are not called."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        for name, layer in self.named_children():
            if not name.startswith("idle"):
                x = layer(x)
        return x


def wrapped(model: nn.Module, targets: Sequence[str], **settings: Any) -> PeftModel:
    """LoRA of rank K in float64, B away from 0."""
    torch.manual_seed(0)
    config = LoraConfig(r=K, lora_alpha=2 * K, target_modules=list(targets), **settings)
    with quiet_peft():
        model = get_peft_model(model.double(), config).double()  # type: ignore[arg-type]
    assert isinstance(model, PeftModel)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter))
    return model


def uneven(names: Sequence[str], **options: Any) -> Gates:
    gates = Gates(names, K, GateOptions.model_validate(options)).double()
    with torch.no_grad():
        gates.logits.copy_(torch.linspace(-1, 2, gates.logits.numel()).view_as(gates.logits))
    return gates


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


KINDS = {
    "Linear": (lambda: nn.Linear(4, 5), (2, 6, 4)),
    "Conv1D": (lambda: Conv1D(5, 4), (2, 6, 4)),
    "Conv2d": (lambda: nn.Conv2d(4, 5, 3, stride=2, padding=1), (2, 4, 7, 6)),
    "Conv2d 1x1": (lambda: nn.Conv2d(4, 5, 1), (2, 4, 3, 3)),
}


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("kind", KINDS)
def test_gated_is_the_same_as_gates_folded_into_b(kind: str, constraint: str) -> None:
    build, shape = KINDS[kind]
    model = wrapped(Layers(layer=build()), ["layer"])
    gates = uneven(["layer"], constraint=constraint)
    x = torch.randn(shape, dtype=torch.float64)
    with gated(model, gates, forward=lambda: model(x)):
        output = model(x)
    (layer,) = lora_layers(model, ["layer"])
    b: Any = layer.lora_B["default"].weight  # (out, k) or (out, k, 1, 1)
    with torch.no_grad():
        b.mul_(gates()[0].view(1, K, *[1] * (b.ndim - 2)))
    assert (output - model(x)).abs().max() < 1e-12


@pytest.mark.parametrize("per", ["component", "layer"])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_loss_reaches_every_logit(constraint: str, per: str) -> None:
    chosen = {"constraint": constraint, "per": per}
    model = wrapped(Layers(one=nn.Linear(4, 4), two=nn.Linear(4, 2)), ["one", "two"])
    gates = Gates(["one", "two"], K, GateOptions.model_validate(chosen)).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    with gated(model, gates):
        model(x).square().sum().backward()
        assert gates.logits.grad is not None
        assert (gates.logits.grad != 0).all()

        def loss(logits: Tensor) -> Tensor:
            return gates(logits).square().sum()

    torch.autograd.gradcheck(loss, gates.logits)


@pytest.mark.parametrize("per", ["component", "layer"])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize(("gate_sum", "total"), [("k", float(K)), ("one", 1.0)])
def test_gates_start_equal_with_the_sum_asked_for(
    constraint: str, gate_sum: str, total: float, per: str
) -> None:
    chosen = {"constraint": constraint, "gate_sum": gate_sum, "per": per}
    options = GateOptions.model_validate(chosen)
    gates = Gates(["a", "b"], K, options).double()
    start = gates()
    assert start.shape == (2, K)
    assert torch.allclose(start, torch.full_like(start, total / K))
    assert gates.entropies() == pytest.approx([1.0])


def test_constraints_bound_what_they_say() -> None:
    softmax, sigmoid, free = (uneven(["a"], constraint=c)()[0].detach() for c in CONSTRAINTS)
    assert softmax.sum().item() == pytest.approx(K)
    assert sigmoid.min() > 0 and sigmoid.max() < 2
    assert free.tolist() == [0.0, 1.5, 3.0]


def test_gates_of_layers_are_one_for_their_components_and_softmax_shares_among_layers() -> None:
    softmax, sigmoid, free = (uneven(["a", "b"], per="layer", constraint=c) for c in CONSTRAINTS)
    for gates in (softmax, sigmoid, free):
        assert gates.logits.shape == (2, 1)
        found = gates().detach()
        assert found.shape == (2, K) and (found == found[:, :1]).all() and found[0, 0] < found[1, 0]
    # 2 softmax(-1, 2): mean one over the layers
    expected = 2 * torch.tensor([-1.0, 2.0], dtype=torch.float64).softmax(0)
    torch.testing.assert_close(softmax().detach()[:, 0], expected)
    softmax.several(3)
    assert softmax().shape == (3, 2, K) and softmax.entropies() == pytest.approx([1.0] * 3)


def test_entropy_of_layers_falls_to_zero_when_one_takes_all() -> None:
    gates = Gates(["a", "b"], K, GateOptions(constraint="softmax", per="layer")).double()
    with torch.no_grad():
        gates.logits[1] = 60.0
    assert gates.entropies() == pytest.approx([0.0], abs=1e-6)
    assert Gates(["a"], K, GateOptions(per="layer")).entropies() == [1.0]


def test_entropy_falls_to_zero_when_one_gate_takes_all() -> None:
    gates = Gates(["a"], K, GateOptions(constraint="softmax")).double()
    with torch.no_grad():
        gates.logits[0, 1] = 60.0
    assert gates.entropies() == pytest.approx([0.0], abs=1e-6)
    assert Gates(["a"], 1, GateOptions()).entropies() == [1.0]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"use_dora": True}, "layer .Dora.* changes the formula B A x"),
        ({"use_rslora": True}, r"layer \(rsLoRA scales by the root of the rank"),
    ],
)
def test_variants_of_lora_are_refused_by_name(settings: dict[str, Any], reason: str) -> None:
    model = wrapped(Layers(layer=nn.Linear(4, 5)), ["layer"], **settings)
    with pytest.raises(InputError, match=reason), gated(model, uneven(["layer"])):
        pass
    assert not hooks(model)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x, x, x)[0]


@pytest.mark.parametrize(
    ("model", "target", "x"),
    [
        (Attention(), "attend", torch.randn(2, 3, 4, dtype=torch.float64)),
        (Layers(embed=nn.Embedding(7, 4)), "embed", torch.tensor([[1, 2]])),
        (
            Layers(used=nn.Linear(4, 4), idle=nn.Linear(4, 4)),
            "idle",
            torch.randn(2, 4, dtype=torch.float64),
        ),
    ],
    ids=["MultiheadAttention", "Embedding", "not called"],
)
def test_layers_whose_lora_a_is_never_called_are_refused_by_name(
    model: nn.Module, target: str, x: Tensor
) -> None:
    peft = wrapped(model, [target])
    before = hooks(peft)
    with (
        pytest.raises(InputError, match=rf"{target}.*lora_A"),
        gated(peft, uneven([target]), forward=lambda: peft(x)),
    ):
        pytest.fail("the body must not run")
    assert hooks(peft) == before


def test_no_hook_is_left_after_an_exception_and_the_random_state_is_given_back() -> None:
    model = wrapped(Layers(layer=nn.Linear(4, 5), drop=nn.Dropout(0.5)), ["layer"]).train()
    x = torch.randn(2, 4, dtype=torch.float64)
    state = torch.get_rng_state()
    with (
        pytest.raises(RuntimeError, match="in the middle"),
        gated(model, uneven(["layer"]), forward=lambda: model(x)),
    ):
        assert hooks(model)
        assert torch.equal(torch.get_rng_state(), state)
        raise RuntimeError("in the middle")
    assert not hooks(model)

    def broken() -> None:
        raise KeyError("a batch without labels")

    with pytest.raises(KeyError), gated(model, uneven(["layer"]), forward=broken):
        pass
    assert not hooks(model)


@pytest.mark.parametrize("kind", KINDS)
def test_gates_of_several_searches_weigh_the_rows_of_each(kind: str) -> None:
    build, (rows, *shape) = KINDS[kind]
    model = wrapped(Layers(layer=build()), ["layer"])
    several, x = uneven(["layer"]), torch.randn(3 * rows, *shape, dtype=torch.float64)
    several.several(3)
    with torch.no_grad():
        several.logits.copy_(torch.randn(3, 1, K))
    with gated(model, several):
        together = model(x)
    for r, own in enumerate(together.chunk(3)):
        gates = uneven(["layer"])
        with torch.no_grad():
            gates.logits.copy_(several.logits[r])
        with gated(model, gates):
            assert (own - model(x.chunk(3)[r])).abs().max() < 1e-12
    assert len(several.entropies()) == 3 and several().shape == (3, 1, K)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_layer_that_runs_again_in_the_backward_pass_sees_the_same_gates(constraint: str) -> None:
    class Checkpointed(Layers):
        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(super().forward, x, use_reentrant=False)

    found = []
    for kind in (Layers, Checkpointed):
        torch.manual_seed(0)
        model = wrapped(kind(one=nn.Linear(4, 4), two=nn.Linear(4, 2)), ["one", "two"])
        gates = uneven(["one", "two"], constraint=constraint)
        x = torch.ones(3, 4, dtype=torch.float64)
        with gated(model, gates):
            model(x).square().sum().backward()
        found.append(gates.logits.grad)
    assert found[0] is not None and torch.equal(found[0], found[1])
