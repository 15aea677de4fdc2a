"""The embedded chat: questions about names of the standard library, answered by their docstrings.

Small, real, the same for everybody with the same Python, and there without a network.
"""

import ast
import re
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets import Dataset, DatasetDict

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.conversation import ASSISTANT
from autolora_meta.finetuning.data.stdlib_docs import MIN_WORDS, PACKAGES, files

_Named = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\"(])")


def load(stdlib: Path | None = None) -> DatasetDict:
    """Return conversations of one question and one answer; nothing is imported.

    A question names a public class, function or method of `PACKAGES`; the answer is the first
    sentence of its docstring. An answer of fewer than `MIN_WORDS` words, or one that was given
    before, is left out. The order depends on the files alone.

    Args:
        stdlib: the folder to read; the running Python's standard library where it is not given.

    Returns:
        One split, train, with the columns messages and package.

    Raises:
        InputError: this Python keeps its library where it cannot be read as files.
    """
    root = stdlib or Path(sysconfig.get_path("stdlib"))
    answers: dict[str, tuple[str, str]] = {}
    for package in PACKAGES:
        for question, answer in talks(root, package):
            answers.setdefault(answer, (question, package))
    if not answers:
        raise InputError(
            f"data.source 'stdlib-chat' found no docstrings in {root}: this Python comes without "
            "the sources of its library; give a file of your own as data.source"
        )
    rows = [
        {
            "messages": [
                {"role": "user", "content": question},
                {"role": ASSISTANT, "content": answer},
            ],
            "package": package,
        }
        for answer, (question, package) in answers.items()
    ]
    return DatasetDict({"train": Dataset.from_list(rows)})


def talks(root: Path, package: str) -> Iterator[tuple[str, str]]:
    """Yield a question and its answer for every documented public name of a package or module."""
    for file in files(root, package):
        module = file.relative_to(root).with_suffix("").parts
        if not any(part.startswith("_") and part != "__init__" for part in module):
            where = [part for part in module if part != "__init__"]
            yield from _of(ast.parse(file.read_bytes()), where)


def _of(node: ast.AST, where: Sequence[str]) -> Iterator[tuple[str, str]]:
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, _Named) and not inner.name.startswith("_"):
            name = [*where, inner.name]
            answer = first_sentence(ast.get_docstring(inner) or "")
            if len(answer.split()) >= MIN_WORDS:
                verb = "is" if isinstance(inner, ast.ClassDef) else "does"
                yield f"What {verb} {'.'.join(name)}{'' if verb == 'is' else ' do'}?", answer
            if isinstance(inner, ast.ClassDef):
                yield from _of(inner, name)


def first_sentence(text: str) -> str:
    """Return the first sentence of a docstring, its white space folded.

    >>> first_sentence("Return the mean.\\n\\nOf numbers, e.g. of two.")
    'Return the mean.'
    """
    paragraph = " ".join(text.split("\n\n")[0].split())
    return _END.split(paragraph, maxsplit=1)[0]
