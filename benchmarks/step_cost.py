"""Cost of a search step in plain steps: python -m benchmarks.step_cost [--json FILE].

A plain step is a training step of PEFT LoRA at rank k: same targets, batch, length, attention and
optimizer, no hooks. Steps are timed in turns in one process; the figure is the median of the ratios
of all rounds. Peak memory is the increment above the loaded model, in a new process for each row.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.prepare import prepare
from autolora_meta.foundation.randomness import seed_everything
from autolora_meta.reporting.markdown import table
from autolora_meta.verification.betty_rows import betty_accuracy
from autolora_meta.verification.measure import AccuracyRow, accuracy
from autolora_meta.verification.model import model_case
from benchmarks.arms import ARMS, PLAIN, Arm, opened

BOUNDS = {  # float32, in plain steps
    Arm("darts", "forward", "alternating"): 3.3,
    Arm("darts", "central", "look_ahead"): 5.3,
    Arm("first_order", None, "alternating"): 2.2,
}
MEMORY_BOUND, MEMORY_BOUND_FOR = 1.15, ("darts", "first_order")
# glibc keeps freed blocks; handing them back at once makes resident memory follow what is in use.
TRIMMED = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}


def ratios(config: RunConfig, rounds: int) -> dict[Arm, tuple[float, float]]:
    """Return the median ratio of each arm to a plain step, in CPU time and in wall time."""
    seed_everything(0)
    prepared = prepare(config.model, config.data, config.task, config.seed)
    taken: dict[Arm, list[tuple[float, float]]] = {arm: [] for arm in (PLAIN, *ARMS)}
    with ExitStack() as stack:
        steps = {arm: stack.enter_context(opened(arm, config, prepared)) for arm in taken}
        for step in steps.values():  # first steps allocate optimizer state
            step()
        for done in range(rounds):
            for arm, step in steps.items():
                cpu, wall = time.process_time(), time.perf_counter()
                step()
                synchronise()
                spent = time.process_time() - cpu, time.perf_counter() - wall
                taken[arm].append(spent)
            print(f"\rround {done + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    medians = {arm: _median_ratios(taken[arm], taken[PLAIN]) for arm in ARMS}
    for arm, (cpu, wall) in medians.items():
        print(f"{arm.label}: {cpu:.2f} in CPU time, {wall:.2f} in wall time", file=sys.stderr)
    return medians


def _median_ratios(
    arm: list[tuple[float, float]], plain: list[tuple[float, float]]
) -> tuple[float, float]:
    pairs = list(zip(arm, plain, strict=True))
    return (
        statistics.median(a[0] / p[0] for a, p in pairs),
        statistics.median(a[1] / p[1] for a, p in pairs),
    )


def synchronise() -> None:
    """Wait for the accelerator, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def memory(arm: Arm, layers: Sequence[str]) -> float | None:
    """Return the peak increment in bytes above the loaded model, measured in a new process."""
    command = [sys.executable, "-m", "benchmarks.memory", arm.label, *layers]
    done = subprocess.run(
        command, env=os.environ | TRIMMED, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def accuracies(config: RunConfig) -> dict[tuple[str, str | None], AccuracyRow]:
    """Return the accuracy of each setting on the same model, by method and difference."""
    methods = ("first_order", "darts", {"method": "darts", "scheme": "forward"}, "one_step")
    with model_case(config) as case:
        chosen = replace(case, methods=methods)
        rows = [*accuracy(chosen), *betty_accuracy(chosen, ("darts",))]
    return {(row.method, row.difference): row for row in rows}


def measure(layers: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """Return a row for each arm: its cost, its memory and its accuracy."""
    config = RunConfig.load(*layers)
    torch.set_num_threads(config.runtime.threads)
    times, accurate, plain = ratios(config, rounds), accuracies(config), memory(PLAIN, layers)
    rows = []
    for arm in ARMS:
        cpu, wall = times[arm]
        used, exact = memory(arm, layers), accurate[arm.method, arm.difference]
        rows.append(
            {
                **arm._asdict(),
                "ratio_to_plain": wall if torch.cuda.is_available() else cpu,
                "ratio_wall": wall,
                "memory_ratio": used / plain if used and plain else None,
                "relative_error": exact.relative_error,
                "cosine": exact.cosine,
                "rounds": rounds,
            }
        )
    return rows


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for each target."""
    sentences = []
    for row in rows:
        arm = Arm(row["method"], row["difference"], row["schedule"])
        checks = [(row["ratio_to_plain"], BOUNDS.get(arm), "plain steps")]
        if row["memory_ratio"] is not None and row["method"] in MEMORY_BOUND_FOR:
            checks.append((row["memory_ratio"], MEMORY_BOUND, "times a plain step's memory"))
        for value, bound, unit in checks:
            if bound is not None:
                word = "holds " if value <= bound else "MISSED"
                sentences.append(f"{word} {arm.label}: {value:.2f} {unit}, bound {bound:g}")
    return sentences


def main() -> None:
    """Measure, print the table and the targets, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a list of rows to FILE")
    parser.add_argument("--rounds", type=int, default=20, help="steps of each kind, interleaved")
    parser.add_argument("layers", nargs="*", default=["quickstart"], metavar="CONFIG")
    given = parser.parse_args()
    rows = measure(given.layers, given.rounds)
    print(
        table(
            list(rows[0]),
            [[f"{v:.3g}" if isinstance(v, float) else v for v in row.values()] for row in rows],
        )
    )
    print("\n".join(["", *verdicts(rows)]))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
