"""docs/examples: the head says what is needed, and the script does what it says."""

import ast
import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from autolora_meta.exporting.stored import read_adapter
from tests.interfaces.models import llama
from tests.tiny import tiny_texts, tiny_tokenizer

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "docs" / "examples" / "search_in_your_script.py"


def test_its_head_names_what_it_imports_as_the_project_does() -> None:
    text = SCRIPT.read_text("utf-8")
    (block,) = re.findall(r"^# /// script\n((?:#.*\n)+?)# ///$", text, re.M)
    head = tomllib.loads(re.sub(r"^# ?", "", block, flags=re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert head["requires-python"] == project["requires-python"]
    needed = {Requirement(line).name.replace("-", "_"): line for line in head["dependencies"]}
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [
                alias.name for alias in getattr(node, "names", ()) if isinstance(node, ast.Import)
            ]
        )
    }
    assert imported - set(sys.stdlib_module_names) == needed.keys()
    ours = needed.pop("autolora_meta")
    assert ours == project["name"] and set(needed.values()) <= set(project["dependencies"])
    place = head["tool"]["uv"]["sources"][ours]["path"]
    assert (SCRIPT.parent / place).resolve() == ROOT


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*pin_memory.*:UserWarning")
def test_it_learns_ranks_and_trains_a_stock_adapter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    llama().save_pretrained(tmp_path / "model")
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "[SEP]"
    tokenizer.save_pretrained(tmp_path / "model")
    main = runpy.run_path(str(SCRIPT))["main"]
    texts = [row["text"] for row in tiny_texts(20)]
    few = {"outer_steps": 2, "warmup_steps": 1}
    main(str(tmp_path / "model"), texts, tmp_path / "out", rank=2, steps=2, **few)
    stored = read_adapter(tmp_path / "out" / "adapter")
    spent = sum(rank * cost for rank, cost in zip(stored.ranks, stored.costs, strict=True))
    # A rank in all 14 layers costs 464, and in the cheapest one 24.
    assert set(stored.scales) == {2.0} and 2 * 464 - 24 < spent <= 2 * 464
    assert stored.names[0] in capsys.readouterr().out
