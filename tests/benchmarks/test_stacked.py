"""The benchmark of stacks: a table, and the rows that it was made of."""

import json
import pickle
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks import stacked
from benchmarks.pool import steps_a_second


def pooled(make: Callable[[], Callable[[], object]], processes: int, steps: int) -> float:
    """In place of `steps_a_second`: one step here of what the processes would be given."""
    pickle.loads(pickle.dumps(make))()()
    return 10.0 * processes


@pytest.mark.parametrize(("precision", "workers"), [("float32", 2), ("bf16", 0)])
def test_it_measures_stacks_against_one_at_a_time(
    precision: str,
    workers: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = ["--device", "cpu", "--model", "1x16", "--rows", "2", "--length", "4", "--steps", "5"]
    sizes += ["--workers", str(workers)]
    asked = ["--stack", "1,3", "--precision", precision, "--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr(stacked, "steps_a_second", pooled)
    monkeypatch.setattr(sys, "argv", ["stacked", *sizes, *asked])
    stacked.main()
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["adapters"] for row in rows] == [0, 1, 3]
    assert rows[0]["times"] == 1
    assert rows[2]["adapter_steps_a_second"] == pytest.approx(3000 / rows[2]["ms"])
    assert all(row["ms"] > 0 and row["gib"] > 0 for row in rows)
    # One adapter keeps one process busy; one at a time needs none.
    pools = [None, 10, 20] if workers else [None] * 3
    assert [row["pool"] for row in rows] == pools
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[2] for line in printed[-3:]] == ["one at a time", "1", "3"]


def test_a_pool_takes_as_many_steps_as_its_processes_together() -> None:
    # Of two processes that sleep 50 ms a step: 40 a second at most, and one alone takes 20 at most.
    rate = steps_a_second(partial(partial, time.sleep, 0.05), 2, 8)
    assert 22 < rate <= 40
