"""Figures of one search: gates, importance, losses."""

import numpy as np
import pytest
import torch

from autolora_meta.errors import InputError
from autolora_meta.reporting import plots
from tests.reporting.plots.drawn import GATES, LOSSES, NAMES


def test_gates_have_a_panel_for_each_kind_and_a_line_for_each_component() -> None:
    figure = plots.gates_over_time([0, 1, 2], GATES, NAMES)
    panels = {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}
    assert list(panels) == ["query", "attention.output.dense", "output.dense", "pooler.dense"]
    lines = {title: len(ax.lines) - 1 for title, ax in panels.items()}  # one is the mean
    assert lines == {
        "query": 8,
        "attention.output.dense": 8,
        "output.dense": 8,
        "pooler.dense": 4,
    }


def test_importance_is_drawn_as_shares_of_all_layers() -> None:
    history = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 1.0]])
    figure = plots.importance_over_time([0, 5], history, ("h.0.q", "h.1.q", "h.0.v"))
    q, v = (ax for ax in figure.axes if ax.get_title(loc="left"))
    drawn = [np.asarray(line.get_ydata(), dtype=float) for ax in (q, v) for line in ax.lines]
    shares = [values[1] for values in drawn if len(values) == 2 and np.isnan(values[0])]
    assert shares == [0.25, 0.5, 0.25]
    with pytest.raises(InputError, match=r"given \(2, 3\) for 2 steps and 1 layers"):
        plots.importance_over_time([0, 5], history, ("h.0.q",))


def test_losses_are_drawn_where_they_were_recorded() -> None:
    figure = plots.losses(LOSSES)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["inner (training rows)"]
    raw = figure.axes[0].lines[0].get_ydata()
    assert np.allclose(np.asarray(raw, dtype=float), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
