"""One self-contained HTML page from plain data; everything that comes from outside is escaped."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

_PACKAGE, _FOLDER = "autolora_meta.reporting", "templates"
_BROAD = 360  # points


@dataclass(frozen=True)
class Table:
    """A table that sorts by any column.

    Args:
        caption: what its rows are.
        header: names of the columns.
        rows: cells, as text or as what has a text.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Picture:
    """A figure inside the page.

    Args:
        source: the SVG as a data URI: an image inside an image cannot run or fetch anything, and
            its names do not collide with those of the next.
        caption: what it shows; also what is read out in its place.
        broad: too broad for a phone, where it scrolls in its card so that its text can be read.
    """

    source: str
    caption: str
    broad: bool = False

    @classmethod
    def read(cls, file: Path, caption: str) -> "Picture":
        """From an SVG file."""
        content = file.read_bytes()
        width = re.search(rb'<svg[^>]* width="([0-9.]+)pt"', content)
        source = f"data:image/svg+xml;base64,{base64.b64encode(content).decode('ascii')}"
        return cls(source, caption, broad=width is not None and float(width[1]) > _BROAD)


@dataclass(frozen=True)
class Code:
    """Text to copy, such as commands."""

    caption: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of the page: words, then pictures, tables and code.

    Args:
        heading: its title.
        words: paragraphs.
        points: a list below them.
        pictures, tables, code: what follows, in this order.
        folded: tables and code that open on a click.
    """

    heading: str
    words: Sequence[str] = ()
    points: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    code: Sequence[Code] = ()
    folded: Sequence[Table | Code] = ()


@dataclass(frozen=True)
class Document:
    """A whole page.

    Args:
        title: the name of the run or study.
        question: what was asked.
        answer: the first thing to read.
        sections: the rest.
    """

    title: str
    question: str
    answer: str
    sections: Sequence[Section]

    def html(self) -> str:
        """The page; it needs no other file and no network, and may run no script but its own."""
        style, script = _asset("page.css"), _asset("page.js")
        policy = (
            f"default-src 'none'; img-src data:; style-src '{_sha256(style)}'; "
            f"script-src '{_sha256(script)}'"
        )
        return (
            _environment()
            .get_template("page.html.j2")
            .render(page=self, style=style, script=script, policy=policy)
        )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE, _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.tests["table"] = lambda part: isinstance(part, Table)
    return environment


def _asset(name: str) -> str:
    return files(_PACKAGE).joinpath(_FOLDER, name).read_text("utf-8")


def _sha256(text: str) -> str:
    """As a content security policy names what stands inside the page."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
