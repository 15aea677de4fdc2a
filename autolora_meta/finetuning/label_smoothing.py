"""Label smoothing of any task whose loss is torch's cross-entropy."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class LabelSmoothing(TorchFunctionMode):
    """Inside the body targets of `cross_entropy` are mixed with the uniform distribution.

    Losses that are taken without gradients, such as those of test rows, stay as they are.

    Args:
        amount: share of the uniform distribution, from 0 to 1.

    Source: Rethinking the Inception architecture, arXiv 1512.00567, section 7.

    >>> with LabelSmoothing(1.0):
    ...     functional.cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([0]))
    tensor(0.6931)
    """

    def __init__(self, amount: float) -> None:
        super().__init__()
        self._amount = amount

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is functional.cross_entropy and torch.is_grad_enabled():
            given["label_smoothing"] = self._amount
        return func(*args, **given)
