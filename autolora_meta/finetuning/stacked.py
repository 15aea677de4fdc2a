"""Stack: R adapters of one PEFT model, trained in one pass over its base.

The base is frozen, and the rows of a batch do not see each other. So each trained parameter gets a
leading axis of R, and the rows r B to (r + 1) B of a batch of R B rows meet the r-th of it. PEFT
carries LoRA, and the base is neither copied nor changed: only the forward of the layers that hold
trained parameters becomes a product over batches of matrices.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from torch import Tensor, nn

from autolora_meta.errors import Apart, InputError
from autolora_meta.finetuning.stacked_layers import FORMS
from autolora_meta.finetuning.stacked_loss import LossOfEach

State = Mapping[str, Tensor]
Loss = Callable[[Any, Any], Tensor]


def adapter_state(model: PeftModel) -> dict[str, Tensor]:
    """Return a copy of the adapter and the head, by the names under which PEFT saves them."""
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {key: value.detach().clone() for key, value in state.items()}


class Stack:
    """R adapters in a model; made by `stacked`.

    Attributes:
        model: the PeftModel; its trained parameters have a leading axis of R.
        vector: all trained numbers, a row for each adapter. The parameters are views of it. (R, P)
        names: of the parameters in the model, in the order of the columns of `vector`.
        parameters: the parameters. (R, ...)
        part: the adapters that take part in a pass: all, but inside of `only`.
    """

    part: Sequence[int]

    def __init__(self, model: PeftModel, states: Sequence[State]) -> None:
        single = {name: p for name, p in model.named_parameters() if p.requires_grad}
        sizes = [p.numel() for p in single.values()]
        zeros = [p.new_zeros(len(states), p.numel()) for p in single.values()]
        self.model = model
        self.vector = torch.cat(zeros, dim=1)  # (R, P)
        self.names = tuple(single)
        self.parameters = [
            nn.Parameter(columns.unflatten(1, p.shape))
            for columns, p in zip(self.vector.split(sizes, dim=1), single.values(), strict=True)
        ]
        self._saved = _saved(model, single.values())
        self.part = range(len(states))
        self._index: slice | Tensor | None = None
        self._corners = [self._put(r, state) for r, state in enumerate(states)]

    def __len__(self) -> int:
        return len(self.vector)

    @torch.no_grad()
    def _put(self, r: int, state: State) -> dict[str, tuple[slice, ...]]:
        """Set an adapter and return which part of each parameter it takes up.

        The rest is 0 and remains so: with a row of A and the column of B both 0, neither has a
        gradient.
        """
        corners = {}
        for key, parameter in zip(self._saved, self.parameters, strict=True):
            if key in state or "lora_" not in key:
                corners[key] = _corner(r, key, state.get(key), parameter.shape[1:])
                parameter[r][corners[key]] = state[key].to(parameter)
        return corners

    def state(self, r: int) -> dict[str, Tensor]:
        """Return a copy of an adapter, at its own ranks, by the names that PEFT loads."""
        held = dict(zip(self._saved, self.parameters, strict=True))
        corners = self._corners[r].items()
        return {key: held[key].detach()[r][corner].clone() for key, corner in corners}

    def losses(self, loss: Loss, batch: Any) -> Tensor:
        """Return the loss of each adapter that takes part. (R,)

        Args:
            loss: takes a model and a batch.
            batch: the same number of rows for each adapter, in order. (R B, ...)

        Raises:
            Apart: `loss` is not a mean over rows, by a loss of `torch.nn.functional`.
        """
        count = len(self.part)
        with LossOfEach(count):
            losses = loss(self.model, batch)
        if losses.shape != (count,):
            raise Apart(
                f"the loss of {count} adapters in one pass has the shape "
                f"{tuple(losses.shape)}: it is no mean over rows that a function of "
                "torch.nn.functional takes; train them one at a time"
            )
        return losses

    def gradient(self, losses: Tensor) -> Tensor:
        """Return the gradient of each loss with respect to its own adapter. (R,) -> (R, P)"""
        # The sum's gradient: no loss depends on another's adapter.
        parts = torch.autograd.grad(losses.sum(), self.parameters, materialize_grads=True)
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    @contextmanager
    def only(self, adapters: Sequence[int]) -> Iterator[None]:
        """Inside the body these adapters take part, in this order; all others stand aside."""
        before = self.part, self._index
        run = range(adapters[0], adapters[0] + len(adapters))
        if tuple(adapters) == tuple(range(len(self))):
            self._index = None
        elif tuple(adapters) == tuple(run):
            self._index = slice(run.start, run.stop)  # a view
        else:
            self._index = torch.tensor(adapters, device=self.vector.device)
        self.part = tuple(adapters)
        try:
            yield
        finally:
            self.part, self._index = before

    def chosen(self, parameter: Tensor) -> Tensor:
        """Return a parameter of the adapters that take part. (R, ...)"""
        return parameter if self._index is None else parameter[self._index]


@contextmanager
def stacked(model: PeftModel, states: Sequence[State]) -> Iterator[Stack]:
    """Inside the body `model` holds an adapter for each of `states`; afterwards its own again.

    >>> with stacked(model, [adapter_state(one), adapter_state(other)]) as stack:  # doctest: +SKIP
    ...     losses = stack.losses(task.loss, batch)                                # (2,)

    Args:
        model: has LoRA, named "default", of at least the rank of every state in each layer.
        states: adapters as PEFT saves them. One may lack layers: it has rank 0 there.

    Raises:
        Apart: a trained parameter is in a layer of a kind that cannot be stacked.
        InputError: a state does not fit into the model.
    """
    leaves = _leaves(model)
    stack = Stack(model, states)
    parameters = {name: model.get_parameter(name) for name in stack.names}
    forwards: dict[nn.Module, Any] = {leaf: partial(_leaf, leaf, stack) for leaf in leaves}
    forwards |= {p: partial(_unwatched, p.forward) for p in model.get_base_model().children()}
    before = {module: vars(module).get("forward") for module in forwards}
    try:
        _put(model, dict(zip(stack.names, stack.parameters, strict=True)))
        for module, forward in forwards.items():
            module.forward = forward
        yield stack
    finally:
        _put(model, parameters)
        for module, forward in before.items():
            del module.forward
            if forward is not None:
                module.forward = forward


def _leaves(model: nn.Module) -> list[nn.Module]:
    """Return the modules that hold trained parameters, or refuse them."""
    held = {
        name: [p for p in module.parameters(recurse=False) if p.requires_grad]
        for name, module in model.named_modules()
    }
    held = {name: parameters for name, parameters in held.items() if parameters}
    modules = {name: model.get_submodule(name) for name in held}
    refused = [f"{n} ({type(m).__name__})" for n, m in modules.items() if type(m) not in FORMS]
    every = [id(p) for parameters in held.values() for p in parameters]
    if refused or len(set(every)) < len(every):
        what = "; ".join(refused[:5]) or "parameters that two layers share"
        kinds = ", ".join(kind.__name__ for kind in FORMS)
        raise Apart(
            f"several adapters cannot be trained in one pass, because of {what}; LoRA factors and "
            f"heads made of {kinds} can be. Train them one at a time"
        )
    return list(modules.values())


def _leaf(leaf: Any, stack: Stack, x: Tensor) -> Tensor:
    """Call a layer with the numbers of all adapters that take part. (R B, ...) -> (R B, ...)"""
    bias = None if leaf.bias is None else stack.chosen(leaf.bias)
    return FORMS[type(leaf)](leaf, x, stack.chosen(leaf.weight), bias)


def _unwatched(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a part of the model, in which no loss is taken, without the cost of `LossOfEach`."""
    with torch._C.DisableTorchFunction():
        return forward(*args, **kwargs)


def _put(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
    for name, parameter in parameters.items():
        module, _, own = name.rpartition(".")
        setattr(model.get_submodule(module), own, parameter)


def _saved(model: PeftModel, parameters: Iterable[nn.Parameter]) -> list[str]:
    """Return the names under which PEFT saves the parameters."""
    held = get_peft_model_state_dict(
        model, state_dict=model.state_dict(keep_vars=True), save_embedding_layers=False
    )
    names = {id(parameter): key for key, parameter in held.items()}
    return [names[id(parameter)] for parameter in parameters]


def _corner(r: int, key: str, value: Tensor | None, full: torch.Size) -> tuple[slice, ...]:
    """Return where in a parameter an adapter of smaller rank stands."""
    if value is None:
        raise InputError(f"adapter {r} of the stack lacks {key}; give all parts of the head")
    if value.ndim != len(full) or any(n > m for n, m in zip(value.shape, full, strict=True)):
        raise InputError(
            f"adapter {r} of the stack has {key} of shape {tuple(value.shape)}, and the model "
            f"{tuple(full)}; give the model the largest rank of each layer"
        )
    return tuple(slice(n) for n in value.shape)
