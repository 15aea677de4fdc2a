"""Planted ranks: problems with a known answer, to test any way of choosing ranks.

A problem has a frozen network, and rows whose targets come from that network plus an update of
known rank in each layer. An allocator should recover those ranks from the rows.

>>> from autolora_meta import search_model
>>> problem = plant("few", seed=0)
>>> result = search_model(problem.model, problem.train, problem.validation,  # doctest: +SKIP
...                       loss=problem.loss, budget=problem.budget)
>>> problem.spearman(result.ranks), problem.mean_absolute_error(result.ranks)  # doctest: +SKIP
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from autolora_meta.errors import InputError, unknown
from autolora_meta.foundation.randomness import derive, seeded
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.verification.networks import Attention, Residual

WIDTH, TOKENS = 32, 4
K, SCALE, BATCH = 8, 2.0, 32
TEST_ROWS = 1024


@dataclass(frozen=True)
class Regime:
    """A kind of problem.

    Args:
        name: its name in `REGIMES`.
        summary: what makes it hard.
        ranks: planted ranks, given to the layers in an order drawn by the seed. (L,)
        train_rows, validation_rows: rows of the inner and of the outer problem.
        noise: standard deviation of the noise on the targets of both.
        train_noise: the same for training rows, if it differs.
        strength: largest singular value of the planted directions.
        decay: each singular value of a layer is exp(-decay) times the one before.
        floor: directions with a smaller singular value do not count as planted rank.
        correlation: standard deviations of the inputs fall from 1 to exp(-correlation).
        widths: rows of each layer, if they differ, in an order drawn by the seed. (L,)
        attention: blocks of attention instead of residual layers.
    """

    name: str
    summary: str
    ranks: tuple[int, ...] = (0, 1, 2, 4, 6, 8)
    train_rows: int = 512
    validation_rows: int = 512
    noise: float = 0.1
    train_noise: float | None = None
    strength: float = 1.0
    decay: float = 0.0
    floor: float = 0.0
    correlation: float = 0.0
    widths: tuple[int, ...] = ()
    attention: int = 0


REGIMES: dict[str, Regime] = {
    regime.name: regime
    for regime in (
        Regime(
            "base",
            "many rows, little noise, equal singular values",
            train_rows=1024,
            validation_rows=1024,
            noise=0.05,
        ),
        Regime(
            "decaying",
            "singular values that fall by a third from each to the next; floor 0.3",
            strength=1.5,
            decay=0.35,
            floor=0.3,
        ),
        Regime("noisy", "noise above the size of the signal", noise=0.8),
        Regime(
            "few",
            "128 + 128 rows with noise 0.3",
            train_rows=128,
            validation_rows=128,
            noise=0.3,
        ),
        Regime(
            "correlated", "inputs whose standard deviations differ up to 4.5 times", correlation=1.5
        ),
        Regime(
            "widths",
            "layers of 12 to 96 rows: a rank costs 44 to 128 parameters",
            widths=(12, 24, 32, 48, 64, 96),
        ),
        Regime(
            "attention",
            "query, key, value and output; pairs that trade rank are scored together",
            ranks=(0, 0, 0, 1, 1, 2, 2, 3, 4, 6, 6, 8),
            train_rows=1024,
            validation_rows=1024,
            noise=0.05,
            strength=2.0,
            attention=3,
        ),
        Regime(
            "above_k", "planted ranks up to 14, of which k = 8 count", ranks=(0, 2, 4, 6, 10, 14)
        ),
        Regime(
            "label_noise",
            "256 training rows with noise 1, 128 validation rows with noise 0.1",
            train_rows=256,
            validation_rows=128,
            train_noise=1.0,
        ),
    )
}


class RandomBatches:
    """Rows in batches, in a new order each time, drawn from torch's random state.

    Args:
        x, y: inputs and targets, rows first.
    """

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in torch.randperm(len(self.x)).split(BATCH):
            if len(rows) == BATCH:
                yield self.x[rows], self.y[rows]


@dataclass(frozen=True, eq=False)
class Planted:
    """A problem with a known answer.

    Args:
        regime: its kind.
        seed: the seed that it was drawn from.
        model: the frozen network.
        train, validation: batches of the inner and of the outer problem.
        test: inputs and noise-free targets.
        truth: the planted ranks, capped at k.
        groups: places of layers that can trade rank, which are scored together; else each alone.
    """

    regime: Regime
    seed: int
    model: nn.Module
    train: RandomBatches
    validation: RandomBatches
    test: tuple[Tensor, Tensor]
    truth: RankPattern
    groups: tuple[tuple[int, ...], ...] = field(repr=False)

    @property
    def budget(self) -> int:
        """Parameters of the planted ranks, which an allocation may spend."""
        return self.truth.parameters

    @staticmethod
    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean squared error of a batch (x, y)."""
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    def spearman(self, pattern: RankPattern) -> float:
        """Return the rank correlation of `pattern` with the truth; 0 for a constant pattern."""
        found, true = self._sums(pattern), self._sums(self.truth)
        if len(set(found)) == 1:
            return 0.0
        return float(spearmanr(found, true).statistic)  # pyright: ignore[reportAttributeAccessIssue]

    def mean_absolute_error(self, pattern: RankPattern) -> float:
        """Return the mean of |rank found - rank planted| over layers, or groups that trade rank."""
        pairs = zip(self._sums(pattern), self._sums(self.truth), strict=True)
        errors = [abs(a - b) for a, b in pairs]
        return sum(errors) / len(errors)

    def _sums(self, pattern: RankPattern) -> list[int]:
        if pattern.names != self.truth.names:
            raise InputError(
                f"the pattern has the layers {', '.join(pattern.names)}; this problem has "
                f"{', '.join(self.truth.names)}"
            )
        return [sum(pattern.ranks[i] for i in group) for group in self.groups]


