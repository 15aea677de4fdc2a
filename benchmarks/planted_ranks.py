"""Recovery of known ranks: python -m benchmarks.planted_ranks [--full] [--json FILE].

Every regime of `autolora_meta.verification.planted` runs with 8 seeds: the shipped settings; the
same search with a gate for each component; with alpha frozen; `plain`, also without decay, which
is plain LoRA; and a search whose alpha gets random gradients. Each is read out in every way at the
parameters of the true ranks, and by the paper's rule. `--full` is the grid of importance x
constraint x method x rule, with the paper's own settings. With --json, a run that was stopped goes
on where it was.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from autolora_meta.bilevel.options import SearchOptions, Selection
from autolora_meta.foundation.options import read
from autolora_meta.foundation.progress import Row
from autolora_meta.pipeline.search_model import search_model
from autolora_meta.ranks.budget import Budget
from autolora_meta.ranks.options import RankOptions
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import uniform_pattern
from autolora_meta.verification.planted import REGIMES, SCALE, K, Planted, Regime, plant
from autolora_meta.verification.planted_retrain import test_losses
from benchmarks.planted_table import summary

UNIFORM = "uniform"
# All validation rows of the smallest regime: what removing a direction costs is measured on these.
SENSITIVITY_BATCHES = 4
READ_OUTS = (
    ("layered", "budget"),
    ("product", "budget"),
    ("singular", "budget"),
    ("contribution", "budget"),
    ("sensitivity", "budget"),
    ("alpha", "budget"),
    ("alpha", "paper"),
    ("singular", "gap"),
)


@dataclass(frozen=True)
class Setting:
    """Settings of one search.

    Args:
        arm: its name in the table.
        options: differences from the shipped `SearchOptions`.
        selection: of the gates: learned, frozen or random.
    """

    arm: str
    options: dict[str, Any] = field(default_factory=dict)
    selection: Selection = "learned"

    @property
    def labels(self) -> Row:
        """Columns that tell its rows from those of other settings."""
        if self.arm == UNIFORM:
            return {"arm": UNIFORM, "method": None, "constraint": None}
        asked = read(SearchOptions, self.options, "options")
        method = asked.hypergradient.method if self.selection == "learned" else None
        return {"arm": self.arm, "method": method, "constraint": asked.gates.constraint}


PAPER = {
    "gates": {"constraint": "softmax", "gate_sum": "one", "per": "component"},
    "hypergradient": {"method": "darts", "scale": "inner_lr", "weight": 1},
    "inner": {"weight_decay": 0},
}
NULLS = (
    Setting("frozen", selection="frozen"),
    Setting("plain", {"inner": {"weight_decay": 0}}, "frozen"),
    Setting("random", selection="random"),
)
COMPONENTS = Setting("components", {"gates": {"per": "component"}})
DEFAULT = (Setting("learned"), COMPONENTS, *NULLS, Setting(UNIFORM))
POOLED = Setting("pooled", {"seeds": 3})
FULL = (
    *DEFAULT,
    POOLED,
    Setting("paper", PAPER),
    *(
        Setting("learned", {"hypergradient": method, "gates": {"constraint": constraint}})
        for method in ("first_order", "darts", "sama", "one_step", "neumann", "cg", "nystrom")
        for constraint in ("free", "softmax", "sigmoid")
        if (method, constraint) != ("darts", "free")
    ),
)


def rows_of(regime: str | Regime, seed: int, settings: Sequence[Setting]) -> list[Row]:
    """Search, allocate and retrain; return a row for each setting and read-out of one problem."""
    torch.set_num_threads(1)
    problem = plant(regime, seed)
    found: list[tuple[Row, RankPattern]] = []
    for setting in settings:
        found += _read_outs(problem, seed, setting)
    true, *losses = test_losses(problem, [problem.truth, *(pattern for _, pattern in found)], seed)
    return [
        {"regime": problem.regime.name, "seed": seed}
        | row
        | {
            "spearman": problem.spearman(pattern),
            "mean_absolute_error": problem.mean_absolute_error(pattern),
            "excess_loss_ratio": loss / true,
        }
        for (row, pattern), loss in zip(found, losses, strict=True)
    ]


def _read_outs(problem: Planted, seed: int, setting: Setting) -> Iterator[tuple[Row, RankPattern]]:
    if setting.arm == UNIFORM:
        names, costs = problem.truth.names, problem.truth.costs
        pattern = uniform_pattern(names, costs, K, SCALE, Budget(problem.budget))
        yield setting.labels | {"importance": None, "rule": None, "default": False}, pattern
        return
    options = {**setting.options, "sensitivity_batches": SENSITIVITY_BATCHES}
    result = search_model(
        problem.model,
        problem.train,
        problem.validation,
        loss=problem.loss,
        budget=problem.budget,
        lora={"k": K, "scale": SCALE},
        options=options,
        seed=seed,
        selection=setting.selection,
    )
    shipped = RankOptions()
    for importance, rule in READ_OUTS:
        if setting.selection == "frozen" and importance == "alpha":
            continue  # gates that never moved have no order
        if rule == "budget":
            pattern = result.allocate(importance=importance, budget=problem.budget)
        else:
            pattern = result.allocate(
                rule=rule, **({"importance": importance} if rule == "gap" else {})
            )
        default = (importance, rule) == (shipped.importance, shipped.rule)
        row = setting.labels | {
            "importance": importance,
            "rule": rule,
            "default": default and setting == Setting("learned"),
        }
        yield row, pattern


def run(
    regimes: Sequence[Regime], seeds: Sequence[int], settings: Sequence[Setting], file: Path | None
) -> list[Row]:
    """Run all problems that are not finished, side by side on the cores of this machine."""
    rows: list[Row] = json.loads(file.read_text("utf-8")) if file and file.is_file() else []
    done = {_key(row["regime"], row["seed"], row) for row in rows}
    jobs = [
        (regime, seed, left)
        for regime in regimes
        for seed in seeds
        if (left := [x for x in settings if _key(regime.name, seed, x.labels) not in done])
    ]
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        futures = [pool.submit(rows_of, *job) for job in jobs]
        for future in tqdm(as_completed(futures), "planted ranks", len(futures), unit="problem"):
            rows += future.result()
            if file:
                _write(file, rows)
    order = {regime.name: i for i, regime in enumerate(regimes)}
    rows.sort(key=lambda row: (order.get(row["regime"], len(order)), row["seed"]))
    if file:
        _write(file, rows)
    return rows


def _key(regime: str, seed: int, labels: Row) -> tuple[Any, ...]:
    return (regime, seed, labels["arm"], labels["method"], labels["constraint"])


def _write(file: Path, rows: list[Row]) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    partial.replace(file)


def seeds(text: str) -> range:
    """Read A:B as the seeds A to B - 1; argparse words any error."""
    first, last = text.split(":")
    return range(int(first), int(last))


def main() -> None:
    """Measure, print the table and the targets, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a list of rows to FILE")
    parser.add_argument(
        "--seeds", type=seeds, default="0:8", metavar="A:B", help="problems A to B - 1"
    )
    parser.add_argument("--regimes", nargs="+", choices=REGIMES, default=list(REGIMES))
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--pooled", action="store_true", help="three searches pooled, as well")
    size.add_argument("--full", action="store_true", help="the whole grid; hours")
    given = parser.parse_args()
    settings = FULL if given.full else (*DEFAULT, POOLED) if given.pooled else DEFAULT
    regimes = [REGIMES[name] for name in given.regimes]
    print(summary(run(regimes, given.seeds, settings, given.json)))


if __name__ == "__main__":
    main()
