"""What the figures are drawn of."""

import torch

from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting import plots

KINDS = ("attention.self.query", "attention.output.dense", "output.dense")
NAMES = (*(f"bert.encoder.layer.{i}.{t}" for i in range(2) for t in KINDS), "bert.pooler.dense")
PATTERN = RankPattern(NAMES, (0, 1, 2, 3, 4, 1, 2), (10,) * 7, k=4, scale=2.0)
LOSSES = [{"step": i, "inner_loss": 1 / (i + 1), "outer_loss": None} for i in range(5)]
GATES = torch.ones(3, 7, 4)
POINTS = [
    plots.Measured("learned", 200, 1000, (0.6, 0.7, 0.8)),
    plots.Measured("learned", 200, 2000, (0.7, 0.8, 0.9)),
    plots.Measured("uniform", 70, 1000, (0.5, 0.6, 0.7)),
    plots.Measured("grid", 900, 1010, (0.1, 0.2)),
]
