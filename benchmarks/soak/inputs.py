"""Odd input, as much as the time allows: an answer or one message, within seconds."""

import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import seed as seeded

from benchmarks.soak.line import Line
from tests.end_to_end import command, tiny_setting
from tests.properties.claims import CLAIMS, UNHURRIED, Claim, commands

_ROUND = 500  # inputs of a claim, before the next has its turn


def soak(seconds: float, seed: int, folder: Path) -> list[Line]:
    """Try odd inputs of each claim by turns until the time is over.

    Args:
        seconds: what it may take, about.
        seed: of the inputs.
        folder: to work in.
    """
    end = time.monotonic() + seconds
    tiny = tiny_setting(folder)
    said = command("search", tiny.config, "--runs", tiny.run.parent)
    assert said.status == 0, said.err
    claims = CLAIMS | commands(tiny)
    lines = {name: Line(f"odd input: {name}") for name in claims}
    with contextlib.chdir(folder):
        while time.monotonic() < end:
            for name, claim in claims.items():
                share = (end - time.monotonic()) / len(claims)
                _try(claim, lines[name], seed, time.monotonic() + max(share, 1.0))
            seed += 1
    return list(lines.values())


def _try(claim: Claim, line: Line, seed: int, until: float) -> None:
    """Try a round of inputs; of those that break the claim the shortest found is told."""

    @seeded(seed)
    @settings(
        max_examples=_ROUND,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=UNHURRIED,
    )
    @given(claim.inputs)
    def tried(one: Any) -> None:
        if time.monotonic() > until:
            return
        with tempfile.TemporaryDirectory() as folder:
            claim.holds(one, Path(folder))
        line.note(None)

    try:
        tried()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        notes = " ".join(getattr(error, "__notes__", []))
        line.note(f"{type(error).__name__}: {error} {notes} (seed {seed})"[:2000])
