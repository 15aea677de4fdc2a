"""The benchmark of growth: slopes of what is known, and a row for each thing that grows."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import growth


def test_it_measures_each_thing_that_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--device", "cpu", "--model", "1x16", "--k", "2", "--length", "4", "--rows", "2"]
    asked = ["--times", "2", "--rounds", "5", "--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr(sys, "argv", ["growth", *sizes, *asked])
    growth.main()
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["grows"]: row["values"] for row in rows} == {
        "layers": [1, 2],
        "k": [2, 4],
        "length": [4, 8],
        "rows": [2, 4],
        "inner_steps": [1, 2],
        "adapters": [1, 2],
    }
    for row in rows:
        assert row["times"][0] == 1 and all(ms > 0 for ms in row["ms"])
        assert row["slope"] == pytest.approx(row["last_slope"])
        assert row["slope"] == pytest.approx(math.log2(row["times"][1]))
    # A second inner step is a second training step: it cannot be free.
    assert rows[4]["times"][1] > 1
    printed = capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in printed.splitlines()[4:10]] == [
        row["grows"] for row in rows
    ]


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5])
def test_the_slope_is_the_power(power: float) -> None:
    assert growth.slope({n: 3.0 * n**power for n in (1, 2, 4, 8)}) == pytest.approx(power)


def row(grows: str, **figures: Any) -> growth.Row:
    return {"grows": grows, "values": [4, 32], "times": [1.0, 1.2], "slope": 0.1} | figures


def test_targets_that_are_missed_are_told() -> None:
    rows = [row("layers"), row("length", slope=1.2), row("k"), row("k", values=[4, 16])]
    assert [said.split(":")[0] for said in growth.verdicts(rows)] == [
        "holds  layers",
        "MISSED length",
        "MISSED cost of k = 32 over k = 4",
    ]
