"""Layers with R weights, each for its own rows of a batch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from autolora_meta.errors import Apart


def _linear(_: nn.Linear, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if len(weight) == 1:  # to the byte what one layer gives
        return functional.linear(x, weight[0], None if bias is None else bias[0])
    _rows_each(x, weight)
    rows = x.reshape(len(weight), -1, x.shape[-1])  # (R B, ..., in) -> (R, n, in)
    if bias is None:
        y = torch.bmm(rows, weight.mT)  # (R, n, out)
    else:
        y = torch.baddbmm(bias[:, None], rows, weight.mT)
    return y.view(*x.shape[:-1], -1)


def _conv2d(layer: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _each(layer._conv_forward, x, weight, bias)


def _layer_norm(layer: nn.LayerNorm, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    def one(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)

    return _each(one, x, weight, bias)


# How a layer of each kind is called: layer, x (R B, ...), weight (R, ...), bias (R, ...) or None.
FORMS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.LayerNorm: _layer_norm,
}


def _each(one: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # Under autocast x may be in bfloat16, and vmap hides the call from it.
    rows = x.to(weight.dtype).unflatten(0, (len(weight), _rows_each(x, weight)))  # (R, B, ...)
    axes = (0, 0, None if bias is None else 0)
    return torch.vmap(one, in_dims=axes)(rows, weight, bias).flatten(0, 1)


def _rows_each(x: Tensor, weight: Tensor) -> int:
    """Return B of (R B, ...)."""
    if len(x) % len(weight):
        raise Apart(
            f"a layer is called with {len(x)} rows for {len(weight)} adapters: it does not see the "
            "rows of a batch in order; train the adapters one at a time"
        )
    return len(x) // len(weight)
