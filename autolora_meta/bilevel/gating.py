"""Gates: weights on the rank-1 components of PEFT's LoRA layers.

A forward hook on `lora_A[adapter]` multiplies the output, whose last axis (channel axis for
convolutions) has length k, by the gates of that layer, so that B diag(gate) A is what is learned
while PEFT carries LoRA.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from peft.tuners.lora import LoraLayer
from pydantic import Field
from torch import Tensor, nn

from autolora_meta.errors import InputError
from autolora_meta.foundation.modes import evaluating
from autolora_meta.foundation.options import Options
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.ranks.directions import Factors
from autolora_meta.ranks.place import Place, alike

Constraint = Literal["softmax", "sigmoid", "free"]


class GateOptions(Options):
    """How gates follow from their logits."""

    constraint: Constraint = Field(
        default="free",
        description="Range of the gates. free: unbounded; found planted ranks best "
        "(docs/ranks.md). softmax: the components of a layer compete (the paper). sigmoid: each "
        "lies between 0 and twice its start.",
    )
    per: Literal["auto", "component", "layer"] = Field(
        default="auto",
        description="What has a gate of its own. component: each rank-1 component. layer: a layer, "
        "whose k components share it, which has k times less noise and says only how much of the "
        "budget the layer gets; softmax then lets layers compete. auto: layer under "
        "ranks.importance layered, which reads no more of the gates; else component.",
    )
    gate_sum: Literal["k", "one"] = Field(
        default="k",
        description="Sum of the gates of a layer at the start: k (mean one, the scale of the LoRA "
        "that is retrained) or one (the paper's convention).",
    )

    def read_by(self, per_layer: bool) -> "GateOptions":
        """Return the options with `layer` or `component` in the place of `auto`.

        Args:
            per_layer: whether ranks are read from the mean gate of a layer.
        """
        if self.per != "auto":
            return self
        return self.model_copy(update={"per": "layer" if per_layer else "component"})


class Gates(nn.Module):
    """The selection variables of a model: one gate for each rank-1 component.

    gate = start * k * softmax(logits)   (softmax)
         = start * 2 * sigmoid(logits)   (sigmoid)
         = start * (1 + logits)          (free)

    with start = gate_sum / k, so that all gates are equal while the logits are zero. Gates per
    layer are the same functions of one logit a layer; softmax is then taken over the L layers, with
    L in place of k.

    Args:
        names: the gated layers, in the order of the rows. (L,)
        k: components of each layer.
        options: constraint, sum, and what has a gate of its own.

    Attributes:
        logits: free parameters, zero at the start. (L, k), or (L, 1) per layer; of `several`
            searches with an axis of R in front
        members: R; None: of one search.

    Source: AutoLoRA (arXiv 2403.09113), section 3.2, whose gates are softmax with sum one.
    """

    def __init__(self, names: Sequence[str], k: int, options: GateOptions) -> None:
        super().__init__()
        self.names = tuple(names)
        self.k = k
        self.constraint = options.constraint
        self.start = 1.0 if options.gate_sum == "k" else 1.0 / k
        self.per_layer = options.per == "layer"
        self.logits = nn.Parameter(torch.zeros(len(self.names), 1 if self.per_layer else k))
        self.members: int | None = None

    def several(self, searches: int) -> None:
        """Hold the gates of so many searches, each at their start, whose rows share a batch."""
        self.members = searches
        self.logits = nn.Parameter(self.logits.new_zeros(searches, *self.logits.shape))

    def forward(self, logits: Tensor | None = None) -> Tensor:
        """Return the gates of the given logits, of its own by default. (L, k), or (R, L, k)"""
        logits = self.logits if logits is None else logits
        return self._of(logits).expand(*logits.shape[:-1], self.k)

    @property
    def competing(self) -> int:
        """Gates among which softmax shares: the components of a layer, or all layers."""
        return len(self.names) if self.per_layer else self.k

    def _of(self, logits: Tensor) -> Tensor:
        """Return the gates in the shape of their logits."""
        if self.constraint == "softmax":
            return self.start * self.competing * logits.softmax(-2 if self.per_layer else -1)
        if self.constraint == "sigmoid":
            return self.start * 2 * logits.sigmoid()
        return self.start * (1 + logits)

    def entropies(self) -> list[float]:
        """Return for each search the entropy of the shares |gate| / sum |gate|, divided by that of
        equal shares: of the components of a layer, mean over layers; of the layers where each has
        one gate."""
        with torch.no_grad():
            gates = self._of(self.logits).abs()
        gates = gates.transpose(-1, -2) if self.per_layer else gates
        if self.competing == 1:
            return [1.0] * (self.members or 1)
        shares = gates / gates.sum(-1, keepdim=True).clamp_min(1e-30)
        entropy = torch.special.entr(shares).sum(-1).mean(-1)
        most = float(torch.log(torch.tensor(self.competing)))
        return [each / most for each in entropy.reshape(-1).tolist()]

    def weigh(self, gate: Tensor, output: Tensor, axis: int) -> Tensor:
        """Return the components of a layer, times their gates.

        Args:
            gate: of the layer. (k,), of several searches (R, k)
            output: of its lora_A; of several searches the rows of each in turn. (N, ...)
            axis: of the components in it, from the end.
        """
        gate = gate.to(output.dtype)
        if self.members is None:
            return output * gate.view(-1, *[1] * (-1 - axis))
        own = output.unflatten(0, (self.members, -1))  # (R, B, ..., k, ...)
        shape = [self.members, *[1] * (own.ndim - 1)]
        shape[axis] = self.k
        return (own * gate.view(shape)).flatten(0, 1)


def lora_layers(model: nn.Module, names: Sequence[str]) -> list[LoraLayer]:
    """The LoRA layers of a PeftModel by their names in the base model.

    Raises:
        InputError: a layer takes another path than B A x (DoRA, rsLoRA and other variants), so that
            a gate on `lora_A` would not be a weight on a component.
    """
    base: Any = model.base_model.model  # type: ignore[union-attr]
    layers, refused = [], []
    for name in names:
        layer = base.get_submodule(name)
        if not isinstance(layer, LoraLayer) or "default" not in layer.lora_A:
            refused.append(f"{name} ({type(layer).__name__}: PEFT never calls lora_A there)")
        elif getattr(layer, "lora_variant", {}).get("default") is not None:
            variant = type(layer.lora_variant["default"]).__name__
            refused.append(f"{name} ({variant} changes the formula B A x)")
        elif getattr(layer, "use_rslora", {}).get("default", False):
            refused.append(f"{name} (rsLoRA scales by the root of the rank)")
        layers.append(layer)
    if refused:
        raise InputError(
            "these layers cannot be gated: "
            + "; ".join(refused)
            + ". Use plain LoRA on Linear, Conv1D or Conv2d layers, or leave them out of "
            "lora.targets"
        )
    return layers


def lora_factors(model: nn.Module, names: Sequence[str]) -> list[Factors]:
    """Return A and B of LoRA layers by their names in the base model.

    Raises:
        InputError: as of `lora_layers`.
    """
    layers: list[Any] = lora_layers(model, names)
    return [(x.lora_A["default"].weight, x.lora_B["default"].weight) for x in layers]


@contextmanager
def gated(
    model: nn.Module, gates: Gates, forward: Callable[[], object] | None = None
) -> Iterator[None]:
    """Inside the body `gates` weigh the components of `model`; afterwards no hook is left.

    Args:
        model: a PeftModel with LoRA of rank `gates.k` on the layers `gates.names`.
        gates: the weights; gradients flow into `gates.logits`.
        forward: one forward pass of the model, to show that every hook fires. Its random numbers
            are given back. Without it nothing is shown.

    Raises:
        InputError: a layer cannot be gated, or its hook did not fire with an axis of length k.
    """
    seen: dict[int, int] = {}
    rows: list[Tensor] = []  # gates of each layer, of the last forward pass of the model
    passing = False

    def begin(*_: Any) -> None:
        nonlocal passing
        rows[:], passing = gates().unbind(-2), True

    def end(*_: Any) -> None:
        nonlocal passing
        passing = False

    def of_layer(row: int) -> Tensor:
        # Gradient checkpointing runs a layer again in the backward pass, and must see the same.
        again = torch._C._current_graph_task_id() != -1
        return rows[row] if passing or (again and rows) else gates()[..., row, :]

    def hook_for(row: int) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        def hook(module: nn.Module, _: Any, output: Tensor) -> Tensor:
            axis = -3 if isinstance(module, nn.Conv2d) else -1  # (N, k, H, W), (..., k)
            seen[row] = output.shape[axis]
            return gates.weigh(of_layer(row), output, axis)

        return hook

    handles = [
        layer.lora_A["default"].register_forward_hook(hook_for(row))
        for row, layer in enumerate(lora_layers(model, gates.names))
    ]
    handles.append(model.register_forward_pre_hook(begin))
    handles.append(model.register_forward_hook(end, always_call=True))
    try:
        if forward is not None:
            # In eval mode a random layer drop skips nothing.
            with torch.no_grad(), replay(RandomState.snapshot()), evaluating(model):
                forward()
            silent = [name for row, name in enumerate(gates.names) if seen.get(row) != gates.k]
            seen_kinds = {alike(gates.names[row]) for row, size in seen.items() if size == gates.k}
            silent = [name for name in silent if alike(name) not in seen_kinds]
            if silent:
                kinds = sorted({Place.of(name).kind for name in silent})
                raise InputError(
                    f"the gates of these layers never act in a forward pass: {', '.join(silent)}. "
                    "The model does not call their lora_A (shared or unused modules, "
                    "nn.MultiheadAttention); leave them out: lora.exclude: "
                    f"[{', '.join(kinds)}]"
                )
        yield
    finally:
        for handle in handles:
            handle.remove()
