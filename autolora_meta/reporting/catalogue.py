"""Catalogue: what can be named in a configuration, each with a summary and its source."""

import inspect
import re
from collections.abc import Callable
from importlib.resources import files

from autolora_meta.bilevel.formulation import formulation
from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.config.overlay import shipped
from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.tasks import task_class, task_names
from autolora_meta.foundation import plugins
from autolora_meta.hypergradients.choice import parse
from autolora_meta.hypergradients.methods import METHODS
from autolora_meta.reporting.markdown import table
from autolora_meta.studies.options import shipped_studies

Entries = list[tuple[str, str, str]]


def catalogue(kind: str | None = None) -> str:
    """Return a table of one kind of things, or the names of all kinds.

    Args:
        kind: one of `KINDS`; None: all.

    Raises:
        InputError: there is no such kind.
    """
    if kind is None:
        lines = [f"{name}: {', '.join(row[0] for row in rows())}" for name, rows in KINDS.items()]
        return "\n".join([*lines, "", "More on each: autolora-meta list KIND"])
    if kind not in KINDS:
        raise InputError(unknown("kind", kind, KINDS))
    rows = KINDS[kind]()
    last = {"methods": "valid when", "tasks": "measures"}.get(kind, "source")
    header = [kind.removesuffix("s") if kind != "studies" else "study", "what it is", last]
    return table(header, rows)


def methods_table() -> str:
    """Return every hypergradient method: how it is put together, its cost, what it needs."""
    rows = []
    for name, method in METHODS.items():
        options = parse(name)
        cost = options.cost()
        rows.append(
            [
                name,
                method.solver or "-",
                method.products or "-",
                f"{cost.forwards} + {cost.backwards} + {cost.double_backwards}",
                "double backward" if method.needs_double_backward else "gradients only",
                "yes" if method.works_in_bf16 else "no",
                "yes" if method.works_on_quantised else "no",
                ", ".join(method.option_names),
                method.summary,
            ]
        )
    header = [
        "method",
        "solver",
        "products",
        "extra cost",
        "needs",
        "bf16",
        "4 bits",
        "options",
        "what it is",
    ]
    return (
        table(header, rows)
        + "\n\nextra cost: forwards + backwards + double backwards of one hypergradient at the "
        "default\noptions, beyond the inner and the outer pass. bf16, 4 bits: sound on a base "
        "stored so. Set one with\nsearch.hypergradient=NAME, its options with "
        "search.hypergradient.OPTION=VALUE."
    )


def _methods() -> Entries:
    return [
        (name, f"{method.summary} ({method.source})", method.valid_when)
        for name, method in METHODS.items()
    ]


def _arms() -> Entries:
    found = {
        name: plugins.load(plugins.ALLOCATORS, name) for name in plugins.names(plugins.ALLOCATORS)
    }
    found |= {f"{one}:1, {one}:2, ...": plugins.allocator(f"{one}:1") for one in _families()}
    return [(name, arm.summary, arm.source) for name, arm in found.items()]


def _families() -> list[str]:
    return plugins.names(plugins.FAMILIES)


def _tasks() -> Entries:
    found = {name: task_class(name) for name in task_names()}
    return [(name, _first_line(task), ", ".join(task.measures)) for name, task in found.items()]


def _problems() -> Entries:
    found = {name: formulation(name) for name in plugins.names(plugins.PROBLEMS)}
    return [
        (name, f"{_title(one.build)} Learns {one.learns}; {_step(name)}", _paper(one.build))
        for name, one in found.items()
    ]


def _step(name: str) -> str:
    """Return what an outer step costs at the default options, in words."""
    options = SearchOptions(problem=name)
    each = (options.work() - options.warmup_steps) / options.outer_steps
    return f"{each:g} plain steps an outer step"


def _configs() -> Entries:
    return [(name, _heading(f"{name}.yaml"), f"engine_configs/{name}.yaml") for name in shipped()]


def _studies() -> Entries:
    return [
        (name, _heading(f"studies/{name}.yaml"), f"engine_configs/studies/{name}.yaml")
        for name in shipped_studies()
    ]


KINDS: dict[str, Callable[[], Entries]] = {
    "methods": _methods,
    "arms": _arms,
    "tasks": _tasks,
    "problems": _problems,
    "configs": _configs,
    "studies": _studies,
}


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _title(thing: object) -> str:
    """Return the first sentence of the module of a problem, without the papers that it names."""
    line = _first_line(inspect.getmodule(thing))
    return re.sub(r" \(arXiv[^)]*\)", "", line)


def _paper(thing: object) -> str:
    """The first paper that a problem or its module names."""
    words = f"{inspect.getdoc(thing)} {inspect.getdoc(inspect.getmodule(thing))}"
    found = re.search(r"arXiv[: ]\d{4}\.\d{4,5}", words)
    return found[0] if found else "-"


def _heading(path: str) -> str:
    """The first sentence of the comment at the head of a shipped file, after what is for tools."""
    content = files("autolora_meta.engine_configs").joinpath(path).read_text("utf-8")
    comment = []
    for line in content.splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# ").strip())
    for_tools = ("autolora-meta ", "yaml-language-server:")
    words = " ".join(line for line in comment if line and not line.startswith(for_tools))
    return re.split(r"(?<=\.)\s", words)[0]
