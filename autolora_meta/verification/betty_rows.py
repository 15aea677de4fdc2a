"""Rows of betty's own darts, neumann and cg, called as betty calls them."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from betty.configs import Config
from betty.hypergradient import jvp_fn_mapping
from torch import Tensor

from autolora_meta.foundation.cost import Cost
from autolora_meta.hypergradients.vectors import add_scaled, scale
from autolora_meta.verification.case import Case
from autolora_meta.verification.measure import AccuracyRow, row_of
from autolora_meta.verification.reference import implicit_reference, mixed_reference

NAMES = ("darts", "neumann", "cg")


def betty_accuracy(case: Case, names: Sequence[str] = NAMES) -> Iterator[AccuracyRow]:
    """Compare betty's methods at the case's point with J v and J (H + damping I)^-1 v.

    betty evaluates everything after the inner step and scales J v by no learning rate. Its darts
    draws new dropout masks for each pass, under the autocast of training. Its neumann and cg take a
    single pass, which here has the masks of the reference. They have no damping, so the inner loss
    gets damping |w|^2 / 2 around the point: its Hessian is damping I, its mixed derivatives are 0.
    """
    if not case.betty:
        return
    iterations = case.betty
    passes = {
        "darts": Cost(2, 2),
        "neumann": Cost(1, 1, iterations + 1),
        "cg": Cost(1, 1, iterations + 1),
    }
    config = Config(neumann_iterations=iterations, cg_iterations=iterations)
    options = {
        "darts": {"darts_alpha": config.darts_alpha},
        "neumann": {"neumann_iterations": iterations, "neumann_alpha": config.neumann_alpha},
        "cg": {"cg_iterations": iterations, "cg_alpha": config.cg_alpha},
    }
    direct, v = case.training_pass(case.outer, "point")
    outer = SimpleNamespace(trainable_parameters=lambda: case.hyper)
    for name in names:
        inner = _problem(case, config, name)
        damping = {} if name == "darts" else {"damping": case.damping}
        found = scale(-1.0, jvp_fn_mapping[name](list(v), inner, outer, False))
        true = mixed_reference(case) if name == "darts" else implicit_reference(case, case.damping)
        whole = add_scaled(direct, -1.0, found)
        difference = "central" if name == "darts" else None
        yield row_of(
            case,
            f"betty-{name}",
            options[name] | damping,
            difference,
            found,
            true,
            whole,
            passes[name],
        )


def _problem(case: Case, config: Config, name: str) -> Any:
    """Return the attributes of an inner problem that betty's functions read."""
    centre = [w.detach().clone() for w in case.params]

    def training_step_exec(_: Any) -> Tensor:
        with case.training():
            if name == "darts":
                return (case.fresh or case.inner)(case.params)
            value = case.inner(case.params)
        moved = zip(case.params, centre, strict=True)
        return value + case.damping / 2 * sum(((w - c) ** 2).sum() for w, c in moved)

    def parameters() -> list[Tensor]:
        return case.params

    return SimpleNamespace(
        config=config,
        paths=[],
        cur_batch=None,
        _strategy="default",
        training_step_exec=training_step_exec,
        parameters=parameters,
        trainable_parameters=parameters,
        meta_trainable_parameters=parameters,
    )
