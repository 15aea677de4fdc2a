"""Hooks of mkdocs: pages that stand at the top of the tree, and anchors as GitHub makes them."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pymdownx import slugs

ROOT = Path(__file__).parents[2]
# Files at the top of the tree that are pages here: where people look for them in a repository.
ABOVE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_config(config: Any) -> Any:
    """Anchors of headings are those of GitHub, so that a link leads there in both."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugs.slugify(case="lower")
    return config


def on_files(files: Files, config: Any) -> Files:
    """Take in the pages from above."""
    for name, page in ABOVE.items():
        text = _inside((ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to a file above into links to its page."""
    up = "../" * page.file.src_uri.count("/")
    for name, target in ABOVE.items():
        markdown = markdown.replace(f"]({up}../{name}", f"]({up}{target}")
    return markdown


def on_post_build(config: Any) -> None:
    """Leave the index of the search as a script too: a page opened from the disk reads no JSON."""
    index = Path(config.site_dir) / "search" / "search_index.json"
    script = f"var __index = {index.read_text(encoding='utf-8')}"
    index.with_suffix(".js").write_text(script, encoding="utf-8")


def _inside(text: str) -> str:
    """Return a page from above with links as they are from inside of docs/."""
    for name, page in ABOVE.items():
        text = text.replace(f"]({name}", f"]({page}")
    return re.sub(r"\]\(docs/", "](", text)
