"""The benchmark from end to end: both tables on a tiny model."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partialmethod
from pathlib import Path

import pytest

from autolora_meta.studies.study import Study
from benchmarks import end_to_end
from tests.end_to_end import tiny_setting


def test_it_measures_ranks_and_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, rows = tiny_setting(tmp_path).config, tmp_path / "rows.json"
    asked = ["--device", "cpu", "--replicates", "1", "--ranks", "1,4", "--study-replicates", "2"]
    asked += ["--stack", "off", "--json", str(rows), "--arms", "learned", "uniform"]
    monkeypatch.setattr(sys, "argv", ["end_to_end", *asked, "--", str(config)])
    with ThreadPoolExecutor(1) as here:  # no new processes, which import torch for seconds
        monkeypatch.setattr(Study, "run", partialmethod(Study.run, here))
        end_to_end.main()
    learned, one, four, study = json.loads(rows.read_text())
    assert [row["ranks"] for row in (learned, one, four)] == ["learned", "uniform 1", "uniform 4"]
    # The budget of the search is uniform:1; rank 4 is above its k of 3.
    assert learned["parameters"] <= one["parameters"] == four["parameters"] / 4
    assert learned["search_seconds"] > 0 == one["search_seconds"]
    assert learned["seconds"] == learned["search_seconds"] + learned["retrain_seconds"]
    assert all(row["metric"] == "cross_entropy" and row["value"] > 0 for row in (one, four))
    assert (study["stack"], study["runs"], study["failed"], study["times"]) == ("off", 4, 0, 1)
    assert study["runs_a_minute"] == pytest.approx(240 / study["seconds"])
    assert "| uniform 4 |" in capsys.readouterr().out
