"""A few inputs of each claim, the same in each run; `make soak` tries many."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.end_to_end import Tiny
from tests.properties.claims import CLAIMS, UNHURRIED, Claim, commands


def few(claim: Claim) -> None:
    @settings(
        max_examples=claim.few,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=UNHURRIED,
    )
    @given(claim.inputs)
    def tried(one: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            claim.holds(one, Path(folder))

    tried()


@pytest.mark.parametrize("name", CLAIMS)
def test_odd_input_ends_in_an_answer_or_a_message(name: str) -> None:
    few(CLAIMS[name])


@pytest.mark.parametrize("name", ["arguments of commands", "searches with odd settings"])
def test_odd_calls_end_in_an_answer_or_a_message(
    name: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    few(commands(tiny)[name])
