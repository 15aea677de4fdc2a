"""The runs of a study: every point of its grid, each arm and each seed, with an identity."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

from autolora_meta.allocators.replicate import allocator
from autolora_meta.bilevel.options import Selection
from autolora_meta.config.fingerprint import fingerprint
from autolora_meta.config.overlay import nested
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.options import hashed
from autolora_meta.foundation.version import __version__
from autolora_meta.pipeline.epochs import in_steps
from autolora_meta.studies.labels import row_label, words
from autolora_meta.studies.options import MOST_RUNS, StudyOptions
from autolora_meta.studies.questions import VARIANT

# What a run depends on; name, arms beside it and workers change nothing in it.
_SECTIONS = {"model", "data", "task", "lora", "search", "ranks", "retrain"}


_NAMED = 3  # points of the grid, in a message


@dataclass(frozen=True)
class Choice:
    """How a budget of auto is chosen.

    Args:
        key: under which all runs share it.
        seed: of the replicate that decides.
        searches: those that it reads -> their keys.
    """

    key: str
    seed: int
    searches: Mapping[Selection, str]


@dataclass(frozen=True)
class Planned:
    """One run: ranks of one arm in one replicate, retrained and tested.

    Args:
        settings: key of the grid -> the value that the run has of it.
        arm: the allocator.
        seed: of the replicate.
        config: resolved.
        first: seed of the first replicate of the study, which chooses a budget of auto for all;
            None: this one.
    """

    settings: Mapping[str, Any]
    arm: str
    seed: int
    config: RunConfig
    first: int | None = None

    @cached_property
    def id(self) -> str:
        """A hash of all that the run depends on: a finished run is known by it."""
        about = hashed(self.config, _SECTIONS)
        about |= {"arm": self.arm, "seed": self.seed, "version": __version__}
        arm, compared = allocator(self.arm), self.config.compare
        if not arm.searches or about["retrain"]["start"] == "scratch":
            del about["retrain"]["start"]  # an arm that reads no search starts from scratch
        about["retrain"]["steps"] = arm.retrain_steps(self.config)
        if not self.searches:  # how to read one is nothing to it
            del about["ranks"]["importance"], about["ranks"]["per"]
            if arm.static:
                del about["search"]
        if self.choice:
            about["budget"] = self.choice.key
        if arm.by_metric and compared.named:
            about["metrics"] = compared.named
        if compared.tune:
            about["tune"] = compared.tune
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def searches(self) -> dict[Selection, str]:
        """The searches that it reads -> the key under which all runs share each of them."""
        read = set(allocator(self.arm).reads(self.config))
        if self.config.ranks.rule != "budget":  # every arm may spend what the learned ranks cost
            read |= {*allocator("learned").reads(self.config)}
        return {s: fingerprint(self.config, self.seed, s)[:12] for s in sorted(read)}

    @cached_property
    def choice(self) -> Choice | None:
        """How its budget is chosen, which all arms and replicates share; None: it is given."""
        if not self.config.ranks.to_choose:
            return None
        seed = self.seed if self.first is None else self.first
        about = hashed(self.config, _SECTIONS)
        about |= {"seed": seed, "version": __version__}
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
        read = allocator("learned").reads(self.config)
        return Choice(key, seed, {s: fingerprint(self.config, seed, s)[:12] for s in sorted(read)})

    @cached_property
    def measured(self) -> str | None:
        """The key under which runs at other budgets share what the arm measures, at a price."""
        arm = allocator(self.arm)
        if arm.scores is None or not arm.work(self.config):
            return None
        return fingerprint(self.config, self.seed, self.arm)[:12]

    @property
    def label(self) -> str:
        """For people: its settings, arm and seed."""
        return row_label({"settings": self.settings, "arm": self.arm, "seed": self.seed})


def base_of(options: StudyOptions) -> RunConfig:
    """Return the configuration that all runs of a study start from."""
    return in_steps(RunConfig.load(*options.base))


def plan(options: StudyOptions) -> list[Planned]:
    """All runs of a study in the order of its file: variants, `vary`, arms, seeds.

    Raises:
        InputError: with the mistakes of every point of the grid, or there are too many runs.
    """
    axes = [options.variants or [None], *options.vary.values()]
    count = prod(map(len, [*axes, options.arms, options.seeds]))
    if count > MOST_RUNS:
        raise InputError(
            f"study {options.name} has {count:,} runs ({len(options.arms)} arms, "
            f"{len(options.seeds)} seeds, and what is varied); at most {MOST_RUNS:,} are allowed: "
            "give fewer, or make several studies of it"
        )
    base = RunConfig.load(*options.base).model_dump(mode="json")
    planned: list[Planned] = []
    points = list(product(*axes))
    mistakes: dict[str, list[str]] = {}  # what is wrong -> at which points of the grid
    for name, *values in points:
        settings = dict(zip(options.vary, values, strict=True))
        overlays = [nested(key, value) for key, value in settings.items()]
        if name is not None:
            overlays = [*options.variants[name], *overlays]
            settings = {VARIANT: name, **settings}
        try:
            config = in_steps(RunConfig.load(base, *overlays))
        except InputError as error:
            mistakes.setdefault(str(error), []).append(words(settings))
            continue
        planned += [
            Planned(settings, arm, seed, config, options.seeds[0])
            for arm in options.arms
            for seed in options.seeds
        ]
    if mistakes:
        raise InputError(
            "\n".join(_located(*mistake, everywhere=len(points)) for mistake in mistakes.items())
        )
    return planned


def _located(mistake: str, places: Sequence[str], everywhere: int) -> str:
    """A mistake, with the points of the grid that have it, where others do not."""
    if len(places) == everywhere:
        return mistake
    more = f", and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    return f"{'; '.join(places[:_NAMED])}{more}: {mistake}"
