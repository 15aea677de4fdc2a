"""Runs that are retrained in one pass: which ones, how many at a time, and what comes of them."""

import errno
import json
import logging
import multiprocessing
import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning import stacked_retrain, stacked_saving
from autolora_meta.foundation.progress import Silent
from autolora_meta.reporting.tuned import picked as picked_of
from autolora_meta.studies import stack_trial, stacks, work
from autolora_meta.studies.chosen import Chosen
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.saved import checkpoints_of_stack
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable
from tests.end_to_end import contents, tiny_setting
from tests.studies.stub_work import BASE, calls
from tests.tiny import tiny_bert

Sizes = dict[tuple[str, int, int], int | None]


def sizes(table: StudyTable) -> Sizes:
    """Arm, k and seed of each run -> how many adapters were trained in its pass."""
    return {
        (row["arm"], row["settings"]["lora.k"], row["seed"]): row.get("stack")
        for row in table.finished
    }


# -- with work that takes no time: who shares a pass with whom ------------------------------------


def stacked(folder: Path, stack: object, **changes: Any) -> Study:
    base = BASE | {"runtime": {"stack": stack}}
    given = {"vary": {"lora.k": [2, 4]}, "arms": ["uniform", "random"], "seeds": 3} | changes
    return Study(base, folder=folder, **given)


