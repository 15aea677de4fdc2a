"""How the cost of a search step grows: python -m benchmarks.growth [--json FILE].

Layers, k, tokens, rows, inner steps and adapters of a stack are multiplied by a few factors, one at
a time. A search step is one outer step: its inner steps, the hypergradient, the step of the gates,
and the repeat that the schedule asks for. Of a stack it is one training step of all adapters.
Weights and rows are random. All sizes take steps in turns, and times are medians over the rounds:
CPU time of one thread on a CPU, else wall time. "times the first" is the median of the ratios in
each round, and the slope that of its log over the log of the factor: 1 is in proportion.
"""

import argparse
import json
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.lora import LoraOptions
from autolora_meta.foundation import plugins
from autolora_meta.foundation.options import read
from autolora_meta.pipeline.program import Program
from autolora_meta.ranks.options import RankOptions
from autolora_meta.reporting.markdown import table
from benchmarks import stacked
from benchmarks.machine import machine

SWEEPS = ("layers", "k", "length", "rows", "inner_steps", "adapters")
SLOPE, K_COST = 1.05, 1.10  # the targets: of slopes; of k from 4 to 32
WARM_UP = 2
COLUMNS = ("what grows", "values", "ms a step", "times the first", "slope", "last two")
Step = Callable[[], object]
Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """What a step is taken with; `adapters` above 0: a training step of a stack."""

    layers: int = 4
    k: int = 4
    length: int = 32
    rows: int = 8
    inner_steps: int = 1
    adapters: int = 0


