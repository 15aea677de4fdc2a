"""Whether known ranks are recovered: python -m benchmarks.planted_ranks [--full] [--json FILE].

Every regime of `autolora_meta.verification.planted`, 8 seeds each: the shipped settings, the same
search with alpha frozen and with alpha fed random gradients, and the paper's gates and rule, each
under every read-out at the parameters of the true ranks. `--full` is the grid of importance x
constraint x method x rule. With --json a run that was stopped goes on where it was.
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
from autolora_meta.options import read
from autolora_meta.ranks.budget import Budget
from autolora_meta.ranks.options import RankOptions
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import uniform_pattern
from autolora_meta.search import search
from autolora_meta.verification.planted import REGIMES, SCALE, K, Planted, plant
from autolora_meta.verification.planted_retrain import test_losses
from benchmarks.planted_table import summary

Row = dict[str, Any]
# All validation rows of the smallest regime: what removing a direction costs is measured on these.
SENSITIVITY_BATCHES = 4
READ_OUTS = (
    ("singular", "budget"),
    ("contribution", "budget"),
    ("sensitivity", "budget"),
    ("alpha", "budget"),
    ("alpha", "paper"),
)


@dataclass(frozen=True)
class Setting:
    """One kind of search.

    Args:
        arm: its name in the table.
        options: what differs from the shipped `SearchOptions`.
        selection: learned, frozen or random gates.
    """

    arm: str
    options: dict[str, Any] = field(default_factory=dict)
    selection: Selection = "learned"


PAPER = {
    "gates": {"constraint": "softmax", "gate_sum": "one"},
    "hypergradient": {"method": "darts", "scale": "inner_lr", "weight": 1},
    "inner": {"weight_decay": 0},
}
NULLS = (Setting("frozen", selection="frozen"), Setting("random", selection="random"))
DEFAULT = (Setting("learned"), *NULLS, Setting("paper", PAPER))
FULL = (
    *DEFAULT,
    Setting("pooled", {"seeds": 3}),
    *(
        Setting("learned", {"hypergradient": method, "gates": {"constraint": constraint}})
        for method in ("first_order", "darts", "sama", "one_step", "neumann", "cg", "nystrom")
        for constraint in ("free", "softmax", "sigmoid")
        if (method, constraint) != ("darts", "free")
    ),
)


def rows_of(regime: str, seed: int, settings: Sequence[Setting]) -> list[Row]:
    """Search, allocate and retrain: one row for each setting and read-out of one problem."""
    torch.set_num_threads(1)
    problem = plant(regime, seed)
    found: list[tuple[Row, RankPattern]] = []
    for setting in settings:
        found += _read_outs(problem, seed, setting)
    costs, budget = problem.truth.costs, Budget(problem.budget)
    uniform = uniform_pattern(problem.truth.names, costs, K, SCALE, budget)
    found.append(
        (
            {"arm": "uniform"}
            | dict.fromkeys(("method", "constraint", "importance", "rule"))
            | {"default": False},
            uniform,
        )
    )
    true, *losses = test_losses(problem, [problem.truth, *(pattern for _, pattern in found)], seed)
    return [
        {"regime": regime, "seed": seed}
        | row
        | {
            "spearman": problem.spearman(pattern),
            "mean_absolute_error": problem.mean_absolute_error(pattern),
            "excess_loss_ratio": loss / true,
        }
        for (row, pattern), loss in zip(found, losses, strict=True)
    ]


def _read_outs(problem: Planted, seed: int, setting: Setting) -> Iterator[tuple[Row, RankPattern]]:
    options = {**setting.options, "sensitivity_batches": SENSITIVITY_BATCHES}
    result = search(
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
    asked = read(SearchOptions, options, "options")
    shipped = RankOptions()
    for importance, rule in READ_OUTS:
        if setting.selection == "frozen" and importance == "alpha":
            continue  # gates that never moved have no order
        if rule == "budget":
            pattern = result.allocate(importance=importance, budget=problem.budget)
        else:
            pattern = result.allocate(rule=rule)
        row = {
            "arm": setting.arm,
            "method": asked.hypergradient.method if setting.selection == "learned" else None,
            "constraint": asked.gates.constraint,
            "importance": importance,
            "rule": rule,
            "default": setting == Setting("learned")
            and (importance, rule) == (shipped.importance, shipped.rule),
        }
        yield row, pattern


def run(
    regimes: Sequence[str], seeds: Sequence[int], settings: Sequence[Setting], file: Path | None
) -> list[Row]:
    """All problems, side by side on the cores of this machine; finished ones are not run again."""
    rows: list[Row] = json.loads(file.read_text("utf-8")) if file and file.is_file() else []
    done = {(row["regime"], row["seed"]) for row in rows}
    jobs = [(r, s) for r in regimes for s in seeds if (r, s) not in done]
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        futures = [pool.submit(rows_of, regime, seed, settings) for regime, seed in jobs]
        for future in tqdm(as_completed(futures), "planted ranks", len(futures), unit="problem"):
            rows += future.result()
            if file:
                _write(file, rows)
    order = {name: i for i, name in enumerate(REGIMES)}
    rows.sort(key=lambda row: (order[row["regime"]], row["seed"]))
    if file:
        _write(file, rows)
    return rows


def _write(file: Path, rows: list[Row]) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    partial.replace(file)


def main() -> None:
    """Measure, print the table and the targets, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a list of rows to FILE")
    parser.add_argument("--seeds", default="0:8", metavar="A:B", help="problems A to B - 1")
    parser.add_argument("--regimes", nargs="+", choices=REGIMES, default=list(REGIMES))
    parser.add_argument("--full", action="store_true", help="the whole grid; hours")
    given = parser.parse_args()
    first, last = (int(number) for number in given.seeds.split(":"))
    settings = FULL if given.full else DEFAULT
    print(summary(run(given.regimes, range(first, last), settings, given.json)))


if __name__ == "__main__":
    main()
