"""What a person waits for, and gets: python -m benchmarks.end_to_end [--json FILE] [CONFIG ...].

Two tables. `ranks`: a search and a retraining at its ranks, against retraining at uniform ranks
without a search: seconds, parameters, and the main metric on the test rows, all means over
replicates; loading is not counted. `study`: arms x replicates, with `runtime.stack` as given, by
the processes of `runtime.workers`, loading counted. The configuration is the quickstart, with any
key=value after it; search.outer_steps=4 search.warmup_steps=4 retrain.steps=4 takes a minute.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch

from autolora_meta.config.run import RunConfig
from autolora_meta.config.runtime import RuntimeOptions
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.retrain import retrain
from autolora_meta.pipeline.search import search
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.markdown import table
from autolora_meta.studies.study import Study
from benchmarks.machine import machine
from benchmarks.stacked import sizes

ARMS = (
    *("learned", "uniform", "shuffled", "frozen", "random", "random_gates"),
    *("eva", "prilora", "sara", "para", "gora", "l1"),
)
PARTS = ("ranks", "study")
NUMBERS = ("parameters", "search_seconds", "retrain_seconds", "value")  # of a row of `ranks`
Row = dict[str, Any]
_T = TypeVar("_T")


def timed(call: Callable[[], _T]) -> tuple[float, _T]:
    """Return the seconds that a call took, and what it gave."""
    start = time.perf_counter()
    given = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, given


def of_ranks(config: RunConfig, uniform: Sequence[int], replicates: int) -> list[Row]:
    """Return a row for learned ranks and one for each uniform rank, means over replicates."""
    every: dict[str, list[Row]] = {}
    for seed in range(config.seed, config.seed + replicates):
        prepared = prepare(config, seed)
        seconds, found = timed(partial(search, config, seed=seed, prepared=prepared))
        patterns = {"learned": found.ranks}
        patterns |= {f"uniform {rank}": same(found.ranks, rank) for rank in uniform}
        for name, pattern in patterns.items():
            row = retrained(config, pattern, seed, prepared)
            row["search_seconds"] = seconds if name == "learned" else 0.0
            every.setdefault(name, []).append(row)
            print(f"seed {seed}, {name}: {row['metric']} {row['value']:.4f}", file=sys.stderr)
    rows = []
    for name, each in every.items():
        means = {key: statistics.mean(row[key] for row in each) for key in NUMBERS}
        means["seconds"] = means["search_seconds"] + means["retrain_seconds"]
        about = {"ranks": name, "replicates": replicates, "metric": each[0]["metric"]}
        rows.append(about | means)
    return rows


def same(pattern: RankPattern, rank: int) -> RankPattern:
    """Return the same rank in every layer of a pattern."""
    return replace(pattern, ranks=(rank,) * len(pattern), k=max(pattern.k, rank))


def retrained(config: RunConfig, pattern: RankPattern, seed: int, prepared: Prepared) -> Row:
    """Return what a retraining took and gave."""
    metric = config.compare.compared(prepared.task.compared)[0]
    seconds, result = timed(partial(retrain, config, pattern, seed=seed, prepared=prepared))
    told = {"parameters": pattern.parameters, "retrain_seconds": seconds}
    return told | {"metric": metric, "value": result.metrics[metric]}


def of_study(config: RunConfig, stacks: Sequence[str]) -> list[Row]:
    """Return a row for each value of `runtime.stack`, with the time of the whole study."""
    rows: list[Row] = []
    for stack in stacks:
        asked = RunConfig.load(config.model_dump(), *_stack(stack))
        with TemporaryDirectory() as folder:
            study = Study.of(asked, Path(folder) / "study")
            seconds, ended = timed(study.run)
        finished = [row for row in ended.rows if row["status"] == "finished"]
        values = [row["metrics"][row["compared"][0]] for row in finished]
        rows.append(
            {
                "stack": stack,
                "runs": len(ended.rows),
                "failed": len(ended.failed),
                "seconds": seconds,
                "runs_a_minute": 60 * len(finished) / seconds,
                "times": (rows[0]["seconds"] if rows else seconds) / seconds,
                "mean_metric": statistics.mean(values) if values else None,
            }
        )
    return rows


def _stack(value: str) -> list[str]:
    """Return the override for `runtime.stack`."""
    return [f"runtime.stack={value}"] if "stack" in RuntimeOptions.model_fields else []


def printed(rows: list[Row]) -> str:
    """Return rows as a Markdown table."""
    cells = [[f"{v:.4g}" if isinstance(v, float) else v for v in row.values()] for row in rows]
    return table([name.replace("_", " ") for name in rows[0]], cells)


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", help="another model, by name or folder")
    parser.add_argument("--only", choices=PARTS, help="one of the two tables")
    parser.add_argument("--ranks", type=sizes, default=[1, 2, 4, 8, 16], help="uniform: 1,2,4,8,16")
    parser.add_argument("--replicates", type=int, default=3, help="of the table of ranks")
    parser.add_argument("--arms", nargs="+", default=ARMS, help="of the study; learned is one")
    parser.add_argument("--study-replicates", type=int, default=16)
    parser.add_argument("--stack", nargs="+", default=["off", "auto"], help="off, auto or numbers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a list of rows to FILE")
    parser.add_argument("layers", nargs="*", default=["quickstart"], metavar="CONFIG")
    return parser.parse_args()


def main() -> None:
    """Measure, print the tables, write the rows."""
    given = options()
    layers = [*given.layers, f"runtime.device={given.device}"]
    layers += [f"model.name={given.model}"] if given.model else []
    config = RunConfig.load(*layers)
    name = machine(config.runtime.resolved_device)
    print(name + "\n")
    rows: list[Row] = []
    if given.only != "study":
        rows += (found := of_ranks(config, given.ranks, given.replicates))
        print(printed(found), flush=True)
    if given.only != "ranks":
        compare = {"arms": [*given.arms], "replicates": given.study_replicates}
        asked, stacks = RunConfig.load(config.model_dump(), {"compare": compare}), given.stack
        if not _stack("off"):
            print("\nThere is no runtime.stack here: the study is trained one at a time.")
            stacks = ["off"]
        rows += (found := of_study(asked, stacks))
        print(f"\n{len(given.arms)} arms x {given.study_replicates} replicates\n")
        print(printed(found))
    if given.json:
        given.json.write_text(
            json.dumps([{"device": name} | row for row in rows], indent=1) + "\n", "utf-8"
        )


if __name__ == "__main__":
    main()
