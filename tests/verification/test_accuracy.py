"""What verify measures: rows against closed forms, targets that can be missed, faults that show."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from autolora_meta.cli.main import app
from autolora_meta.config.run import RunConfig
from autolora_meta.hypergradients.exact import dense_hessian
from autolora_meta.hypergradients.methods import METHODS
from autolora_meta.reporting.accuracy import accuracy_against_cost, accuracy_table
from autolora_meta.verification.accuracy import verify
from autolora_meta.verification.accuracy_targets import TARGETS, verdicts
from autolora_meta.verification.betty_rows import betty_accuracy
from autolora_meta.verification.case import DEFAULTS, Case
from autolora_meta.verification.measure import AccuracyRow, accuracy, relative_error
from autolora_meta.verification.model import model_case, under_bf16
from autolora_meta.verification.quadratic import quadratic
from autolora_meta.verification.reference import implicit_reference
from autolora_meta.verification.ridge import ridge
from autolora_meta.verification.transformer import transformer
from tests.tiny import tiny_bert, tiny_csv


def by_method(rows: list[AccuracyRow]) -> dict[tuple[str, str | None], AccuracyRow]:
    return {(row.method, row.difference): row for row in rows}


@pytest.fixture(scope="module")
def small() -> list[AccuracyRow]:
    """The rows of ridge and of both quadratics."""
    cases = [ridge()[0], quadratic(10.0), quadratic(1e3)]
    return [row for case in cases for row in [*accuracy(case), *betty_accuracy(case)]]


def test_the_undamped_reference_of_ridge_is_its_closed_form():
    case, closed = ridge()
    assert case.exact is not None
    assert relative_error(case.exact, [closed]) < 1e-12


def test_the_quadratic_has_the_condition_asked_for():
    case = quadratic(1e3)
    values = torch.linalg.eigvalsh(dense_hessian(lambda: case.inner(case.params), case.params))
    assert float(values[-1] / values[0]) == pytest.approx(1e3)


def test_all_methods_are_measured_everywhere(small):
    for problem in ("ridge", "quadratic"):
        measured = {row.method for row in small if row.problem == problem}
        assert measured >= {*METHODS, "betty-darts", "betty-neumann", "betty-cg"}


def test_every_float64_target_that_the_rows_are_about_holds(small):
    sentences = verdicts(small)
    assert len(sentences) == 5
    assert all(sentence.startswith("holds") for sentence in sentences)


def test_methods_of_the_optimum_close_the_gap_and_one_step_methods_do_not(small):
    rows = by_method([row for row in small if row.problem == "ridge"])
    gaps = {method: row.gap or 0.0 for (method, _), row in rows.items()}
    assert gaps["cg"] < 1e-10 and gaps["neumann"] < 1e-10
    assert gaps["darts"] > 0.1 and gaps["first_order"] == 1.0


def test_the_faults_of_bettys_cg_and_neumann_show(small):
    ridges = by_method([row for row in small if row.problem == "ridge"])
    assert ridges["cg", None].relative_error < 1e-10 < 0.1 < ridges["betty-cg", None].relative_error
    assert ridges["betty-neumann", None].relative_error > 100


def test_a_worse_row_misses_its_target(small):
    worse = [replace(r, relative_error=1e-3) if r.method == "cg" else r for r in small]
    missed = [sentence for sentence in verdicts(worse) if sentence.startswith("MISSED")]
    assert len(missed) == 1 and "cg" in missed[0] and "1.0e-03" in missed[0]


def test_neumann_that_does_not_fall_is_missed(small):
    rows = [r for r in small if r.method == "neumann" and r.condition == 10.0]
    assert verdicts(rows)[0].startswith("holds")
    flat = [replace(row, relative_error=0.5) for row in rows]
    assert verdicts(flat)[0].startswith("MISSED")


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_transformer_with_replayed_masks_is_as_exact_as_one_without(dropout):
    cheap = ("darts", {"method": "darts", "scheme": "forward"}, "one_step", "sama", "unrolled")
    with transformer(dropout) as case:
        chosen = replace(case, methods=cheap, dense=False)
        rows = by_method([*accuracy(chosen), *betty_accuracy(chosen, ("darts",))])
    assert rows["darts", "central"].relative_error < 1e-6
    assert rows["darts", "forward"].relative_error < 1e-4
    assert rows["sama", "central"].relative_error < 1e-6
    assert rows["one_step", None].relative_error < 1e-9
    assert rows["unrolled", None].relative_error < 1e-9
    # New masks on each side: fine without dropout, noise with it.
    assert (rows["betty-darts", "central"].relative_error > 0.1) == (dropout > 0)


def test_the_tight_solve_is_the_dense_one():
    with transformer(0.1) as case:
        dense = implicit_reference(case, 30.0)
        solved = implicit_reference(replace(case, dense=False, known={}), 30.0)
    assert relative_error(solved, dense) < 1e-5


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> RunConfig:
    folder = tmp_path_factory.mktemp("person")
    return RunConfig.load(
        {
            "name": "mine",
            "model": {"name": str(tiny_bert(folder / "model"))},
            "data": {
                "source": str(tiny_csv(folder / "rows.csv")),
                "text": "text",
                "label": "label",
            },
            "task": {"max_length": 16},
            "lora": {"k": 2},
            "search": {"batch_size": 8, "outer_batch_size": 8},
        }
    )


@pytest.fixture(scope="module")
def model_rows(config) -> list[AccuracyRow]:
    with model_case(config, warmup=3) as case:
        float32: Case = case
        return [*accuracy(float32), *accuracy(under_bf16(float32))]


def test_a_persons_model_meets_the_targets_in_train_mode_with_dropout(model_rows):
    assert {row.dropout for row in model_rows} == {0.1}
    assert len(model_rows) == 2 * len(DEFAULTS)
    sentences = verdicts(model_rows)
    assert len(sentences) == 4
    assert all(sentence.startswith("holds") for sentence in sentences), sentences


def test_a_centre_from_a_bf16_pass_is_not_reused(model_rows):
    forward = [row for row in model_rows if row.difference == "forward"]
    assert [row.cost.forwards for row in forward] == [1, 2]


def test_the_persons_model_is_measured_twice_the_same(config, model_rows):
    with model_case(config, warmup=3) as case:
        again = list(accuracy(replace(case, methods=("darts",))))
    assert again[0].relative_error == model_rows[1].relative_error


def test_the_table_says_how_far_and_at_what_cost(small):
    lines = accuracy_table(small).splitlines()
    assert len(lines) == len(small) + 2
    (line,) = [x for x in lines if "condition 10 " in x and "| cg " in x]
    assert "iterations 20, damping 0.0" in line and "1 + 1 + 21" in line


def test_the_figure_has_a_panel_a_problem_and_tells_betty_apart(small):
    figure = accuracy_against_cost(small)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "ridge",
        "quadratic, condition 10",
        "quadratic, condition 1000",
    ]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"darts", "darts, forward", "betty-cg"} <= set(labels)


def test_the_command_writes_rows_and_figure(tmp_path, monkeypatch, small):
    monkeypatch.setattr("autolora_meta.verification.accuracy.verify", lambda config, say: small)
    done = CliRunner().invoke(app, ["verify", "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "holds  float64, central differences" in done.output
    rows = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert len(rows) == len(small)
    assert rows[0]["cost"] == {"forwards": 0, "backwards": 0, "double_backwards": 0}
    assert (tmp_path / "out" / "accuracy.png").stat().st_size > 10_000
    again = CliRunner().invoke(app, ["verify", "--output", str(tmp_path / "out")])
    assert again.exit_code == 2 and "exists" in again.output


def test_a_configuration_without_model_is_refused():
    done = CliRunner().invoke(app, ["verify", "quickstart"])
    assert done.exit_code == 2 and "add --model" in done.output


def test_verify_goes_through_the_small_problems(monkeypatch):
    """With the transformer, whose dense matrices take seconds, left to its own test."""
    monkeypatch.setattr("autolora_meta.verification.accuracy.DROPOUTS", ())
    said: list[str] = []
    rows = verify(say=said.append)
    assert len(said) == 3 and {row.problem for row in rows} == {"ridge", "quadratic"}
    assert all(target.words for target in TARGETS)
