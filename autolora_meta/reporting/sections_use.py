"""Sections of the page that say what the runs were given, and how to use and repeat them."""

import ast
import re
from pathlib import Path
from shlex import quote

from autolora_meta.config.run import CHANGED
from autolora_meta.foundation import manifest
from autolora_meta.foundation.environment import recorded
from autolora_meta.reporting.document import Code, Section, Table
from autolora_meta.reporting.quoting import python
from autolora_meta.studies.check_study import rows_read
from autolora_meta.studies.ledger import STUDY
from autolora_meta.studies.table import StudyTable

_OPEN = 20  # classes in a table that need not be opened
CONFIG = "config.yaml"
_PLAIN = (
    *(ast.Module, ast.alias, ast.Assign, ast.Name, ast.expr_context),
    *(ast.Expr, ast.Constant, ast.List),
)
_CALLED = re.compile(r"\w+\.from_pretrained|len")

_RUN_IN_PYTHON = """\
from autolora_meta import RunConfig, run

if __name__ == "__main__":
    run(RunConfig.load(FILE), "again", say=print)
"""
_STUDY_IN_PYTHON = """\
from autolora_meta import Study

if __name__ == "__main__":
    table = Study.load(FILE, folder="again").run()
"""


def rows(folder: Path) -> list[Section]:
    """Return the rows that the first run read, and their classes; none where not recorded."""
    if (found := rows_read(folder)) is None:
        return []
    tables = []
    if classes := found.classes:
        splits = next(iter(classes.values()))
        cells = [[name, *of.values()] for name, of in classes.items()]
        caption = "How often each class, or tag, stands in each split"
        tables = [Table(caption, ["class", *splits], cells)]
    opened = len(classes) <= _OPEN
    return [
        Section(
            f"The rows, seed {found.seed}",
            points=found.said,
            tables=tables if opened else [],
            folded=[] if opened else tables,
        )
    ]


def adapter(table: StudyTable, folder: Path) -> list[Section]:
    """Return how to load the adapter of a run, or how to get one of a study."""
    card = folder / "adapter" / "README.md"
    if card.parent.is_dir():
        words = "The adapter of the first replicate is in adapter/, a stock PEFT adapter."
        text = card.read_text("utf-8") if card.is_file() and manifest.whole(card) else ""
        found = re.search(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        if found is None or not _only_loads(found[1]):
            words += " Its README.md is not what this tool wrote, so its code is not shown here."
            return [Section("Load the adapter", words=[words])]
        code = Code("In this folder:", found[1].replace("path/to/this/folder", "adapter"))
        return [Section("Load the adapter", words=[words], code=[code])]
    row, place = table.finished[0], _way(folder)
    run = place / "runs" / row["id"]
    ranks = run / str(row["seed"]) / row["arm"] / "ranks.json"
    retrained = (
        f"autolora-meta retrain {quote(run.as_posix())} --ranks {quote(ranks.as_posix())} "
        "--output adapter"
    )
    loaded = (
        "from peft import PeftModel\n\n"
        'model = PeftModel.from_pretrained(base, "adapter")  # base: see adapter/README.md\n'
    )
    words = "A study keeps the ranks of each run, and no adapters. " + _paths_count(place / STUDY)
    return [
        Section(
            "Get an adapter",
            words=[words],
            code=[Code("One with the ranks of a run:", retrained), Code("Load it:", loaded)],
        )
    ]


def _only_loads(code: str) -> bool:
    """Return whether Python from a file does no more than a model card's: import, and load."""
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    allowed = {
        ast.ImportFrom: lambda node: node.module in ("peft", "transformers"),
        ast.Attribute: lambda node: node.attr == "from_pretrained",
        ast.Call: lambda node: _CALLED.fullmatch(ast.unparse(node.func)),
        ast.keyword: lambda node: node.arg == "num_labels",
    }
    return all(
        isinstance(node, _PLAIN) or allowed.get(type(node), lambda node: False)(node)
        for node in nodes
    )


def again(table: StudyTable, folder: Path) -> Section:
    """Return how to repeat a run or a study."""
    one = (folder / CONFIG).is_file()
    command, name = ("run", CONFIG) if one else ("study", STUDY)
    file, script = _way(folder) / name, _RUN_IN_PYTHON if one else _STUDY_IN_PYTHON
    shell = f"autolora-meta {command} {quote(file.as_posix())} {quote(f'name={table.name}-again')}"
    return Section(
        "Repeat it",
        words=[
            "The same configuration on the same machine and versions gives the same figures. "
            + _paths_count(file)
        ],
        code=[
            Code("On the command line:", shell),
            Code("Or in Python:", script.replace("FILE", python(file.as_posix()))),
        ],
    )


def settings(folder: Path) -> Section:
    """Return the resolved configuration and what it ran on."""
    manifest.refuse_damaged(folder, CHANGED, CONFIG, STUDY)
    found, file = recorded(folder), CONFIG if (folder / CONFIG).is_file() else STUDY
    table = Table("Versions and machine", ["what", "value"], list(found.items()))
    return Section(
        "Configuration and environment",
        words=[] if found else ["The environment was not recorded."],
        folded=[
            Code(f"{file}, every option resolved", (folder / file).read_text(encoding="utf-8")),
            *([table] if found else []),
        ],
    )


def _way(folder: Path) -> Path:
    """Return the way to a folder from where the page is written: there, relative paths count.

    To a folder elsewhere there is none that would hold on another machine: it is empty.
    """
    folder, here = folder.absolute(), Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else Path()


def _paths_count(file: Path) -> str:
    """Return where commands that name `file` are to be run."""
    if file.parent == Path():
        return (
            "Run it in this folder; where the configuration has relative paths of data or a model, "
            f"where they hold, with the way to this {file.name}."
        )
    return (
        "Run it where this page was written: the paths below, and relative ones of data and models "
        "in the configuration, count from there."
    )
