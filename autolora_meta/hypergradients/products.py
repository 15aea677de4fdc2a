"""The products H p and J x, exact by double backward; `finite_difference` has the other kind."""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.processes import summed
from autolora_meta.hypergradients.vectors import Loss, Vector, add_scaled, filled, zeros_like

Closure = Callable[[], Tensor]
Replay = Callable[[], Loss]  # evaluates a loss again, whole or in parts


class Products(Protocol):
    """Second derivatives of an inner loss g(w, a) as products with vectors."""

    hyper: list[Tensor]
    cost: Cost

    def hessian(self, p: Vector) -> list[Tensor]:
        """H p with H = d2g/dw2. Shapes of w in, shapes of w out."""
        ...

    def mixed(self, x: Vector) -> list[Tensor]:
        """J x with J = d2g/(da dw). Shapes of w in, shapes of a out."""
        ...


class AutogradProducts:
    """Exact products by double backward.

    The first product runs one forward and one backward that keeps its graph; each product is one
    double backward. Of a loss in parts no graph is kept: each product makes that of one part after
    another. The forward runs attention in torch's math kernel, since the fused kernels have no
    double backward; the model need not be loaded again for it.

    Args:
        loss: g at the current values of `params` and `hyper`; a scalar, or its parts.
        params: w, the tensors of the inner problem, requiring gradients.
        hyper: a, the tensors of the outer problem, requiring gradients.
    """

    def __init__(self, loss: Replay, params: Vector, hyper: Vector) -> None:
        self.params, self.hyper = list(params), list(hyper)
        self.cost = Cost()
        self._loss = loss
        self._graph: list[Tensor | None] | None = None

    def gradient(self) -> list[Tensor]:
        """Return g_w, detached; it costs nothing beyond the pass that the products share."""
        total = zeros_like(self.params)
        for graph in self._graphs():
            total = add_scaled(total, 1.0, filled(graph, self.params))
            del graph  # before the next is made
        return summed(total)

    def hessian(self, p: Vector) -> list[Tensor]:
        """H p. # H p = d/dw (g_w^T p)"""
        return self._double_backward(p, self.params)

    def mixed(self, x: Vector) -> list[Tensor]:
        """J x. # J x = d/da (g_w^T x)"""
        return self._double_backward(x, self.hyper)

    def both(self, x: Vector) -> tuple[list[Tensor], list[Tensor]]:
        """Return (H x, J x) from a single double backward."""
        together = self._double_backward(x, [*self.params, *self.hyper])
        return together[: len(self.params)], together[len(self.params) :]

    def _graphs(self) -> Iterator[list[Tensor | None]]:
        """Yield g_w with its graph, part by part."""
        if self._graph is not None:
            yield self._graph
            return
        self.cost += Cost(forwards=1, backwards=1)
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            loss = self._loss()
            if isinstance(loss, Tensor):
                self._graph = self._with_graph(loss)
        if isinstance(loss, Tensor):
            assert self._graph is not None
            yield self._graph
            return
        parts = iter(loss)
        while True:
            with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
                if (part := next(parts, None)) is None:
                    return
                graph = self._with_graph(part)
            yield graph
            del graph, part  # before the next is made

    def _with_graph(self, loss: Tensor) -> list[Tensor | None]:
        return list(torch.autograd.grad(loss, self.params, create_graph=True, allow_unused=True))

    def _double_backward(self, x: Vector, inputs: Vector) -> list[Tensor]:
        total: list[Tensor] | None = None
        for graph in self._graphs():
            found = self._through(graph, x, inputs)
            total = found if total is None else add_scaled(total, 1.0, found)
            del graph  # before the next is made
        self.cost += Cost(double_backwards=1)
        return zeros_like(inputs) if total is None else total

    def _through(self, graph: list[Tensor | None], x: Vector, inputs: Vector) -> list[Tensor]:
        # A gradient without a graph is constant: its second derivatives are zero.
        pairs = [
            (g, part.to(g.dtype))
            for g, part in zip(graph, x, strict=True)
            if g is not None and g.requires_grad
        ]
        if not pairs:
            return summed(zeros_like(inputs))
        outputs, directions = zip(*pairs, strict=True)
        gradients = torch.autograd.grad(
            outputs,
            inputs,
            grad_outputs=directions,
            retain_graph=self._graph is not None,
            allow_unused=True,
        )
        return summed(filled(gradients, inputs))
