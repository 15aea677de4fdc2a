"""Paid checks of a hypergradient, and the warnings that rows of a search give rise to."""

import logging
import random

import numpy as np
import pytest
import torch

from autolora_meta.bilevel.watch import Watch
from autolora_meta.foundation.cost import Cost
from tests.bilevel import program as programs
from tests.bilevel.program import program

OPTIONS = {"outer_steps": 4, "warmup_steps": 1}


@pytest.mark.parametrize("schedule", ["look_ahead", "alternating"])
@pytest.mark.parametrize("method", ["darts", "cg", "unrolled", "first_order"])
def test_examinations_come_every_so_often_and_change_nothing(method, schedule):
    ends, costs = [], []
    for every in (0, 2):
        options = OPTIONS | {"hypergradient": method, "schedule": schedule}
        with program(0.3, diagnostics_every=every, **options) as (_, gates, engine):
            engine.run()
            ends.append(gates.logits.detach().clone())
            costs.append(engine.cost)
            examined = [row["outer_step"] for row in engine.course.rows if "replay_error" in row]
            assert examined == ([2, 4] if every else [])
            assert all(
                row["replay_error"] == 0.0 for row in engine.course.rows if "replay_error" in row
            )
            if every:
                assert engine.diagnostics_cost.forwards >= 4
    assert torch.equal(*ends)
    assert costs[0] == costs[1]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_agreement_under_other_masks_is_perfect_only_without_dropout(dropout):
    with program(dropout, diagnostics_every=1, **OPTIONS) as (*_, engine):
        engine.run()
        agreements = [row["mask_agreement"] for row in engine.course.rows]
    if dropout:
        assert all(agreement < 0.999 for agreement in agreements)
    else:
        assert agreements == pytest.approx([1.0] * 4, abs=1e-6)


@pytest.mark.parametrize(("columns", "low", "high"), [(339, 0.0, 1e-9), (5, 1e-3, 1.0)])
def test_nystrom_pays_to_know_its_residual(columns, low, high):
    """All 339 columns are exact; a few are not, which its own record cannot tell."""
    method = {"method": "nystrom", "columns": columns, "rho": 30.0}
    with program(hypergradient=method, diagnostics_every=4, **OPTIONS) as (*_, engine):
        engine.run()
        assert low <= engine.course.rows[-1]["paid_residual"] <= high


def test_darts_pays_four_passes_for_an_examination_and_two_forwards_at_the_start():
    with program(diagnostics_every=4, **OPTIONS) as (*_, engine):
        engine.run()
        assert engine.diagnostics_cost == Cost(6, 4)


@pytest.mark.parametrize("draw", [lambda: np.random.normal(), lambda: random.gauss(0.0, 1.0)])
def test_noise_of_numpy_and_python_is_replayed(draw, monkeypatch, caplog):
    def noisy(model, batch):
        return model(**batch).loss * float(1 + 0.1 * draw())

    monkeypatch.setattr(programs, "loss", noisy)
    with caplog.at_level(logging.WARNING, "autolora_meta"):  # noqa: SIM117
        with program(diagnostics_every=1, **OPTIONS) as (*_, engine):
            engine.run()
    assert all(row["replay_error"] == 0.0 for row in engine.course.rows if "replay_error" in row)
    assert not caplog.records


@pytest.mark.parametrize("every", [0, 1])
def test_noise_from_a_generator_of_its_own_is_found_and_told(every, monkeypatch, caplog):
    draw = np.random.default_rng(0)

    def noisy(model, batch):
        return model(**batch).loss * float(1 + 0.1 * draw.standard_normal())

    monkeypatch.setattr(programs, "loss", noisy)
    with caplog.at_level(logging.WARNING, "autolora_meta"):  # noqa: SIM117
        with program(diagnostics_every=every, **OPTIONS) as (*_, engine):
            engine.run()
    told = [record.message for record in caplog.records]
    assert "draws from a generator of its own" in told[0]
    if every:
        assert engine.course.rows[0]["replay_error"] > 1e-3
        assert "hypergradient=one_step" in told[1]
    assert len(told) == 1 + every


def look(caplog, constraint, entropy, moved, step) -> list[str]:
    watch = Watch(constraint, 0.05)
    gates = torch.ones(2, 4)
    with caplog.at_level(logging.WARNING, "autolora_meta"):
        for _ in range(2):
            watch.look({"outer_step": step, "gate_entropy": entropy}, [gates, gates + moved])
    return [record.message for record in caplog.records]


def test_gates_that_collapse_are_told_once(caplog):
    (message,) = look(caplog, "softmax", 0.02, 1.0, 7)
    assert "Lower search.outer.learning_rate (now 0.05)" in message


def test_free_gates_may_be_sparse(caplog):
    assert look(caplog, "free", 0.02, 1.0, 7) == []


def test_gates_that_never_move_are_told(caplog):
    (message,) = look(caplog, "softmax", 1.0, 0.0, 10)
    assert "Raise search.outer.learning_rate (now 0.05)" in message


def test_gates_that_move_slowly_are_left_in_peace(caplog):
    assert look(caplog, "softmax", 0.9, 1e-3, 10) == []


@pytest.mark.parametrize("method", ["cg", "neumann"])
def test_solvers_that_give_up_early_are_told_once(method, caplog):
    """Undamped, on the indefinite Hessian of gated factors, both give up."""
    hypergradient = {"method": method, "damping": 0.0, "iterations": 30}
    with caplog.at_level(logging.WARNING, "autolora_meta"):  # noqa: SIM117
        with program(hypergradient=hypergradient, outer_steps=8, warmup_steps=1) as (*_, engine):
            engine.run()
    early = [row["stopped"] in ("negative curvature", "diverged") for row in engine.course.rows]
    assert all(early)
    told = [record.message for record in caplog.records if "gave up early" in record.message]
    assert len(told) == 1
    assert told[0].startswith("outer step 6: in 6 of the last 6 outer steps")
    assert "search.hypergradient.damping" in told[0]


@pytest.mark.parametrize(("early", "told"), [(5, 0), (6, 1)])
def test_half_of_the_last_ten_outer_steps_may_stop_early(early, told, caplog):
    watch, gates = Watch("free", 0.05), torch.ones(2, 4)
    with caplog.at_level(logging.WARNING, "autolora_meta"):
        for step in range(20):
            stopped = "diverged" if step % 10 < early else "converged"
            row = {"outer_step": 11 + step, "gate_entropy": 1.0, "stopped": stopped}
            watch.look(row, [gates, gates + 1])
    assert len(caplog.records) == told
