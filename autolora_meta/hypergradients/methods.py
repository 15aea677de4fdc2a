"""The table of hypergradient methods, read by code, command line, config checks and docs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from autolora_meta.errors import InputError, unknown
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.options import Options
from autolora_meta.hypergradients import nystrom as nystrom_solver
from autolora_meta.hypergradients import solvers
from autolora_meta.hypergradients.finite_difference import FiniteDifferenceOptions
from autolora_meta.hypergradients.unrolled import UnrolledOptions

SolverName = Literal["zero", "identity", "adam", "neumann", "conjugate_gradient", "nystrom"]
ProductsName = Literal["autograd", "finite_difference"]
Point = Literal["before", "after"]


@dataclass(frozen=True)
class Solver:
    """A solver of H x = v, and what is known of it.

    Args:
        solve: the function, as `solvers` describes it.
        options: the class of its options.
        evaluated_at: "before": it stands for one inner step, so J is taken at w, before that step.
            "after": it stands for the inner optimum, so H and J are taken at w', after that step.
        hessians: the most products H p for given options.
        iterates: whether it builds x from products of products, which amplifies rounding.
    """

    solve: Callable[..., tuple[list[Any], solvers.SolverRecord]]
    options: type[Options]
    evaluated_at: Point
    hessians: Callable[[Any], int] = lambda options: 0
    iterates: bool = False


def _neumann_hessians(options: solvers.NeumannOptions) -> int:
    return options.iterations + (options.power_iterations if options.step == "auto" else 0)


SOLVERS: dict[str, Solver] = {
    "zero": Solver(solvers.zero, solvers.ZeroOptions, "after"),
    "identity": Solver(solvers.identity, solvers.IdentityOptions, "before"),
    "adam": Solver(solvers.adam, solvers.AdamOptions, "before"),
    "neumann": Solver(
        solvers.neumann, solvers.NeumannOptions, "after", _neumann_hessians, iterates=True
    ),
    "conjugate_gradient": Solver(
        solvers.conjugate_gradient,
        solvers.ConjugateGradientOptions,
        "after",
        lambda options: options.iterations,
        iterates=True,
    ),
    "nystrom": Solver(
        nystrom_solver.nystrom,
        nystrom_solver.NystromOptions,
        "after",
        lambda options: options.columns,
        iterates=True,
    ),
}


@dataclass(frozen=True)
class Method:
    """A solver and a way to form products, under a name.

    Args:
        name: as a configuration gives it.
        solver: a key of SOLVERS; None for `unrolled`, which solves nothing.
        products: how H p and J x are formed; None where none is needed.
        summary: one line for a list.
        valid_when: the condition under which it is right.
        source: the paper.

    Example:
        >>> method("cg").cost(solvers.ConjugateGradientOptions(iterations=4))
        Cost(forwards=1, backwards=1, double_backwards=5)
    """

    name: str
    solver: SolverName | None
    products: ProductsName | None
    summary: str
    valid_when: str
    source: str

    @property
    def solver_options(self) -> type[Options]:
        """The class of the solver's own options."""
        return SOLVERS[self.solver].options if self.solver else UnrolledOptions

    @property
    def option_names(self) -> list[str]:
        """Every option that a config may give beside the method, in order."""
        difference = list(FiniteDifferenceOptions.model_fields) if self.differences else []
        return [*self.solver_options.model_fields, *difference, "weight"]

    @property
    def differences(self) -> bool:
        """Whether products are finite differences of gradients."""
        return self.products == "finite_difference"

    @property
    def evaluated_at(self) -> Point:
        """Whether the inner loss is differentiated before or after the inner step."""
        return SOLVERS[self.solver].evaluated_at if self.solver else "before"

    @property
    def needs_double_backward(self) -> bool:
        """Whether every operation of the model must have a second derivative."""
        return self.products == "autograd"

    @property
    def works_in_bf16(self) -> bool:
        """Whether it is sound on a base that computes in bf16; iteration amplifies rounding."""
        return self.solver is not None and not SOLVERS[self.solver].iterates

    @property
    def works_on_quantised(self) -> bool:
        """Whether it works on a base in 4 or 8 bits, whose kernels have no double backward."""
        return not self.needs_double_backward

    def cost(
        self,
        options: Options,
        difference: FiniteDifferenceOptions | None = None,
        *,
        centre_known: bool = False,
        in_parts: bool = False,
    ) -> Cost:
        """Return the most that the implicit term costs, beyond the inner and the outer pass.

        Args:
            options: the solver's options.
            difference: how differences are taken, for methods that take them.
            centre_known: the forward scheme is given the gradient of the inner pass.
            in_parts: the loss is taken in parts, so that each exact product makes its own graph.
        """
        if isinstance(options, UnrolledOptions):
            passes = 2 * options.steps if in_parts else options.steps  # g_w, and its products
            return Cost(passes, passes, options.steps)
        if self.solver is None or self.products is None:
            return Cost()
        products = SOLVERS[self.solver].hessians(options) + 1
        if not self.differences:
            passes = products if in_parts else 1
            return Cost(passes, passes, products)
        central = difference is None or difference.scheme == "central"
        passes = 2 * products if central else products + (not centre_known)
        return Cost(passes, passes)


