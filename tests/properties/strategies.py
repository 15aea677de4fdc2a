"""Odd values, YAML and key=value, as hypothesis draws them."""

from typing import Any

import yaml
from hypothesis import strategies as st

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.options import keys
from autolora_meta.hypergradients.methods import METHODS
from autolora_meta.studies.options import StudyOptions

ANY_TEXT = st.text(st.characters(), max_size=20)  # lone surrogates and control characters, too
_EDGES = (0, -1, 1, 2**31, 2**53, 2**63, 2**64, 10**30, -(10**400))
_REALS = (0.0, -0.0, 1e-320, 1e38, 1e308, -1e30, float("nan"), float("inf"), -float("inf"))
# What some key takes, so that mistakes come beside what is right.
_KNOWN = [
    *METHODS,
    "uniform",
    "learned",
    "all-linear",
    "uniform:2",
    "total-rank:9",
    "uniform:" + "9" * 5000,
]
_KNOWN += [
    "query",
    "accuracy",
    "regression",
    "causal-lm",
    "paper",
    "threshold",
    "softmax",
    "train",
    "cpu",
]
_KNOWN += [
    "n" * 300,
    "../x",
    "/dev/null",
    "",
    " ",
    "\0",
    "\ud800",
    "1e38",
    "1e999",
    "0x_",
    "~",
    "null",
    "=",
    "a.b",
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(_EDGES)
    | st.integers(4000, 5000).map(lambda digits: 10**digits)  # Python writes 4,300 at most
    | st.floats()
    | st.sampled_from(_REALS)
    | ANY_TEXT
    | st.sampled_from(_KNOWN)
)
config_keys = st.sampled_from(keys(RunConfig)) | st.sampled_from(
    [
        "search.hypergradient.method",
        "search.hypergradient.iterations",
        "search.epochs",
        "",
        ".",
        "a..b",
    ]
)


def nest(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return lists and mappings of leaves, some of them deep."""
    names = ANY_TEXT | st.sampled_from([key.rpartition(".")[2] for key in keys(RunConfig)])
    inner = st.recursive(
        leaves,
        lambda part: st.lists(part, max_size=4) | st.dictionaries(names, part, max_size=4),
        max_leaves=8,
    )
    return inner | st.builds(_deep, leaves, st.integers(2, 20_000), st.booleans())


def _deep(value: Any, levels: int, listed: bool) -> Any:
    for _ in range(levels):
        value = [value] if listed else {"a": value}
    return value


values = nest(scalars)
settings = st.dictionaries(config_keys, values, min_size=1, max_size=4)

_PIECES = [
    "a",
    "b: ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ": ",
    "\n",
    "  ",
    "&x ",
    "*x",
    "<<: ",
    "!!int ",
    "!!set ",
]
_PIECES += [
    "!!python/name:os.system ",
    "? ",
    "| ",
    "> ",
    "'",
    '"',
    "#",
    "%",
    "@",
    "---\n",
    "...",
    "0x",
    "1_0",
    "\t",
]
_PIECES += [
    "search",
    "lora.k",
    "name: x\n",
    "base: quickstart\n",
    ".inf",
    "2024-99-99",
    "!!binary ",
    "\\ud800",
    "~",
    "\0",
]
_NESTED = [mark * count for mark in ("[", "{a: ", "- ", "&a [") for count in (60, 3000)]
yaml_texts = (
    st.lists(st.sampled_from(_PIECES) | ANY_TEXT, max_size=30).map("".join)
    | st.sampled_from(_NESTED)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda part: (
            st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=9), part, max_size=4)
        ),
        max_leaves=10,
    ).map(lambda value: yaml.safe_dump(value, default_flow_style=True, width=10**6))
)


def _assignments(names: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return key=value, most of them with a key that there is and a value that YAML reads."""
    plain = st.integers(-2, 99).map(str) | st.floats().map(str) | st.sampled_from(_KNOWN)
    listed = st.lists(plain, max_size=3).map(lambda values: f"[{', '.join(values)}]")
    given = plain | plain | listed | yaml_texts
    return st.builds("{}={}".format, names | names | names | ANY_TEXT, given) | st.builds(
        "{}={}".format, names, given
    )


overrides = st.lists(_assignments(config_keys), min_size=1, max_size=3)
_OF_STUDY = [
    *StudyOptions.model_fields,
    "vary.lora.k",
    "vary.search.hypergradient",
    "vary.",
    "seeds",
]
study_changes = st.lists(
    _assignments(st.sampled_from(_OF_STUDY) | config_keys), min_size=1, max_size=3
)


_LONG = (
    "steps",
    "seeds",
    "batches",
    "replicates",
    "workers",
    "beams",
    "tokens",
    "minutes",
    "device",
)
_SHORT = [
    key for key in keys(RunConfig) if not key.endswith(_LONG) and key not in ("model.name", "name")
]
_NUMBERS = st.integers(-2, 9) | st.floats() | st.sampled_from(_REALS) | st.sampled_from(_KNOWN)
short_overrides = st.lists(
    st.builds("{}={}".format, st.sampled_from(_SHORT), _NUMBERS), min_size=1, max_size=2
)  # of searches that end soon, if they begin