class Same:
    """One batch without end."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def next(self) -> Any:
        return self._batch

    def peek(self) -> Any:
        return self._batch

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def base(model: str, layers: int) -> PreTrainedModel:
    """Return random weights in the shape of a model, or LAYERSxHIDDEN, with so many layers."""
    if shape := stacked.shape_of(model):
        return stacked.base(f"{layers}x{shape[1]}")
    config = AutoConfig.from_pretrained(model, num_labels=stacked.CLASSES)
    config.num_hidden_layers = layers
    return AutoModelForSequenceClassification.from_config(config)


def layers_of(model: str) -> int:
    """Return how many layers a model, or LAYERSxHIDDEN, has."""
    shape = stacked.shape_of(model)
    return shape[0] if shape else AutoConfig.from_pretrained(model).num_hidden_layers


@contextmanager
def search_step(size: Size, given: argparse.Namespace) -> Iterator[Step]:
    """Return a function that takes one search step of this size."""
    model = base(given.model, size.layers).to(given.device)
    options = {
        "hypergradient": given.hypergradient,
        "schedule": given.schedule,
        "precision": given.precision,
        "inner_steps": size.inner_steps,
        "warmup_steps": 0,
    }
    train, validation = (Same(stacked.batch(model, size.rows, size.length)) for _ in range(2))
    program = Program(
        model,
        train,
        validation,
        stacked.loss,
        LoraOptions(k=size.k),
        head_modules(model),
        read(SearchOptions, options, "search"),
        RankOptions.model_validate({"budget": "uniform:1"}),
        seed=0,
        device=given.device,
    )
    build = plugins.load(plugins.PROBLEMS, program.options.problem)
    with program.opened() as (wrapped, gates, _):
        streams = (program.train, program.validation)
        engine = build(
            wrapped, gates, *streams, program.loss, program.options, device=program.device
        )
        engine.train()

        def step() -> None:
            for _ in range(size.inner_steps):
                engine.train_step()

        yield step


@contextmanager
def stack_step(size: Size, given: argparse.Namespace) -> Iterator[Step]:
    """Return a function that takes one training step of a stack of this size."""
    device = torch.device(given.device)
    model = stacked.with_lora(base(given.model, size.layers), size.k, device)
    rows = stacked.batch(model, size.rows * size.adapters, size.length)
    low = torch.autocast(device.type, torch.bfloat16, enabled=given.precision == "bf16")
    with stacked.together(model, size.adapters, rows, low) as step:
        yield step


def sweep(name: str, given: argparse.Namespace) -> dict[int, Size]:
    """Return factor -> size, with `name` multiplied by each factor; the centre is that of 1."""
    layers, adapters = layers_of(given.model), int(name == "adapters")
    centre = Size(layers, given.k, given.length, given.rows, given.inner_steps, adapters)
    factors = (1, *given.times)
    return {factor: replace(centre, **{name: factor * getattr(centre, name)}) for factor in factors}


def timed(sizes: Iterable[Size], given: argparse.Namespace) -> dict[Size, list[float]]:
    """Return the seconds of a step of each size, one of each round."""
    device = torch.device(given.device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    with ExitStack() as stack:
        steps: dict[Size, Step] = {}
        for size in dict.fromkeys(sizes):
            kind = stack_step if size.adapters else search_step
            steps[size] = stack.enter_context(kind(size, given))
        taken: dict[Size, list[float]] = {size: [] for size in steps}
        for _ in range(WARM_UP + given.rounds):
            for size, step in steps.items():
                stacked.synchronise(device)
                start = clock()
                step()
                stacked.synchronise(device)
                taken[size].append(clock() - start)
    return {size: seconds[WARM_UP:] for size, seconds in taken.items()}


def slope(costs: Mapping[int, float]) -> float:
    """Return the slope of log(cost) over log(factor), by least squares.

    >>> round(slope({1: 1.0, 2: 4.0, 4: 16.0}), 6)
    2.0
    """
    x, y = ([math.log(value) for value in values] for values in (costs, costs.values()))
    return statistics.linear_regression(x, y).slope


def measure(given: argparse.Namespace) -> list[Row]:
    """Return a row for each thing that grows."""
    sweeps = {name: sweep(name, given) for name in given.sweep}
    taken = timed(chain.from_iterable(sizes.values() for sizes in sweeps.values()), given)
    rows = []
    for name, sizes in sweeps.items():
        first = taken[sizes[1]]
        times = {
            factor: statistics.median(a / b for a, b in zip(taken[size], first, strict=True))
            for factor, size in sizes.items()
        }
        rows.append(
            {
                "grows": name,
                "values": [getattr(size, name) for size in sizes.values()],
                "ms": [1000 * statistics.median(taken[size]) for size in sizes.values()],
                "times": [*times.values()],
                "slope": slope(times),
                "last_slope": slope(dict([*times.items()][-2:])),
            }
        )
    return rows


def verdicts(rows: list[Row]) -> list[str]:
    """Return a sentence for each target."""
    said = []
    for row in rows:
        name, value, bound = row["grows"], row["slope"], SLOPE
        if name == "k":
            if row["values"][0] != 4 or row["values"][-1] != 32:
                continue
            name, value, bound = "cost of k = 32 over k = 4", row["times"][-1], K_COST
        word = "holds " if value <= bound else "MISSED"
        said.append(f"{word} {name}: {value:.2f}, bound {bound:g}")
    return said


def cells(row: Row) -> list[str]:
    """Return a row as cells of the table."""
    figures = (("values", ""), ("ms", ".1f"), ("times", ".2f"))
    lists = [", ".join(f"{value:{form}}" for value in row[key]) for key, form in figures]
    return [row["grows"], *lists, f"{row['slope']:.2f}", f"{row['last_slope']:.2f}"]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    cuda = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=cuda)
    parser.add_argument("--model", default="4x128", help="LAYERSxHIDDEN, or the shape of a name")
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--length", type=int, default=32, help="tokens of a row")
    parser.add_argument("--rows", type=int, default=8, help="rows of a batch")
    parser.add_argument("--inner-steps", type=int, default=1)
    parser.add_argument("--times", type=stacked.sizes, default=[2, 4, 8], help="factors: 2,4,8")
    parser.add_argument("--sweep", nargs="+", choices=SWEEPS, default=SWEEPS, help="what grows")
    parser.add_argument("--hypergradient", default="darts", help="method of the search")
    parser.add_argument("--schedule", default="look_ahead", help="or alternating")
    parser.add_argument("--precision", default="float32", help="or bf16")
    parser.add_argument("--rounds", type=int, default=15, help="steps of each size that are timed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a list of rows to FILE")
    return parser.parse_args()


def main() -> None:
    """Measure, print the table and the targets, write the rows."""
    given = options()
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = machine(given.device)
    rows = measure(given)
    search = f"{given.hypergradient}, {given.schedule}, {given.precision}"
    print(f"{device}; a step of {given.model}: {search}\n")
    print(table(list(COLUMNS), [cells(row) for row in rows]))
    print("\n".join(["", *verdicts(rows)]))
    if given.json:
        about = {"device": device, "search": search, "model": given.model}
        given.json.write_text(json.dumps([about | row for row in rows], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
