"""Searches in one pass against one at a time: python -m benchmarks.stacked_search [--json FILE].

A step is an outer step of a whole search as a study runs it: inner step, hypergradient, step of the
gates, the repeat that the schedule asks for, and the ranks that follow. Weights and rows are
random; both are timed in one process, one at a time first and last, and the figure is the median
step after a warm-up. Memory is the peak on a GPU, base included; on a CPU that of the process.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel

from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.finetuning.batch_order import BatchStream
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.lora import LoraOptions
from autolora_meta.foundation.options import read
from autolora_meta.pipeline.program import Program
from autolora_meta.pipeline.running import run_programs
from autolora_meta.pipeline.together import METHODS, run_together
from autolora_meta.ranks.options import RankOptions
from autolora_meta.reporting.markdown import table
from benchmarks.machine import machine
from benchmarks.stacked import CLASSES, base, loss, peak, sizes

COLUMNS = ("method", "precision", "searches", "ms a step", "steps a second", "times", "GiB")
WARM_UP, DISTINCT = 3, 64  # steps; rows of a split
ALONE = 0


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Return rows of one length as a batch."""
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}


def named(hypergradient: str) -> Any:
    """Return a method by its name, or by a mapping in JSON."""
    return json.loads(hypergradient) if hypergradient.startswith("{") else hypergradient


def program(
    model: PreTrainedModel, given: argparse.Namespace, precision: str, seed: int
) -> Program:
    """Return a search on random rows."""
    draw = torch.Generator().manual_seed(seed)
    vocabulary = model.config.vocab_size

    def stream(size: int) -> BatchStream:
        count = max(DISTINCT, size)
        ids = torch.randint(vocabulary // 2, vocabulary, (count, given.length), generator=draw)
        labels = torch.randint(CLASSES, (count,), generator=draw)
        mask = torch.ones_like(ids)
        columns = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        rows = Dataset.from_dict({name: column.tolist() for name, column in columns.items()})
        return BatchStream(rows, collate, size, seed)

    asked = {
        "hypergradient": named(given.hypergradient),
        "schedule": given.schedule,
        "precision": precision,
        "warmup_steps": 1,
        "outer_steps": WARM_UP + given.steps,
        "batch_size": given.rows,
        "outer_batch_size": given.rows,
    }
    return Program(
        model,
        stream(given.rows),
        stream(given.rows),
        loss,
        LoraOptions(k=given.k),
        head_modules(model),
        read(SearchOptions, asked, "options"),
        RankOptions(),
        seed,
        given.device,
    )


def seconds(ends: list[float]) -> float:
    """Return the median time between the ends of steps, after the warm-up."""
    ends = ends[WARM_UP - 1 :]
    return statistics.median(after - before for before, after in pairwise(ends))


def timed(model: PreTrainedModel, given: argparse.Namespace, precision: str, count: int) -> float:
    """Return the time of an outer step of so many searches in one pass; 0: of one alone."""
    ends: list[float] = []

    def observe(row: dict[str, Any]) -> None:
        if row.get("search", 0) == 0 and "outer_step" in row:
            ends.append(time.perf_counter())

    if count == ALONE:
        run_programs([program(model, given, precision, 0)], observe=observe)
    else:
        each = [program(model, given, precision, seed) for seed in range(count)]
        run_together(each, observe=observe)
    return seconds(ends)


def measure(given: argparse.Namespace, precision: str) -> list[dict[str, Any]]:
    """Return a row for one search alone, and one for each number of searches in one pass."""
    device = torch.device(given.device)
    model = base(given.model)
    rows: list[dict[str, Any]] = []
    for count in (ALONE, *given.searches):
        try:
            with peak(device) as memory:
                took = timed(model, given, precision, count)
                rows.append({"searches": count, "seconds": took, "gib": memory()})
        except torch.OutOfMemoryError:
            print(f"{count} searches do not fit", flush=True)
            break
    alone = statistics.mean((rows[0]["seconds"], timed(model, given, precision, ALONE)))
    method = given.hypergradient
    about = {"model": given.model, "method": method, "precision": precision}
    return [
        about | row | {"times": max(row["searches"], 1) * alone / row["seconds"]} for row in rows
    ]


def cells(row: dict[str, Any]) -> Iterable[str]:
    """Return a row of the table."""
    count = row["searches"]
    yield from (row["method"], row["precision"], str(count or "one at a time"))
    yield f"{1000 * row['seconds']:.1f}"
    yield f"{max(count, 1) / row['seconds']:.1f}"
    yield f"{row['times']:.2f}"
    yield f"{row['gib']:.2f}"


def main() -> None:
    """Measure, print the table, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    cuda = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=cuda)
    parser.add_argument("--model", default="6x384", help="a name, or LAYERSxHIDDEN (6x384)")
    parser.add_argument("--rows", type=int, default=16, help="rows of a batch of each search")
    parser.add_argument("--length", type=int, default=32, help="tokens of a row")
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument(
        "--hypergradient",
        default="darts",
        help=f"a name, or a mapping with `method` as JSON; {', '.join(METHODS)}",
    )
    parser.add_argument("--schedule", default="look_ahead", help="look_ahead or alternating")
    parser.add_argument("--searches", type=sizes, default=[8, 32], help="numbers of searches")
    parser.add_argument("--precision", default="float32,bf16", help="float32, bf16 (autocast)")
    parser.add_argument("--steps", type=int, default=15, help="outer steps that are timed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a list of rows to FILE")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
    name = machine(given.device)
    print(f"{name}, {given.model}, {given.rows} rows x {given.length} tokens, k {given.k}\n")
    rows = [row for precision in given.precision.split(",") for row in measure(given, precision)]
    print(table(COLUMNS, [list(cells(row)) for row in rows]))
    if given.json:
        given.json.write_text(json.dumps({"device": name, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
