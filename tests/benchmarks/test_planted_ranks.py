"""The benchmark of planted ranks: its rows, its going on where it stopped, and its table."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from autolora_meta.pipeline.search_model import search_model
from autolora_meta.ranks.options import RankOptions
from autolora_meta.verification import planted_retrain
from autolora_meta.verification.planted import REGIMES, Regime
from benchmarks import planted_ranks, planted_table
from benchmarks.planted_ranks import DEFAULT, FULL, PAPER, Row, Setting, rows_of, run

REGIME = Regime("small", "three layers", ranks=(0, 2, 4), train_rows=64, validation_rows=128)
SHORT = {"outer_steps": 2, "warmup_steps": 1}
KEYS = ["regime", "seed", "arm", "method", "constraint", "importance", "rule", "default"]
SCORES = ["spearman", "mean_absolute_error", "excess_loss_ratio"]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Every setting of the shipped benchmark on one small problem, in a few steps each."""

    def shortly(*objects: Any, options: dict[str, Any], **settings: Any) -> Any:
        return search_model(*objects, options={**options, **SHORT}, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planted_ranks, "search_model", shortly)
        patch.setattr(planted_retrain, "STEPS", 5)
        return rows_of(REGIME, 3, (*DEFAULT, Setting("paper", PAPER)))


def test_every_row_says_what_was_run_and_how_well_it_did(rows: list[Row]) -> None:
    assert all(list(row) == [*KEYS, *SCORES] for row in rows)
    assert {(row["regime"], row["seed"]) for row in rows} == {("small", 3)}
    arms = {"learned", "components", "frozen", "plain", "random", "paper", "uniform"}
    assert {row["arm"] for row in rows} == arms
    for row in rows:
        assert -1 <= row["spearman"] <= 1 and row["mean_absolute_error"] >= 0
        assert row["excess_loss_ratio"] > 0
        assert json.loads(json.dumps(row)) == row
    told = [tuple(row[key] for key in planted_table.KEY) for row in rows]
    assert len(set(told)) == len(told)


def test_the_shipped_settings_are_one_row_of_each_problem(rows: list[Row]) -> None:
    (shipped,) = (row for row in rows if row["default"])
    assert (shipped["arm"], shipped["method"], shipped["constraint"]) == (
        "learned",
        "darts",
        "free",
    )
    options = RankOptions()
    assert (shipped["importance"], shipped["rule"]) == (options.importance, options.rule)


def test_arms_are_read_out_alike_where_they_can_be(rows: list[Row]) -> None:
    read = {
        arm: {(row["importance"], row["rule"]) for row in rows if row["arm"] == arm}
        for arm in ("learned", "frozen", "plain", "random", "paper", "uniform")
    }
    assert read["learned"] == read["random"] == read["paper"]
    # Gates that never moved have no order.
    assert (
        read["plain"]
        == read["frozen"]
        == {(i, rule) for i, rule in read["learned"] if i != "alpha"}
    )
    assert {("singular", "budget"), ("alpha", "paper")} <= read["learned"]
    (uniform,) = (row for row in rows if row["arm"] == "uniform")
    assert uniform["method"] is uniform["importance"] is None
    assert all(row["method"] is None for row in rows if row["arm"] in ("frozen", "random"))
    assert {row["constraint"] for row in rows if row["arm"] == "paper"} == {"softmax"}


def test_the_full_grid_holds_the_shipped_settings_once() -> None:
    assert set(s.arm for s in DEFAULT) < {s.arm for s in FULL}
    assert FULL.count(Setting("learned")) == 1
    asked = [(s.arm, json.dumps(s.options, sort_keys=True), s.selection) for s in FULL]
    assert len(set(asked)) == len(asked)


def test_problems_that_are_finished_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, int]] = []

    def noted(regime: Regime, seed: int, settings: Any) -> list[Row]:
        ran.append((regime.name, seed))
        return [{"regime": regime.name, "seed": seed} | setting.labels for setting in settings]

    monkeypatch.setattr(planted_ranks, "rows_of", noted)
    monkeypatch.setattr(planted_ranks, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    file, few, noisy = tmp_path / "rows.json", REGIMES["few"], REGIMES["noisy"]
    first = run([noisy], range(1), DEFAULT, file)
    assert ran == [("noisy", 0)] and json.loads(file.read_text()) == first
    rows = run([few, noisy], range(2), DEFAULT, file)
    assert sorted(ran[1:]) == [("few", 0), ("few", 1), ("noisy", 1)]
    expected = [(r, s) for r in ("few", "noisy") for s in (0, 1) for _ in DEFAULT]
    assert [(row["regime"], row["seed"]) for row in rows] == expected
    assert rows == json.loads(file.read_text()) and first[0] in rows
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.json"]


def scored(arm: str, seed: int, spearman: float, excess: float) -> Row:
    head = {"regime": "few", "seed": seed, "arm": arm, "constraint": "free", "rule": "budget"}
    head |= {"method": "darts" if arm == "learned" else None, "importance": "singular"}
    scores = {"spearman": spearman, "mean_absolute_error": 0.5, "excess_loss_ratio": excess}
    return head | {"default": arm == "learned"} | scores


def test_the_table_judges_means_and_pairs_seeds_with_frozen_gates() -> None:
    rows = [scored("learned", s, 0.90 + 0.04 * s, 1.02 + 0.1 * s) for s in (1, 0)]
    rows += [scored("frozen", s, 0.50 + 0.04 * s, 1.12 + 0.1 * s) for s in (0, 1)]
    verdicts = planted_table.verdicts(rows)
    assert any(v.startswith("holds  few: spearman 0.920") for v in verdicts)
    assert any(v.startswith("MISSED few: excess loss ratio 1.070") for v in verdicts)
    said = planted_table.summary(rows)
    assert "spearman of learned minus frozen +0.400 (+0.400 to +0.400, 2 seeds)" in said
    assert "excess loss ratio of learned minus frozen -0.100" in said
    assert all(verdict in said for verdict in verdicts)
    assert planted_table.against_frozen([row for row in rows if row["seed"] == 0]) == []
