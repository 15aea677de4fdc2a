"""The loss of each adapter of a stack, where a model takes the mean over all rows of the batch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_LOSSES = frozenset(
    {
        functional.binary_cross_entropy,
        functional.binary_cross_entropy_with_logits,
        functional.cross_entropy,
        functional.huber_loss,
        functional.l1_loss,
        functional.mse_loss,
        functional.nll_loss,
        functional.smooth_l1_loss,
    }
)


class LossOfEach(TorchFunctionMode):
    """Inside the body a loss over the rows of R adapters becomes R losses, of each one's rows.

    So a model, or a task, computes its loss as ever: shifted labels, ignored ones, class weights.

    Args:
        count: R.

    >>> with LossOfEach(2):
    ...     functional.mse_loss(torch.tensor([1.0, 3.0, 2.0, 2.0]), torch.zeros(4))
    tensor([5., 4.])
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func not in _LOSSES or given.get("reduction", "mean") != "mean":
            return func(*args, **given)
        said, wanted = (self._by_adapter(_wide(rows)) for rows in args[:2])

        def of_one(x: Tensor, y: Tensor) -> Tensor:
            return func(x, y, *args[2:], **given)

        try:
            return torch.vmap(of_one)(said, wanted)
        except RuntimeError:  # vmap lacks some settings, such as label smoothing
            return torch.stack([of_one(x, y) for x, y in zip(said, wanted, strict=True)])

    def _by_adapter(self, rows: Tensor) -> Tensor:
        return rows.reshape(self._count, -1, *rows.shape[1:])  # (R n, ...) -> (R, n, ...)


def _wide(rows: Tensor) -> Tensor:
    """Return rows in float32 where autocast takes losses in float32; vmap hides them from it."""
    low = rows.dtype in (torch.bfloat16, torch.float16)
    return rows.float() if low and torch.is_autocast_enabled(rows.device.type) else rows
