"""The floors of docs/architecture.md: no import goes up, and every room stands in the table."""

import ast
import inspect
import re
from pathlib import Path

from betty.problems import ImplicitProblem

from autolora_meta.bilevel.problem import LoraProblem

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "autolora_meta"


def floors() -> dict[str, int]:
    """Room -> floor, as the document says."""
    words = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return {room: int(floor) for floor, room in re.findall(r"^\| (\d+) \| `(\w+)`", words, re.M)}


def imported(file: Path) -> set[str]:
    """The rooms that a file imports, wherever in it."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("autolora_meta.")}


def test_no_import_goes_up() -> None:
    known = floors()
    rooms = {p.stem for p in PACKAGE.iterdir() if p.is_dir() or p.suffix == ".py"}
    assert rooms - {"__init__", "__pycache__", "py"} == known.keys()
    up = []
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        up += [
            f"{file.relative_to(ROOT)} imports {other}"
            for other in imported(file) & known.keys()
            if other != room and known[other] >= known[room]
        ]
    assert up == []


def test_the_table_of_betty_s_methods_names_what_is_overridden() -> None:
    words = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = words.split("## One search step through betty")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    ours = {name for name, value in vars(LoraProblem).items() if inspect.isfunction(value)}
    assert named == {n for n in ours if hasattr(ImplicitProblem, n) and not n.startswith("__")}
