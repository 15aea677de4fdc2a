"""Damage to the folder of a study is refused, and what the message says mends it."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from platform import node

import pytest

from autolora_meta import workflow
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.lock import LOCK, OWNER, Busy, locked
from autolora_meta.studies.ledger import STUDY, Ledger
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable
from tests.studies.stub_work import BASE, calls, study


def test_a_line_of_the_ledger_that_changed_costs_its_run_alone(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    whole = study(tmp_path).run(executor)
    results = Ledger(tmp_path).results
    kept = results.read_bytes().splitlines(keepends=True)
    run = json.loads(kept[2])["id"]
    calls.clear()
    for damaged in (kept[2].replace(b'"finished"', b'"failed"'), kept[2].replace(b"0.", b"1.")):
        results.write_bytes(b"".join([*kept[:2], damaged, *kept[3:]]))
        with pytest.raises(InputError, match=r"results\.jsonl, line 3, .*make that line empty"):
            study(tmp_path).run(executor)
    results.write_bytes(b"".join([*kept[:2], *kept[3:]]))
    with pytest.raises(InputError, match=r"results\.jsonl, line 3, .*put an empty one"):
        study(tmp_path).run(executor)
    assert not calls
    results.write_bytes(b"".join([*kept[:2], b"\n", *kept[3:]]))
    assert study(tmp_path).run(executor) == whole
    assert calls == {run: 1}


def test_a_damaged_table_is_written_again_from_the_ledger(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    whole = study(tmp_path).run(executor)
    table = tmp_path / "table.json"
    content = table.read_bytes()
    calls.clear()
    for damaged in (content.replace(b"0.2", b"0.9", 1), content[:-40], b""):
        table.write_bytes(damaged)
        with pytest.raises(InputError, match=r"table\.json is damaged.*run the study again"):
            StudyTable.load(tmp_path)
        assert study(tmp_path).run(executor) == whole == StudyTable.load(tmp_path)
        assert table.read_bytes() == content
    assert not calls


def test_what_a_study_remembers_of_its_past_is_not_forged(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    study(tmp_path).run(executor)
    for name, old, new in (("looks.json", "[0, 1]", "[0]"), ("inputs.json", "{}", '{"a": "b"}')):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text.replace(old, new))
        assert (tmp_path / name).read_text() != text
        with pytest.raises(InputError, match=rf"{name} is damaged"):
            study(tmp_path, seeds=range(3)).run(executor)
        (tmp_path / name).write_text(text)


def test_clocks_that_jump_and_locks_that_are_left_change_nothing(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    whole = study(tmp_path).run(executor)
    calls.clear()
    for stamp in (0, 2**33):  # 1970, and far from now
        # As after a reboot: the number of the process that left it is that of another one.
        (tmp_path / OWNER).write_text(json.dumps({"pid": os.getpid(), "host": node()}))
        (tmp_path / LOCK).touch()
        for file in tmp_path.rglob("*"):
            os.utime(file, (stamp, stamp))
        assert study(tmp_path).run(executor) == whole
    assert not calls


def test_summary_and_page_are_written_by_one_process_at_a_time(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, said = study(tmp_path), list[str]()
    table = mine.run(executor)

    def report(folder: Path, first: object) -> str:
        with pytest.raises(Busy):
            locked(folder, "").__enter__()
        return "words"

    monkeypatch.setattr(workflow, "report", report)
    assert workflow.complete(mine, say=said.append) == table
    assert said[-1].startswith("Everything is in")
    monkeypatch.setattr(Study, "run", lambda *given, **named: table)
    with locked(tmp_path, ""):  # by a process that came when the runs had ended
        assert workflow.complete(mine, say=said.append) == table
    assert "another process is working on" in said[-1] and "summary and page" in said[-1]


def test_the_study_of_a_run_is_known_by_its_configuration_too(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    config = RunConfig.load(BASE, "compare.replicates=2")
    whole = Study.of(config, tmp_path / "mine").run(executor)
    calls.clear()
    file = tmp_path / "mine" / STUDY
    text = file.read_text()
    for damaged in (text.replace("stub", "stab"), text[:100], "", None):
        file.unlink() if damaged is None else file.write_text(damaged)
        mine = Study.of(config, tmp_path / "mine")
        assert mine.goes_on() and mine.run(executor) == whole
        assert file.read_text() == text
    assert not calls
    other = RunConfig.load(BASE, "compare.replicates=2", "lora.k=2")
    file.write_text("")
    assert not Study.of(other, tmp_path / "mine").goes_on()


def test_two_studies_on_one_folder_keep_what_the_other_has_done(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    one = study(tmp_path, arms=["learned"]).run(executor)
    two = Study(BASE, vary={"lora.k": [8]}, arms=["uniform"], seeds=2, folder=tmp_path)
    assert {row["arm"] for row in two.run(executor).finished} == {"uniform"}
    assert two.beside() == len(one.finished)
    calls.clear()
    assert study(tmp_path, arms=["learned"]).run(executor) == one == StudyTable.load(tmp_path)
    assert not calls
