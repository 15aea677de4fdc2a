"""The benchmark of searches in one pass: a row for one alone, and one for each number of them."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import stacked_search


def test_it_times_searches_alone_and_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--device", "cpu", "--model", "1x16", "--k", "2", "--length", "4", "--rows", "2"]
    method = ["--hypergradient", '{"method": "darts", "scheme": "forward"}', "--steps", "2"]
    asked = ["--searches", "1,3", "--precision", "float32", "--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr(sys, "argv", ["stacked_search", *sizes, *method, *asked])
    stacked_search.main()
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["searches"] for row in rows] == [0, 1, 3]
    assert all(row["seconds"] > 0 and row["times"] > 0 for row in rows)
    assert "one at a time" in capsys.readouterr().out
