"""Formulation: what the library knows of a bilevel problem of the catalogue."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.errors import InputError
from autolora_meta.foundation import plugins

Learns = Literal["ranks", "weights of rows"]
# Where each is read out.
COMMANDS: dict[Learns, str] = {
    "ranks": "autolora-meta run",
    "weights of rows": "autolora-meta weigh",
}


@dataclass(frozen=True)
class Formulation:
    """A bilevel problem, registered in the entry-point group `autolora_meta.problems`.

    A plain function registered there is one whose outer variables are gates, from which ranks
    follow; it takes the arguments of `problems/autolora.py`.

    Args:
        build: returns an engine with its problems, ready to run. It takes the model, the outer
            variables, batches of both problems, the loss and the options of a search; then by name
            selection, device, progress and observe.
        learns: what its outer variables are. ranks: `Gates`, of several searches where `build`
            takes `seeds`. weights of rows: `RowWeights`, and training batches have `row_number`.
        direct: whether the outer loss depends on the outer variables directly; without it a method
            that takes the direct part alone has nothing to learn from.
    """

    build: Callable[..., Any]
    learns: Learns = "ranks"
    direct: bool = True

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Return the engine."""
        return self.build(*given, **named)

    def refuse(self, options: SearchOptions, wanted: Learns) -> None:
        """Refuse options that it cannot work with, before anything is loaded.

        Args:
            options: of the search; `problem` is the name of this one.
            wanted: what is to be learned.

        Raises:
            InputError: it learns something else, or by this method nothing.
        """
        name, method = options.problem, options.hypergradient
        if self.learns != wanted:
            others = ", ".join(n for n in plugins.names(plugins.PROBLEMS) if learns(n) == wanted)
            raise InputError(
                f"search.problem '{name}' learns {self.learns}, and {wanted} are wanted here; give "
                f"search.problem={others}, or `{COMMANDS[self.learns]}`"
            )
        if not self.direct and (method.record.solver == "zero" or method.weight == 0):
            given = method.method if method.record.solver == "zero" else "weight 0"
            raise InputError(
                f"search.hypergradient is {given}, which takes the direct part alone, and that of "
                f"search.problem '{name}' is 0: it would learn nothing; take darts or another "
                "method with an implicit part"
            )


def formulation(name: str) -> Formulation:
    """Return the formulation that is registered under a name.

    Raises:
        InputError: there is none.
    """
    found = plugins.load(plugins.PROBLEMS, name)
    return found if isinstance(found, Formulation) else Formulation(found)


def learns(name: str) -> Learns:
    """Return what the formulation of a name learns."""
    return formulation(name).learns
