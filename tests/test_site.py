"""The documentation as a site: its menu holds every page, and it builds without a warning."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

import autolora_meta

ROOT = Path(__file__).parent.parent
ABOVE = {"contributing.md", "changelog.md"}  # pages that stand at the top of the tree


def menu(entries: Any) -> Iterator[str]:
    """The pages of a menu, in their order."""
    for entry in entries:
        (value,) = entry.values() if isinstance(entry, dict) else (entry,)
        yield from menu(value) if isinstance(value, list) else (value,)


def test_the_menu_holds_every_page_once_and_no_other() -> None:
    docs = ROOT / "docs"
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md")}
    assert sorted(menu(config["nav"])) == sorted(pages | ABOVE), "mend `nav` in mkdocs.yml"


def test_the_page_of_the_python_interface_names_all_that_is_public() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text("utf-8")
    directives = re.findall(r"^::: autolora_meta\.(\S+)$", page, re.M)
    named = {name.removeprefix("reporting.") for name in directives}
    assert set(autolora_meta.__all__) - {"__version__"} <= named


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="make docs installs mkdocs")
def test_the_site_builds_without_a_warning_and_asks_for_nothing_from_elsewhere(
    tmp_path: Path,
) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len([*(ROOT / "docs").rglob("*.md")])
    elsewhere = r"""["']?(https?:|//)"""
    fetched = rf"<(script|img|iframe)[^>]*\ssrc={elsewhere}|<link[^>]*\shref={elsewhere}"
    for page in pages:
        assert not re.search(fetched, page.read_text("utf-8")), page
