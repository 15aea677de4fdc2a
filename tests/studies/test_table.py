"""What may be concluded from the table of a study."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from autolora_meta.errors import InputError
from autolora_meta.reporting.summary import summary
from autolora_meta.statistics.paired import holm, paired_difference
from autolora_meta.studies.options import StudyOptions
from autolora_meta.studies.questions import Primary, Question
from autolora_meta.studies.table import StudyTable

METHODS = ["darts", {"method": "cg"}, "first_order"]
RANDOM = np.random.default_rng(1)
NOISE = RANDOM.normal(0, 0.01, (len(METHODS), 2, 2, 12))
SPLIT = RANDOM.normal(0, 0.2, 12)  # what the arms of a seed share


def table(seeds: int = 5, failed: tuple[int, ...] = ()) -> StudyTable:
    """Methods x data x arms x seeds: cg is 0.1 better than darts, learned 0.05 than uniform."""
    rows: list[dict[str, Any]] = []
    for m, method in enumerate(METHODS):
        for d, data in enumerate(("cola", "rte")):
            for a, arm in enumerate(("learned", "uniform")):
                for seed in range(seeds):
                    value = 0.6 + 0.1 * (m == 1) - 0.05 * a + SPLIT[seed] + NOISE[m, d, a, seed]
                    row = {"settings": {"method": method, "data": data}, "arm": arm, "seed": seed}
                    row |= {"id": f"{m}{d}{a}{seed}", "status": "finished", "cost": 100.0 + 50 * m}
                    row |= {"metrics": {"accuracy": value, "cross_entropy": 1 - value}}
                    row |= {"compared": ["accuracy"], "parameters": 400 if m < 2 else 300}
                    row |= {"pattern": f"{m}{a}"}
                    broken = m == 1 and seed in failed
                    lost = {"status": "failed", "error": "InputError: no"}
                    rows.append({k: row[k] for k in list(row)[:4]} | lost if broken else row)
    return StudyTable("mine", ("method", "data", "arm"), tuple(json.loads(json.dumps(rows))))


def test_each_value_is_held_against_the_baseline_with_all_else_equal() -> None:
    contrasts = table().compare("method", baseline="darts")
    assert len(contrasts) == 2 * 2 * 2
    assert {c.family for c in contrasts} == {8}
    first = contrasts[0]
    assert (first.value, first.where) == ({"method": "cg"}, {"data": "cola", "arm": "learned"})
    a = 0.7 + SPLIT[:5] + NOISE[1, 0, 0, :5]
    b = 0.6 + SPLIT[:5] + NOISE[0, 0, 0, :5]
    assert first.difference == paired_difference(list(a), list(b))
    assert first.difference.effect == pytest.approx(np.mean(a - b) / np.std(a - b, ddof=1))
    assert first.cost == (150, 100) and first.parameters == (400, 400)
    assert [c.p_holm for c in contrasts] == holm([c.difference.p_test for c in contrasts])
    assert first.sentence.startswith("data cola, learned: cg beats darts by ")
    assert "points of test accuracy (95% interval " in first.sentence
    assert f", 5 replicates, p = {first.p_holm:.2g} corrected)" in first.sentence
    plain = contrasts[1].sentence if contrasts[1].value == "first_order" else contrasts[4].sentence
    assert "300 parameters against 400" in plain


def test_over_averages_within_each_seed_and_a_seed_stays_one_replicate() -> None:
    (contrast,) = [
        c
        for c in table().compare("arm", baseline="uniform", over=["data"])
        if c.where["method"] == "darts"
    ]
    assert contrast.difference.n == 5 and contrast.where == {"method": "darts"}
    expected = 0.05 + (NOISE[0, :, 0, :5] - NOISE[0, :, 1, :5]).mean(0)
    assert contrast.difference.mean == pytest.approx(expected.mean())
    lower = table().compare("arm", baseline="uniform", metric="cross_entropy")[0]
    assert lower.difference.mean < 0 and "learned beats uniform" in lower.sentence


def test_a_number_stands_in_a_sentence_with_its_key() -> None:
    rows = [
        {**row, "settings": {"lora.k": 2 if row["settings"]["data"] == "cola" else 4}}
        for row in table().rows
        if row["settings"]["method"] == "darts"
    ]
    (first, _) = StudyTable("mine", ("lora.k", "arm"), tuple(rows)).compare("lora.k", baseline=2)
    assert "No difference between lora.k 4 and lora.k 2 is shown (" in first.sentence


def test_a_setting_that_does_not_reach_an_arm_asks_nothing_twice() -> None:
    whole = table()
    one = {row["seed"]: row for row in whole.rows if row["arm"] == "uniform"}
    kept = ("id", "metrics", "cost", "parameters")  # the same run of `uniform`, whatever is varied
    rows = tuple(
        row | ({key: one[row["seed"]][key] for key in kept} if row["arm"] == "uniform" else {})
        for row in whole.rows
    )
    contrasts = replace(whole, rows=rows).compare("method", baseline="darts")
    assert [c.where["arm"] for c in contrasts] == ["learned"] * 4
    assert {c.family for c in contrasts} == {4}
    again = replace(whole, rows=rows).compare("arm", baseline="uniform")
    assert len(again) == 3 * 2  # each method and data set of `learned` is a question of its own
    uniform = tuple(row for row in rows if row["arm"] == "uniform")
    twins = tuple(row | {"arm": "other"} for row in uniform)
    assert replace(whole, rows=uniform + twins).compare("arm", baseline="uniform") == []


def test_equal_ranks_are_said_to_be_and_not_counted() -> None:
    whole = table()
    same = ("pattern", "metrics")
    darts = {(r["settings"]["data"], r["arm"], r["seed"]): r for r in whole.rows[:20]}
    rows = tuple(
        row | {key: darts[row["settings"]["data"], row["arm"], row["seed"]][key] for key in same}
        if row["settings"]["method"] == {"method": "cg"}
        else row
        for row in whole.rows
    )
    contrasts = replace(whole, rows=rows).compare("method", baseline="darts")
    equal, other = contrasts[0], next(c for c in contrasts if c.value == "first_order")
    assert equal.sentence.endswith("cg and darts are the same ranks here, with the same results")
    assert equal.p_holm == 1.0 and not equal.holds and equal.difference.mean == 0.0
    assert {c.family for c in contrasts} == {4} and len(contrasts) == 8
    tested = [c.difference.p_test for c in contrasts if c.value == "first_order"]
    assert other.p_holm == holm(tested)[0]
    longer = tuple(  # the same ranks, trained otherwise, are another result
        row | {"metrics": row["metrics"] | {"cross_entropy": 0.0}} if row["id"][0] == "1" else row
        for row in rows
    )
    assert {c.family for c in replace(whole, rows=longer).compare("method", baseline="darts")} == {
        8
    }


def test_a_seed_without_its_partner_is_left_out_and_said() -> None:
    partly = table(failed=(1,))
    contrast = partly.compare("method", baseline="darts")[0]
    assert (contrast.missing, contrast.difference.n) == ((1,), 4)
    assert contrast.sentence.endswith("left out, not finished: seed 1")
    none = table(failed=tuple(range(5)))
    assert {c.value for c in none.compare("method", baseline="darts")} == {"first_order"}
    with pytest.raises(InputError, match=r"no run of study mine has finished; .*InputError: no"):
        StudyTable("mine", ("arm",), tuple(none.failed)).compare("arm", baseline="uniform")


def test_two_seeds_allow_no_claim_and_twelve_have_a_t_interval() -> None:
    few = table(seeds=2).compare("arm", baseline="uniform")
    assert all("no claim: " in c.sentence and "beats" not in c.sentence for c in few)
    many = table(seeds=12).compare("arm", baseline="uniform")[0].difference
    half = 2.200985 * many.sd / math.sqrt(12)  # t(0.975, 11)
    assert (many.low, many.high) == pytest.approx((many.mean - half, many.mean + half))
    assert many.p_test < 2 / 2**12  # a sign-flip test could not be as sure


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"key": "metod", "baseline": "darts"}, "did you mean 'method'"),
        ({"key": "method", "baseline": "sama"}, "sama is no value of method; allowed: darts"),
        ({"key": "arm", "baseline": "uniform", "metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"key": "arm", "baseline": "uniform", "over": ["date"]}, "did you mean 'data'"),
    ],
)
def test_what_is_not_in_the_table_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        table().compare(**asked)


def test_tasks_of_different_metrics_are_compared_by_those_that_they_share() -> None:
    whole = table()
    of_rte = ("f1", "accuracy", "cross_entropy")
    rows = tuple(
        row | {"metrics": row["metrics"] | {"f1": 0.5}, "compared": list(of_rte)}
        if row["settings"]["data"] == "rte"
        else row
        for row in whole.rows
    )
    mixed = replace(whole, rows=rows)
    assert mixed.metrics == ["accuracy", "cross_entropy"]
    assert "| cola " in summary(mixed)
    assert mixed.compare("arm", baseline="uniform")[0].metric == "accuracy"
    with pytest.raises(InputError, match="unknown metric"):
        mixed.compare("arm", baseline="uniform", metric="f1")
    alone = tuple(
        row | {"metrics": {"f1": 0.5}} if row["settings"]["data"] == "rte" else row
        for row in mixed.rows
    )
    with pytest.raises(InputError, match=r"share none of the metrics.*a study of its own"):
        _ = replace(whole, rows=alone).metrics


def test_the_table_is_kept_and_becomes_a_data_frame(tmp_path: Path) -> None:
    asked = (Question(key="method", baseline="darts", over=("data",)),)
    held = replace(table(failed=(0,)), asked=asked, primary=Primary(), question="Which?")
    held.save(tmp_path / "table.json")
    text = (tmp_path / "table.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert StudyTable.load(tmp_path) == held
    frame, read = held.to_pandas(), pandas.read_json(tmp_path / "table.json", orient="table")
    assert list(frame.columns) == list(read.columns)
    assert list(frame.columns[:8]) == [
        *("run", "method", "data", "arm", "seed", "status", "metric", "value")
    ]
    assert len(frame) == len(read) == 56 * 2 + 4 and frame["value"].isna().sum() == 4
    told = {field["name"] for field in json.loads(text)["schema"]["fields"]}
    assert told == set(frame.columns)
    first = frame[(frame.metric == "accuracy") & (frame.arm == "learned")].iloc[0]
    assert first["value"] == held.rows[0]["metrics"]["accuracy"] and first["compared"]
    for content in ("{", "[]", "{}", '{"data": []}'):
        (tmp_path / "table.json").write_text(content)
        with pytest.raises(InputError, match="is no table of a study"):
            StudyTable.load(tmp_path)


def test_the_summary_answers_and_says_what_failed() -> None:
    options = StudyOptions.model_validate(
        {
            "name": "mine",
            "question": "Which?",
            "base": "quickstart",
            "vary": {"method": METHODS, "data": ["cola", "rte"]},
            "arms": ["learned", "uniform"],
            "contrasts": [{"key": "method", "baseline": "darts", "over": ["data"]}],
        }
    )
    about = {"asked": options.asked(), "primary": options.primary(), "question": options.question}
    words = summary(replace(table(failed=(2,)), **about))
    assert words.startswith("# mine\n\nWhich?\n\n| method ")
    named = "Primary comparison, named before the run: method against darts in test accuracy"
    assert f"\n\n{named}, corrected together for their number (4, by Holm):\n\n" in words
    assert "\n- learned: cg beats darts by " in words
    assert words.count("InputError: no") == 4 and "--retry-failed" in words
    assert "does not look at its input" not in words
    rows = tuple(
        row | {"blind": row["arm"] == "learned" and row["seed"] < 2} for row in table().rows
    )
    told = summary(replace(table(), rows=rows))
    assert "does not look at its input: learned 12 of 30. Next to nothing" in told
    follow = options.model_copy(update={"contrasts": ()}).asked()
    assert [(c.key, c.baseline) for c in follow] == [
        ("method", "darts"),
        ("data", "cola"),
        ("arm", "uniform"),
    ]
