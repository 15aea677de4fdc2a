"""Small frozen networks on which ranks are planted."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def _layer(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
    return layer


class Residual(nn.Module):
    """x <- x + P_l tanh(W_l x), layer after layer; x at the end over the root of their number.

    Args:
        width: features of x.
        widths: rows of each W_l. P_l is the identity for `width` rows, else a fixed random matrix,
            which is not adapted.
    """

    def __init__(self, width: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_layer(width, rows) for rows in widths)
        for i, rows in enumerate(widths):
            back = torch.eye(width) if rows == width else _layer(rows, width).weight.detach()
            self.register_buffer(f"back{i}", back)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., width)"""
        for i, layer in enumerate(self.layers):
            x = x + torch.tanh(layer(x)) @ self.get_buffer(f"back{i}").T
        return x / math.sqrt(len(self.layers))


class Attention(nn.Module):
    """Blocks x <- x + W_o softmax(W_q x (W_k x)^T / sqrt(d)) W_v x with one head of full width.

    Only W_q^T W_k and W_o W_v count, so query and key can trade rank, and so can value and output:
    `trades` names the pairs.

    Args:
        width: features of a token.
        blocks: how many.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {name: _layer(width, width) for name in ("query", "key", "value", "output")}
            )
            for _ in range(blocks)
        )

    @property
    def trades(self) -> tuple[tuple[str, str], ...]:
        """Pairs of layers that determine only the sum of their ranks."""
        return tuple(
            (f"blocks.{i}.{a}", f"blocks.{i}.{b}")
            for i in range(len(self.blocks))
            for a, b in (("query", "key"), ("value", "output"))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., tokens, width) -> (..., tokens, width)"""
        for block in self.blocks:
            assert isinstance(block, nn.ModuleDict)
            scores = block["query"](x) @ block["key"](x).transpose(-1, -2)  # (..., T, T)
            weights = (scores / math.sqrt(x.shape[-1])).softmax(-1)
            x = x + block["output"](weights @ block["value"](x))
        return x / math.sqrt(2 * len(self.blocks))
