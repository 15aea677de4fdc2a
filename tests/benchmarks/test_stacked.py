"""The benchmark of stacks: a table, and the rows that it was made of."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import stacked


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_it_measures_stacks_against_one_at_a_time(
    precision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = ["--device", "cpu", "--model", "1x16", "--rows", "2", "--length", "4", "--steps", "5"]
    asked = ["--stack", "1,3", "--precision", precision, "--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr(sys, "argv", ["stacked", *sizes, *asked])
    stacked.main()
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["adapters"] for row in rows] == [0, 1, 3]
    assert rows[0]["times"] == 1
    assert rows[2]["adapter_steps_a_second"] == pytest.approx(3000 / rows[2]["ms"])
    assert all(row["ms"] > 0 and row["gib"] > 0 for row in rows)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[2] for line in printed[-3:]] == ["one at a time", "1", "3"]
