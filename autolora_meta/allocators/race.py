"""Race: many ways to choose ranks, judged on held-out rows; uniform ranks stay unless one wins."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from typing_extensions import TypedDict

from autolora_meta.allocators.entrants import UNIFORM, entrants
from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.allocators.training import learned_work
from autolora_meta.config.run import RunConfig
from autolora_meta.foundation import manifest
from autolora_meta.foundation.json_files import Count, Figure, read_json
from autolora_meta.pipeline.cross_fit import FOLDS, Candidate, cross_fit
from autolora_meta.ranks.pattern import RankPattern

FILE = "race.json"
LAST = 3  # candidates at full length, uniform among them
MARGIN = 1.0  # standard errors by which the winner is better than uniform, or uniform is taken
_AGAIN = "remove its run from the folder, and the same command races again"
_MOST = 24  # candidates that a model is expected to have, for progress


class Round(NamedTuple):
    """A round: how long it retrains, and what of its candidates go on with uniform ranks."""

    steps: int
    keep: int


@dataclass(frozen=True)
class Standing:
    """How far a candidate came.

    Args:
        name: of the candidate.
        steps: of its last round.
        difference: mean over rows of its loss minus that of uniform ranks in that round.
        standard_error: of the difference, paired by row.
    """

    name: str
    steps: int
    difference: float
    standard_error: float


class _StoredStanding(TypedDict):
    """A candidate in race.json."""

    name: str
    steps: Count
    difference: Figure | None
    standard_error: Figure | None


class _Stored(TypedDict):
    """What race.json holds."""

    winner: str
    standings: list[_StoredStanding]


@dataclass(frozen=True)
class Outcome:
    """The end of a race.

    Args:
        winner: name of the candidate whose ranks are taken.
        standings: of all candidates, the best of the last round first.
    """

    winner: str
    standings: tuple[Standing, ...]

    @classmethod
    def load(cls, folder: Path) -> "Outcome":
        """Read the race.json of a folder; what is null there is NaN.

        Raises:
            InputError: it is damaged, or holds something else.
        """
        manifest.refuse_damaged(folder, _AGAIN, FILE)
        held = read_json(folder / FILE, _Stored, what="is no race", again=_AGAIN)
        standings = (
            Standing(
                each["name"],
                each["steps"],
                _number(each["difference"]),
                _number(each["standard_error"]),
            )
            for each in held["standings"]
        )
        return cls(held["winner"], tuple(standings))

    def to_json(self) -> str:
        """Return the content of race.json; what is no number is null."""
        about = asdict(self)
        for each in about["standings"]:
            for key in ("difference", "standard_error"):
                each[key] = each[key] if math.isfinite(each[key]) else None
        return json.dumps(about, indent=2) + "\n"


def _number(figure: float | None) -> float:
    return math.nan if figure is None else figure


def rounds(steps: int, count: int) -> list[Round]:
    """Return the rounds of a race: a quarter of the steps, a half, all of them.

    >>> rounds(80, 14)
    [Round(steps=20, keep=7), Round(steps=40, keep=2), Round(steps=80, keep=1)]
    """
    found = list[Round]()
    for part, keep in ((4, max(LAST - 1, count // 2)), (2, LAST - 1)):
        if keep < count:
            found.append(Round(math.ceil(steps / part), keep))
            count = keep
    return [*found, Round(steps, 1)]


def paired(losses: Tensor, base: Tensor) -> tuple[float, float]:
    """Return the mean of losses minus those of the base, and its standard error, over rows.

    Args:
        losses: (n,)
        base: of the same rows; rows with NaN in either are left out. (n,)
    """
    both = ~(losses.isnan() | base.isnan())
    if not bool(losses[both].isfinite().all()):
        return math.inf, math.inf
    if not bool(base[both].isfinite().all()):
        return -math.inf, math.inf
    d = losses[both] - base[both]
    return float(d.mean()), float(d.std() / math.sqrt(max(1, len(d))))  # sd(d) / sqrt(n)


def run(replicate: Replicate, patterns: Mapping[str, RankPattern]) -> Outcome:
    """Race candidates by successive halving; the passes are counted on the replicate.

    In each round the candidates that are left, and uniform ranks, are cross-fitted with more steps,
    and the better half goes on. In the last, at full length, the best is taken if its mean loss is
    below that of uniform ranks by more than `MARGIN` standard errors; else uniform ranks are.

    Args:
        replicate: gives rows and retraining.
        patterns: name -> ranks; the first is uniform.

    Source: Karnin, Koren and Somekh, Almost optimal exploration in multi-armed bandits, ICML 2013.
    """
    config, left = replicate.config, [name for name in patterns if name != UNIFORM]
    out = list[Standing]()
    for steps, keep in rounds(config.retrain.steps, len(left)) if left else []:
        ranked = _judged(replicate, patterns, left, steps)
        out[:0] = ranked[keep:]
        left, best = [each.name for each in ranked[:keep]], ranked[0]
        if steps == config.retrain.steps and keep == 1:
            out[:0] = [best]
            better = best.difference < -MARGIN * best.standard_error
            return Outcome(best.name if better else UNIFORM, tuple(out))
    return Outcome(UNIFORM, ())


def _judged(
    replicate: Replicate, patterns: Mapping[str, RankPattern], left: Sequence[str], steps: int
) -> list[Standing]:
    """Return the standings of a round, the best first; of equal ones that which stands first."""
    options = replicate.config.retrain.model_copy(update={"steps": steps})
    names = [UNIFORM, *left]
    found = cross_fit(
        replicate.config,
        replicate.prepared,
        replicate.seed,
        [Candidate(name, patterns[name], options) for name in names],
        folds=FOLDS,
        progress=replicate.progress,
    )
    replicate.cost += found.cost
    base, *others = found.losses
    standings = [
        Standing(name, steps, *paired(own, base)) for name, own in zip(left, others, strict=True)
    ]
    return sorted(standings, key=lambda each: each.difference)


def allocate(replicate: Replicate) -> RankPattern:
    """Allocate the ranks of the candidate that wins; a folder keeps the table in race.json.

    Candidates are uniform ranks in all layers or in a part of them, and ranks by EVA, by the
    spectrum of a plain LoRA, by the learned search, and by mixtures of these (`entrants`). Those
    that read labels have seen the held-out rows when they chose ranks, but their adapters have not.
    """
    patterns = entrants(replicate)
    outcome = run(replicate, patterns)
    if replicate.folder is not None:
        place = replicate.folder / str(replicate.seed) / "race"
        place.mkdir(parents=True, exist_ok=True)
        manifest.write_sealed(place, {FILE: outcome.to_json()})
    return patterns[outcome.winner]


def _work(config: RunConfig) -> float:
    """Return the most that EVA and the retrainings cost, in plain steps."""
    count, work = _MOST, 0
    for steps, keep in rounds(config.retrain.steps, _MOST):
        work += steps * (1 + count)
        count = keep
    return learned_work(config) + FOLDS * float(work)


ALLOCATOR = Allocator(
    allocate,
    summary="the best of many patterns on held-out rows, uniform unless one is clearly better",
    source="this project; successive halving, Karnin et al., ICML 2013",
    searches=("learned", "plain"),
    work=_work,
)
