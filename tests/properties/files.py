"""Files as hypothesis draws them: damaged JSON and bytes, tables of rows, rank patterns."""

import json
from typing import Any

from hypothesis import strategies as st

from autolora_meta.ranks.pattern import RankPattern
from tests.properties.strategies import ANY_TEXT, scalars


@st.composite
def damaged_json(draw: st.DrawFn, content: Any) -> str:
    """Draw JSON of `content` with odd values in some places, or with other text in it."""
    whole = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 3))):
        inner, key = whole, None
        while isinstance(inner, dict | list) and len(inner):
            holder = inner
            key = draw(
                st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner)))
            )
            inner = inner[key]
            if draw(st.integers(0, 3)) == 0:
                break
        if key is None:
            continue
        if draw(st.integers(0, 5)) == 0:
            del holder[key]
        else:
            holder[key] = draw(scalars | st.lists(scalars, max_size=3) | st.just({}))
    text = _dumped(whole)
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(text)))
        piece = draw(
            ANY_TEXT
            | st.sampled_from(["[" * 20_000, '{"a":' * 9999, "9" * 5000, "\0", "NaN", "1e999", ","])
        )
        text = text[:at] + piece + text[at + draw(st.integers(0, 9)) :]
    return text


def _dumped(value: Any) -> str:
    """Return JSON, with numbers of any length."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {_dumped(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_dumped, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**64:
        return "-" * (value < 0) + "9" * (abs(value).bit_length() // 3)
    return json.dumps(value)


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw `content` with bytes changed, cut off, put in or taken out."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(found) - 1, 0)))
        how = draw(st.sampled_from(["flip", "cut", "put", "take", "fill"]))
        if how == "flip" and found:
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del found[at:]
        elif how == "put":
            found[at:at] = draw(st.binary(max_size=16))
        elif how == "take":
            del found[at : at + draw(st.integers(1, 16))]
        else:
            found[at : at + 8] = draw(
                st.sampled_from([b"\0" * 8, b"\xff" * 8, b"\n" * 8, b'"' * 8])
            )
    return bytes(found)


_CELLS = st.sampled_from(
    ["a cat", "a dog", "b", "", " ", "NA", "1", "1.5", "\0", "||", "O", "B-X", "x" * 999]
)
_CELLS |= ANY_TEXT
_MARKS = st.sampled_from([",", "\t", ";", "|", " ", ""])
_ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", ""])


@st.composite
def table_texts(draw: st.DrawFn) -> bytes:
    """Draw text that is nearly a table, in some encoding."""
    mark, end = draw(_MARKS), draw(_ENDS)
    head = draw(
        st.sampled_from(["text,label", "text", "label,text", "", "a,b,c", "sep=;", "tokens,tags"])
    )
    rows = draw(st.lists(st.lists(_CELLS, max_size=4), max_size=12))
    quote = draw(st.sampled_from(["", '"']))
    lines = [
        head.replace(",", mark),
        *(mark.join(quote + cell + quote for cell in row) for row in rows),
    ]
    codec = draw(
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
    )
    return end.join(lines).encode(codec, "replace") + draw(
        st.sampled_from([b"", b"\n", b"\xff", b"\0", b'"'])
    )


_FIELDS = st.sampled_from(["text", "label", "tokens", "tags", "target", "a", ""])
_ROWS = st.dictionaries(_FIELDS, scalars | st.lists(scalars, max_size=3), max_size=3)
json_tables = st.lists(_ROWS, max_size=8).map(_dumped) | st.lists(_ROWS, max_size=8).map(
    lambda rows: "\n".join(map(_dumped, rows))
)
columns = st.lists(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9)
    | st.lists(st.text(max_size=3), max_size=3),
    min_size=9,
    max_size=9,
)


@st.composite
def patterns(draw: st.DrawFn) -> RankPattern:
    """Draw a rank pattern that is right."""
    part = st.text(
        st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8
    )
    part = part.map(lambda name: name.replace(".", "_"))
    names = draw(
        st.lists(st.lists(part, min_size=1, max_size=3).map(".".join), max_size=6, unique=True)
    )
    k = draw(st.integers(1, 64))
    ranks = tuple(draw(st.integers(0, k)) for _ in names)
    costs = tuple(draw(st.integers(1, 2**40)) for _ in names)
    return RankPattern(tuple(names), ranks, costs, k, draw(st.floats(1e-30, 1e30)))