METHODS: dict[str, Method] = {
    record.name: record
    for record in [
        Method(
            "first_order",
            "zero",
            None,
            "the direct part alone: how the validation loss depends on the gates themselves",
            "the outer loss depends on the outer variables directly (gates do)",
            "AutoLoRA with eta = 0, arXiv 2403.09113",
        ),
        Method(
            "darts",
            "identity",
            "finite_difference",
            "one look-ahead step, by a finite difference of gradients",
            "the inner loss is smooth; both sides see the same batch and dropout masks",
            "DARTS, arXiv 1806.09055",
        ),
        Method(
            "one_step",
            "identity",
            "autograd",
            "one look-ahead step, exact by double backward",
            "every operation of the model has a double backward",
            "DARTS without its approximation, arXiv 1806.09055",
        ),
        Method(
            "neumann",
            "neumann",
            "autograd",
            "a truncated Neumann series for the inverse Hessian",
            "step < 2 / lambda_max and H + damping I positive; the inner problem near its optimum",
            "Lorraine et al., arXiv 1911.02590",
        ),
        Method(
            "cg",
            "conjugate_gradient",
            "autograd",
            "conjugate gradients on H x = v",
            "H + damping I positive; the inner problem near its optimum",
            "Pedregosa, arXiv 1602.02355; Rajeswaran et al., arXiv 1909.04630",
        ),
        Method(
            "nystrom",
            "nystrom",
            "autograd",
            "a low-rank H from a few of its columns, inverted by Woodbury",
            "H near low rank plus rho I; the inner problem near its optimum",
            "Hataya and Yamada, arXiv 2302.09726",
        ),
        Method(
            "sama",
            "adam",
            "finite_difference",
            "one look-ahead step of Adam, by a finite difference of gradients",
            "the inner optimizer is Adam or AdamW; smooth, same batch and dropout masks",
            "SAMA, arXiv 2310.05674",
        ),
        Method(
            "unrolled",
            None,
            "autograd",
            "reverse mode through the last inner steps of the actual optimizer",
            "the inner optimizer is SGD, Adam or AdamW; every operation has a double backward",
            "Franceschi et al., arXiv 1703.01785",
        ),
    ]
}


def method(name: str) -> Method:
    """Return the preset called `name`.

    Raises:
        InputError: there is none; the message gives the nearest name.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise InputError(unknown("hypergradient method", name, METHODS))
    return METHODS[name]


def compose(solver: SolverName, products: ProductsName) -> Method:
    """Return the method made of a solver and a way to form products; the preset if there is one."""
    if not isinstance(solver, str) or solver not in SOLVERS:
        raise InputError(unknown("solver", solver, SOLVERS))
    if products not in ("autograd", "finite_difference"):
        raise InputError(unknown("products", products, ["autograd", "finite_difference"]))
    needed = None if solver == "zero" else products
    for record in METHODS.values():
        if (record.solver, record.products) == (solver, needed):
            return record
    like = next(record for record in METHODS.values() if record.solver == solver)
    way = "finite differences" if products == "finite_difference" else "double backward"
    return Method(
        f"{solver}+{products}",
        solver,
        products,
        f"{solver} with products by {way}",
        like.valid_when,
        like.source,
    )
