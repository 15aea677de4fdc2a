"""The page of every command: docs/reference/commands.md, from the commands themselves."""

import inspect
import re
from typing import Any

import typer

from autolora_meta.cli.main import app

_HEAD = """# The command line

`make reference` writes this page from the commands; each says the same with `--help`.

{help}
"""


def commands_page() -> str:
    """Return every command with its arguments and options as Markdown."""
    group: Any = typer.main.get_command(app)
    parts = [_HEAD.format(help=inspect.cleandoc(group.help))]
    parts += [_command(name, command) for name, command in group.commands.items()]
    return "\n".join(parts)


def _command(name: str, command: Any) -> str:
    """Return one command: what it does, how it is called, and each of its parameters."""
    context = command.make_context(name, [], resilient_parsing=True)
    records = [one.get_help_record(context) for one in command.params]
    told = [(_called(record[0]), _told(record[1])) for record in records if record]
    usage = " ".join(["[OPTIONS]", *(called for called, _ in told if called[0] != "-")])
    lines = [f"## {name}", "", inspect.cleandoc(command.help or ""), ""]
    lines += ["```text", f"Usage: autolora-meta {name} {usage}", "```", ""]
    lines += [f"- `{called}`: {help}" for called, help in told]
    return "\n".join(lines).rstrip() + "\n"


def _called(name: str) -> str:
    """Return the name of a parameter, the kind of an option's value in capitals."""
    name, kind, _ = re.split(r" <(.*)>$", name) if name[-1] == ">" else (name, "", "")
    kind = _KINDS.get(kind, kind if "|" in kind else kind.upper())
    return f"{name} {kind}" if kind and name[0] == "-" else name


_KINDS = {"str": "TEXT", "int": "NUMBER", "float": "NUMBER"}


def _told(help: str) -> str:
    """Return the help of a parameter, what typer adds in brackets as sentences."""
    text = re.sub(r"\s+", " ", help)
    text = re.sub(r" *\[default: (.*?)\]$", r" Default: `\1`.", text)
    return re.sub(r" *\[required\]$", " Must be given.", text).strip()
