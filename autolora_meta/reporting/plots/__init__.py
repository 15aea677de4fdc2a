"""Figures of runs and of studies, as functions of the data they show."""

from autolora_meta.reporting.plots.budget import loss_against_parameters
from autolora_meta.reporting.plots.headroom import headroom_strip
from autolora_meta.reporting.plots.heatmap import rank_heatmap, rank_heatmaps
from autolora_meta.reporting.plots.mean_ranks import mean_ranks
from autolora_meta.reporting.plots.search import gates_over_time, importance_over_time, losses
from autolora_meta.reporting.plots.spread import rank_spread
from autolora_meta.reporting.plots.stability import rank_stability
from autolora_meta.reporting.plots.study import paired_differences, study
from autolora_meta.reporting.plots.tradeoff import (
    Point,
    metric_against_cost,
    metric_against_parameters,
    pareto_front,
)
from autolora_meta.reporting.plots.trajectory import ranks_over_time

__all__ = [
    "Point",
    "gates_over_time",
    "headroom_strip",
    "importance_over_time",
    "loss_against_parameters",
    "losses",
    "mean_ranks",
    "metric_against_cost",
    "metric_against_parameters",
    "paired_differences",
    "pareto_front",
    "rank_heatmap",
    "rank_heatmaps",
    "rank_spread",
    "rank_stability",
    "ranks_over_time",
    "study",
]