def test_runs_that_differ_in_arm_seed_and_k_are_retrained_together(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    together = sizes(stacked(tmp_path / "4", 4).run(executor))
    assert len(together) == 12 and set(together.values()) == {4}
    assert set(sizes(stacked(tmp_path / "off", "off").run(executor)).values()) == {None}
    assert set(sizes(stacked(tmp_path / "no", False).run(executor)).values()) == {None}
    vary = {"lora.k": [2, 4], "task.max_length": [8, 16]}
    apart = stacked(tmp_path / "lengths", 99, vary=vary).run(executor)
    assert [row["stack"] for row in apart.finished] == [12] * 24
    grouped = stacked(tmp_path / "grouped", 9, vary={"retrain.group_by_length": [True, False]})
    by_length = [row.get("stack") for row in grouped.run(executor).finished]
    assert by_length == [None] * 6 + [6] * 6


def test_the_run_that_leaves_an_adapter_is_retrained_by_stock_tools(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[object] = []

    def alone(*given: Any) -> dict[str, Any]:
        kept.append(given[7])
        return work.retrain_together([given[:7]])[0]  # type: ignore[return-value]

    monkeypatch.setattr(work, "retrain_once", alone)
    config = RunConfig.load(BASE, "runtime.stack=9", "compare.arms=[learned, uniform]")
    table = Study.of(config, tmp_path).run(executor, keep=print)  # type: ignore[arg-type]
    assert kept == [print]
    assert Counter(row["stack"] for row in table.finished) == {9: 9, 1: 1}


def test_searches_share_passes_of_their_own(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    arms = ["learned", "frozen", "random_gates"]
    vary = {"lora.k": [2], "search.hypergradient": ["darts", "cg"], "ranks.budget": [9, 18]}
    stacked(tmp_path / "3", 3, arms=arms, vary=vary).run(executor)
    # Three replicates of each kind of gates and method; both budgets read them. cg runs alone.
    searches = {name: count for name, count in calls.items() if "search" in name}
    assert searches.pop("3 searches together") == 5
    assert len(searches) == 18 and set(searches.values()) == {1}
    calls.clear()
    stacked(tmp_path / "off", "off", arms=arms, vary=vary).run(executor)
    assert len([name for name in calls if name.startswith("search ")]) == 18
    assert not [name for name in calls if "together" in name]


def test_a_trial_decides_once_for_a_large_study(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[int, int]] = []

    def trial(config: RunConfig, seed: int, most: int) -> tuple[int, str]:
        tried.append((config.lora.k, most))
        return 3, "3 adapters at a time"

    monkeypatch.setattr(work, "try_stack", trial)
    said: list[str] = []
    small = stacked(tmp_path / "small", "auto", seeds=1)
    assert set(sizes(small.run(executor, say=said.append)).values()) == {None} and not tried
    large = stacked(tmp_path / "large", "auto")  # 12 runs of 300 steps
    assert set(sizes(large.run(executor, say=said.append)).values()) == {3}
    assert (tried, said) == ([(4, 8)], ["3 adapters at a time"])
    monkeypatch.setattr(work, "try_stack", None)
    more = stacked(tmp_path / "large", "auto", seeds=4).run(executor)
    assert len(more.finished) == 16 and not more.failed
    assert list(json.loads((tmp_path / "large" / "stacks.json").read_text()).values()) == [3]


def test_a_trial_that_fails_costs_nothing_but_the_stack(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trial(config: RunConfig, seed: int, most: int) -> tuple[int, str]:
        raise InputError("no such model")

    monkeypatch.setattr(work, "try_stack", trial)
    said: list[str] = []
    table = stacked(tmp_path, "auto").run(executor, say=said.append)
    assert said == ["one adapter at a time: InputError: no such model"]
    assert len(table.finished) == 12 and set(sizes(table).values()) == {None}


def test_the_runs_of_a_pass_are_recorded_together(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    append = Ledger.append

    def counting(ledger: Ledger, *rows: Any) -> None:
        written.append(len(rows))
        append(ledger, *rows)

    monkeypatch.setattr(Ledger, "append", counting)
    stacked(tmp_path, 5).run(executor)
    assert written == [4, 4, 4]
    assert len(Ledger(tmp_path).rows()) == 12


def test_a_stack_that_was_saved_is_known_by_its_runs(tmp_path: Path) -> None:
    mine = stacked(tmp_path, 4)
    first, second, third, *_ = mine.planned
    ledger = Ledger(tmp_path)
    saved = checkpoints_of_stack([tmp_path / "runs" / run.id for run in (first, second)])
    assert not ledger.begun()  # it was not saved yet
    (saved / "step-00000004-x.safetensors").touch()
    assert ledger.begun() == {first.id, second.id} and mine.begun() == 2
    (tmp_path / "runs" / first.id).mkdir(parents=True)
    ledger.sweep()
    assert saved.is_dir()
    ledger.forget([third.id])
    assert saved.is_dir()
    (tmp_path / "runs" / second.id).mkdir()
    ledger.sweep()  # all of its runs have ended
    assert not saved.exists()
    saved = checkpoints_of_stack([tmp_path / "runs" / run.id for run in (second, third)])
    ledger.forget([third.id])
    assert not saved.exists()


# -- with a tiny model: what comes of them --------------------------------------------------------


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A configuration without dropout, and real work."""
    monkeypatch.undo()
    tiny = tiny_setting(tmp_path / "setting")
    tiny_bert(tiny.model, dropout=0.0)
    return [str(tiny.config), "search.outer_steps=1", "search.warmup_steps=1", "retrain.steps=6"]


def run(folder: Path, *base: Any, **changes: Any) -> StudyTable:
    given = {"arms": ["uniform", "random"], "seeds": 2, "vary": {"lora.k": [2, 3]}} | changes
    with ThreadPoolExecutor(1) as one:
        return Study(list(base), folder=folder, name="tiny", **given).run(one, progress=Silent())


def test_runs_in_one_pass_end_where_each_ends_alone(tmp_path: Path, base: list[Any]) -> None:
    given = {"arms": ["learned", "uniform"], "vary": {"lora.k": [3]}}
    alone = run(tmp_path / "off", *base, "runtime.stack=off", **given)
    together = run(tmp_path / "4", *base, "runtime.stack=4", **given)
    assert not together.failed and set(sizes(together).values()) == {4}
    assert set(sizes(alone).values()) == {1}
    for one, other in zip(alone.rows, together.rows, strict=True):
        assert one["metrics"] == pytest.approx(other["metrics"], abs=1e-6)
        kept = ("id", "pattern", "cost", "parameters", "compared")
        assert [one[key] for key in kept] == [other[key] for key in kept]
    ours, theirs = (contents(tmp_path / name / "runs") for name in ("4", "off"))
    assert ours.keys() == theirs.keys()
    for name in ours:
        if name.endswith(("ranks.json", "search.json")):
            assert ours[name] == theirs[name]
    assert not [*(tmp_path / "4" / "checkpoints").iterdir()]


def test_each_run_picks_its_own_rate_before_all_are_retrained_in_one_pass(
    tmp_path: Path, base: list[Any]
) -> None:
    rates = {"retrain.learning_rate": [1e-9, 0.02]}
    tuned = {"compare": {"tune": rates, "replicates": 2}}
    given = {"arms": ["uniform"], "vary": {}}
    together = run(tmp_path / "4", *base, tuned, "runtime.stack=4", **given)
    plain = run(tmp_path / "plain", *base, "runtime.stack=off", **given)
    assert [row["stack"] for row in together.finished] == [2, 2]
    for row, other in zip(together.finished, plain.finished, strict=True):
        assert row["id"] != other["id"]
        # 2 points, each on 4 folds of 6 steps, and their scoring
        assert row["cost"] - other["cost"] > 2 * 4 * 6
        left = tmp_path / "4" / "runs" / row["id"]
        said = json.loads((left / str(row["seed"]) / "uniform" / "result.json").read_text())
        picked = said["tuned"]["retrain.learning_rate"]
        assert picked in rates["retrain.learning_rate"]
        assert RunConfig.load(left / "config.yaml").retrain.learning_rate == picked
        assert row["tuned"] == f"retrain.learning_rate={picked:g}"
    assert StudyTable.load(tmp_path / "4") == together
    (line,) = {line for line in picked_of(together) if "uniform picked" in line}
    assert line.endswith("of 2 runs (compare.tune)")
    assert picked_of(plain) == []


def test_a_run_whose_loss_is_no_number_fails_alone(tmp_path: Path, base: list[Any]) -> None:
    wild = {"retrain": {"learning_rate": 1e30, "weight_decay": 1e30, "warmup": 0.0}}
    given = {"vary": {}, "variants": {"tame": [], "wild": [wild]}, "arms": ["uniform"]}
    table = run(tmp_path / "study", *base, "runtime.stack=9", **given)
    assert [row["stack"] for row in table.finished] == [4, 4]
    for row in table.failed:
        assert row["settings"]["variant"] == "wild" and "the retraining is nan" in row["error"]
        assert not (tmp_path / "study" / "runs" / row["id"]).exists()


def test_runs_that_no_pass_can_serve_are_retrained_one_at_a_time(
    tmp_path: Path,
    base: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise InputError("rows of a batch see each other")

    monkeypatch.setattr(stacked_retrain, "refuse_mixed_rows", refuse)
    with caplog.at_level(logging.WARNING):
        table = run(tmp_path / "study", *base, "runtime.stack=9", arms=["random"], seeds=1)
    assert "2 adapters are retrained one at a time: rows of a batch see each other" in caplog.text
    assert set(sizes(table).values()) == {1} and not table.failed
    assert table == run(tmp_path / "off", *base, "runtime.stack=off", arms=["random"], seeds=1)


def killed_run(folder: Path, base: list[Any], saves: int) -> None:
    """Kills its own process, as kill -9 does, when its stack is saved so often."""
    between, left = stacked_saving.Saving.between, [saves]

    def deadly(*given: Any) -> None:
        between(*given)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    stacked_saving.Saving.between = deadly  # type: ignore[method-assign]
    run(folder, *base)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_study_that_is_killed_in_a_pass_goes_on_to_the_same_bytes(
    tmp_path: Path, base: list[Any]
) -> None:
    base += ["lora.dropout=0.3", "runtime.stack=4", "runtime.checkpoint_steps=2"]
    run(tmp_path / "whole", *base)
    arguments = (tmp_path / "killed", base, 6 + 4)  # in the middle of the second pass
    child = multiprocessing.get_context("fork").Process(target=killed_run, args=arguments)
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    ledger = Ledger(tmp_path / "killed")
    assert (len(ledger.rows()), len(ledger.begun())) == (4, 4)
    run(tmp_path / "killed", *base)
    for name in ("table.json", "results.jsonl"):
        killed, whole = (tmp_path / each / name for each in ("killed", "whole"))
        assert killed.read_bytes() == whole.read_bytes()
    assert not ledger.begun()


def test_what_a_trial_of_the_model_says_is_done(
    tmp_path: Path, base: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "SMALL", 8)
    for times, size in ((1.3, 8), (1.2, 1)):
        monkeypatch.setattr(stack_trial, "times_as_fast", lambda *given, found=times: found)
        table = run(tmp_path / f"{size}", *base)
        assert set(sizes(table).values()) == {size}


def test_runs_of_a_pass_that_cannot_begin_fail_each_for_its_own_reason(
    tmp_path: Path, base: list[Any]
) -> None:
    table = run(tmp_path / "study", *base, f"model.name={tmp_path / 'gone'}", "runtime.stack=4")
    assert len(table.failed) == 8 and all("gone" in row["error"] for row in table.failed)


def test_a_disk_that_fills_when_a_pass_has_ended_leaves_its_checkpoint(
    tmp_path: Path, base: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = Chosen.leave
    saved = (*base, "runtime.stack=4", "runtime.checkpoint_steps=3")

    def full(chosen: Chosen, result: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Chosen, "leave", full)
    with pytest.raises(InputError, match="No space left"):
        run(tmp_path / "study", *saved)
    assert [*(tmp_path / "study" / "checkpoints").glob("stack-*/*.safetensors")]
    monkeypatch.setattr(Chosen, "leave", leave)
    said: list[str] = []
    monkeypatch.setattr(stacked_saving, "tell_elsewhere", lambda *given: said.append("goes on"))
    assert not run(tmp_path / "study", *saved).failed and said
