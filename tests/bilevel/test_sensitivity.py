"""Sensitivity: directions removed one at a time, against the dense update without them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autolora_meta.bilevel.gating import GateOptions, Gates, gated, lora_layers
from autolora_meta.bilevel.sensitivity import sensitivity
from autolora_meta.finetuning.lora import LoraOptions, wrap_for_search
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.progress import Silent
from autolora_meta.ranks.components import Components

K = 3
X, Y = torch.randn(2, 10, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.second = nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.drop(self.first(x).tanh()))


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().mean()


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def wrapped(model: nn.Module, names: list[str], options: GateOptions) -> tuple[nn.Module, Gates]:
    """A model in train mode whose B is away from zero, with uneven gates."""
    torch.manual_seed(0)
    peft = wrap_for_search(model, names, LoraOptions(k=K), seed=0, head=())
    gates = Gates(names, K, options).double()
    with torch.no_grad():
        gates.logits.copy_(torch.linspace(-1, 1, gates.logits.numel()).view_as(gates.logits))
        for name, parameter in peft.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn_like(parameter))
    return peft.double().train(), gates


@pytest.mark.parametrize("constraint", ["softmax", "sigmoid", "free"])
@pytest.mark.parametrize("gate_sum", ["k", "one"])
def test_removal_is_that_of_the_dense_update(constraint: str, gate_sum: str) -> None:
    options = GateOptions.model_validate({"constraint": constraint, "gate_sum": gate_sum})
    torch.manual_seed(0)
    model = Net()
    peft, gates = wrapped(model, ["first", "second"], options)
    batches = [(X[:4], Y[:4]), (X[4:8], Y[4:8])]
    layers: list[Any] = lora_layers(peft, gates.names)
    with gated(peft, gates):
        state = {name: value.clone() for name, value in peft.state_dict().items()}
        logits = gates.logits.detach().clone()
        found, cost = sensitivity(peft, gates, loss, batches, Silent())
        assert torch.equal(gates.logits, logits) and peft.training
        assert all(torch.equal(value, state[name]) for name, value in peft.state_dict().items())
        with torch.no_grad():
            peft.eval()
            whole = sum(float(loss(peft, batch)) for batch in batches) / 2
            for row, layer in enumerate(layers):
                a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
                update = LoraOptions(k=K).scale * b @ gates()[row].diag() @ a
                p, s, q_t = torch.linalg.svd(update, full_matrices=False)
                base = layer.get_base_layer()
                for j in range(K):
                    base.weight -= s[j] * torch.outer(p[:, j], q_t[j])
                    rise = sum(float(loss(peft, batch)) for batch in batches) / 2 - whole
                    base.weight += s[j] * torch.outer(p[:, j], q_t[j])
                    assert float(found[row, j]) == pytest.approx(rise, rel=1e-5, abs=1e-6)
    assert cost == Cost(forwards=2 * (2 * K + 1))


def test_directions_stand_in_the_order_of_the_singular_values() -> None:
    peft, gates = wrapped(ConvNet(), ["conv"], GateOptions(constraint="softmax"))
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)

    def size(model: nn.Module, batch: Tensor) -> Tensor:
        return model(batch).square().sum()

    with gated(peft, gates), torch.no_grad():
        layers: list[Any] = lora_layers(peft, gates.names)
        layer = layers[0]
        layer.get_base_layer().weight.zero_()
        layer.get_base_layer().bias.zero_()
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        a.zero_()
        for j in range(K):  # disjoint inputs: each direction adds its own square
            a[j].view(-1)[j] = 1.0
        b.copy_(torch.eye(4, K, dtype=torch.float64).view_as(b))
        found, _ = sensitivity(peft, gates, size, [x], Silent())
        scale = LoraOptions(k=K).scale
        singular = Components.from_factors(gates.names, [1], scale, gates(), [(a, b)]).singular
        assert (found < 0).all()  # each adds to this loss, so removing it lowers it
        taps = [x[:, j // 9, (j % 9) // 3 :, j % 3 :][:, :2, :2] for j in range(K)]
        order = gates()[0].argsort(descending=True).tolist()
        expected = [
            -float(singular[0, i] ** 2 * taps[j].square().sum()) for i, j in enumerate(order)
        ]
        assert found[0].tolist() == pytest.approx(expected, rel=1e-5)
