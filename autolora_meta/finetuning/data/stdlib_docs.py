"""The embedded data set: docstrings of the standard library, labelled with their package.

Small, real, the same for everybody with the same Python, and there without a network.
"""

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from autolora_meta.errors import InputError

# Packages and modules that every Python from 3.11 on has, with enough docstrings to learn from.
PACKAGES = (
    "asyncio",
    "email",
    "http",
    "importlib",
    "inspect",
    "logging",
    "mailbox",
    "multiprocessing",
    "tarfile",
    "unittest",
    "urllib",
    "xml",
)
MIN_WORDS = 3  # shorter ones ("Return self.") tell nothing about where they stand
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def load(stdlib: Path | None = None) -> DatasetDict:
    """Return docstrings of modules, classes and functions, read with `ast`; nothing is imported.

    White space is folded; docstrings of fewer than `MIN_WORDS` words and repeated ones are dropped,
    the first in the order of packages and files stays. The order depends on the files alone.

    Args:
        stdlib: the folder to read; the running Python's standard library where it is not given.

    Returns:
        One split, train, with the columns text and label.

    Raises:
        InputError: this Python keeps its library where it cannot be read as files.
    """
    root = stdlib or Path(sysconfig.get_path("stdlib"))
    texts: dict[str, int] = {}
    for label, package in enumerate(PACKAGES):
        known = len(texts)
        for file in files(root, package):
            for text in docstrings(file):
                texts.setdefault(text, label)
        if len(texts) == known:
            raise InputError(
                f"data.source 'stdlib-docs' found no docstrings of '{package}' in {root}: this "
                "Python comes without the sources of its library; give a file of your own as "
                "data.source"
            )
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(PACKAGES))})
    rows = {"text": list(texts), "label": list(texts.values())}
    return DatasetDict({"train": Dataset.from_dict(rows, features=features)})


def files(root: Path, package: str) -> list[Path]:
    """Return the sources of a package or module, sorted; its test suites left out."""
    folder = root / package
    if not folder.is_dir():
        return [path for path in [root / f"{package}.py"] if path.is_file()]
    return sorted(
        path
        for path in folder.rglob("*.py")
        if not {"test", "tests"} & set(path.relative_to(folder).parts[:-1])
    )


def docstrings(file: Path) -> Iterator[str]:
    """Yield the docstrings of a file, white space folded, that have `MIN_WORDS` words or more."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, _DOCUMENTED):
            text = " ".join((ast.get_docstring(node) or "").split())
            if len(text.split()) >= MIN_WORDS:
                yield text