def plant(regime: str | Regime, seed: int) -> Planted:
    """Draw a problem.

    Args:
        regime: a name from `REGIMES`, or a regime of your own.
        seed: equal seeds give equal problems.

    Raises:
        InputError: the name is unknown.

    Example:
        >>> problem = plant("base", seed=0)
        >>> sorted(problem.truth.ranks), problem.budget
        ([0, 1, 2, 4, 6, 8], 1344)
    """
    if isinstance(regime, str):
        if regime not in REGIMES:
            raise InputError(unknown("regime", regime, REGIMES))
        regime = REGIMES[regime]
    with seeded(derive(seed, "planted")), torch.no_grad():
        deal = torch.randperm(len(regime.ranks)).tolist()
        ranks = [regime.ranks[i] for i in deal]
        model = _network(regime, torch.randperm(len(regime.ranks)).tolist())
        layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
        weights = [layer.weight for layer in layers.values()]
        updates = [_update(w.shape, r, regime) for w, r in zip(weights, ranks, strict=True)]
        x = _inputs(regime)
        y = _answers(model, weights, [update for update, _ in updates], x)
        train, validation, test = x.split([regime.train_rows, regime.validation_rows, TEST_ROWS])
        y_train, y_validation, y_test = y.split([len(train), len(validation), len(test)])
        noise = regime.noise if regime.train_noise is None else regime.train_noise
        y_train = y_train + noise * torch.randn_like(y_train)
        y_validation = y_validation + regime.noise * torch.randn_like(y_validation)
    model.requires_grad_(False)
    names = tuple(layers)
    truth = RankPattern(
        names,
        tuple(min(counted, K) for _, counted in updates),
        tuple(sum(layer.weight.shape) for layer in layers.values()),
        K,
        SCALE,
    )
    trades = model.trades if isinstance(model, Attention) else tuple((name,) for name in names)
    groups = tuple(tuple(names.index(name) for name in group) for group in trades)
    return Planted(
        regime,
        seed,
        model,
        RandomBatches(train, y_train),
        RandomBatches(validation, y_validation),
        (test, y_test),
        truth,
        groups,
    )


def _answers(
    model: nn.Module, weights: Sequence[Tensor], updates: Sequence[Tensor], x: Tensor
) -> Tensor:
    """Return what the model gives with the updates on its weights; they are taken off again."""
    frozen = [weight.clone() for weight in weights]
    for weight, update in zip(weights, updates, strict=True):
        weight += update
    y = model(x)
    for weight, before in zip(weights, frozen, strict=True):
        weight.copy_(before)
    return y


def _network(regime: Regime, order: Sequence[int]) -> nn.Module:
    if regime.attention:
        return Attention(WIDTH, regime.attention)
    widths = [regime.widths[i] for i in order] if regime.widths else [WIDTH] * len(regime.ranks)
    return Residual(WIDTH, widths)


def _inputs(regime: Regime) -> Tensor:
    """Draw the inputs of all splits, of mean variance 1. (n, width) or (n, tokens, width)"""
    rows = regime.train_rows + regime.validation_rows + TEST_ROWS
    x = torch.randn(rows, TOKENS, WIDTH) if regime.attention else torch.randn(rows, WIDTH)
    spread = torch.linspace(0, -regime.correlation, WIDTH).exp()
    x = x * spread / spread.square().mean().sqrt()
    return x


def _update(shape: torch.Size, rank: int, regime: Regime) -> tuple[Tensor, int]:
    """Draw U diag(s) V^T with s_j = strength exp(-decay j); count the s_j that reach the floor."""
    rank = min(rank, *shape)
    u, v = (torch.linalg.qr(torch.randn(size, size)).Q[:, :rank] for size in shape)
    s = regime.strength * (-regime.decay * torch.arange(rank)).exp()
    return (u * s) @ v.T, int((s >= regime.floor).sum())
