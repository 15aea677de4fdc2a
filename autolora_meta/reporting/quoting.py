"""Values from outside inside Python and Markdown: a name stays a name, whatever is in it."""

import re
from collections.abc import Sequence

# What ends a cell or a code span, begins a tag, or makes a link.
_MARKS = re.compile(r"\\(?=[\\|`<\]])|[|`<]|\](?=\()")


def python(value: str | Sequence[str]) -> str:
    """Return a string, or a list of strings, as Python.

    Double quotes stand around it if it has no quotes of its own.

    >>> print(python("a/b"), python(["x", 'say "y"']))
    "a/b" ["x", 'say "y"']
    """
    if not isinstance(value, str):
        return f"[{', '.join(map(python, value))}]"
    plain = not {'"', "'"} & set(value)
    return f'"{repr(value)[1:-1]}"' if plain else repr(value)


def code_span(value: object) -> str:
    """Return `value` as inline code of Markdown, on one line.

    >>> print(code_span("a/b"), code_span("a`b"))
    `a/b` ``a`b``
    """
    text = " ".join(str(value).split())
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " if text[:1] == "`" or text[-1:] == "`" else ""
    return f"{fence}{space}{text}{space}{fence}"


def escaped(value: object) -> str:
    r"""Return `value` as text of Markdown, on one line: no table, code, tag or link begins in it.

    >>> print(escaped("learned, lora.k=4"), escaped("a|b <i>"))
    learned, lora.k=4 a\|b \<i>
    """
    return _MARKS.sub(r"\\\g<0>", " ".join(str(value).split()))
