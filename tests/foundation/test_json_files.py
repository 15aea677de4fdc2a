"""JSON files that a run writes and reads again: whatever stands in them, the answer is plain."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from autolora_meta.allocators.allocation import Scoring, Spent
from autolora_meta.errors import InputError
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.environment import recorded
from autolora_meta.foundation.json_files import read_json, read_rows
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.table import StudyTable
from tests.damage import WRONG, changed, survives
from tests.reporting.pages import study_table

PATTERN = RankPattern(("a", "b"), (2, 0), (10, 20), k=4, scale=2.0)
ENDED = {
    **{"id": "a", "status": "finished", "metrics": {"accuracy": 0.5}, "compared": ["accuracy"]},
    **{"ranks": {"q": 1}, "parameters": 8, "cost": 3.5, "start": "scratch", "blind": False},
}


@pytest.mark.parametrize("place", ["k", "scale", "rank", "cost", "name"])
@pytest.mark.parametrize("wrong", [v for v in WRONG if v is not None])
def test_a_rank_pattern_takes_no_number_that_is_none(
    place: str, wrong: Any, tmp_path: Path
) -> None:
    file = tmp_path / "ranks.json"
    content = json.loads(PATTERN.to_json())
    (content if place in ("k", "scale") else content["layers"][0])[place] = wrong
    file.write_text(json.dumps(content))
    if (place, wrong) in [("scale", 1.9), ("scale", 1e30), ("scale", 10**30)]:
        assert RankPattern.load(file).scale == float(wrong)
    else:
        with pytest.raises(InputError, match=r"ranks\.json is not a rank pattern .*allocate RUN"):
            RankPattern.load(file)


@pytest.mark.parametrize("name", [".*", "", "a..b", "a.", "a\nb"])
def test_a_name_that_no_layer_can_have_is_refused(name: str, tmp_path: Path) -> None:
    content = json.loads(PATTERN.to_json())
    content["layers"][0]["name"] = name
    (tmp_path / "ranks.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"layers\.0\.name"):
        RankPattern.load(tmp_path / "ranks.json")


def test_a_damaged_table_is_refused_or_read(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    study_table(2).save(file)
    content = json.loads(file.read_text())
    content["data"] = [*content["data"][:2], content["data"][-1]]
    del content["schema"]
    for what, one in changed(content):
        file.write_text(json.dumps(one))
        said = survives(lambda: StudyTable.load(file).to_pandas())
        assert said is None or "run the study" in str(said), what


def test_a_damaged_ledger_names_file_and_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    failed = {"id": "b", "status": "failed", "error": "no"}
    lines = [json.dumps(failed), json.dumps(ENDED)]
    ledger.results.write_text("\n".join([*lines, ""]))
    assert ledger.rows() == {"a": ENDED, "b": failed}
    for key in ("id", "metrics", "compared", "ranks", "parameters", "cost", "status"):
        for one in ({**ENDED, key: -1.5}, {k: v for k, v in ENDED.items() if k != key}):
            ledger.results.write_text("\n".join([lines[0], json.dumps(one), ""]))
            with pytest.raises(InputError, match=r"results\.jsonl, line 2, .*that line"):
                ledger.rows()
    timed = {"job": "a", "seconds": 1.0, "allocation_seconds": 0.5, "peak_memory": 3}
    for what, one in changed(timed):
        ledger.timings.write_text(json.dumps(one) + "\n")
        said = survives(lambda: (ledger.took(), ledger.seconds()))
        assert said is None or "timings.jsonl, line 1" in str(said), what
    (tmp_path / "looks.json").write_text('[{"seeds": "all"}]')
    (tmp_path / "environment.json").write_text('{"Python": 3}')
    (tmp_path / "inputs.json").write_text("[]")
    for read in (
        ledger.looks,
        lambda: recorded(tmp_path),
        lambda: ledger.refuse_changed({}, None),
    ):
        assert "put back what stood there" in str(survives(read))


def test_scores_come_back_as_they_were_or_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    held = Scoring(torch.tensor([[0.1, 2e-7]], dtype=torch.float64), Spent(Cost(1, 2), 0.5, None))
    held.save(file)
    again = Scoring.load(file)
    assert torch.equal(again.scores, held.scores) and again.spent == held.spent
    for what, content in changed(json.loads(file.read_text())):
        file.write_text(json.dumps(content))
        said = survives(lambda: Scoring.load(file))
        assert said is None or "it is measured again" in str(said), what


@pytest.mark.parametrize("text", ["[" * 10**5, "1" * 10_000, '{"a": 1', "?", "\ufeff{}", "\udcff"])
def test_text_that_is_no_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes((text + "\n").encode("utf-8", "surrogateescape"))
    for read in (read_json, read_rows):
        with pytest.raises(InputError, match="put back what stood there"):
            read(tmp_path / "x.json", dict[str, float])
