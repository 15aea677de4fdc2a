"""Adapters in one pass against one at a time: python -m benchmarks.stacked [--json FILE].

A step trains every adapter on rows of its own: forward, backward, clipping, AdamW. One at a time it
is that of stock PEFT with torch's AdamW. Both are timed in one process on random rows that lie on
the device, in blocks of steps, after a warm-up; one at a time comes first and last. The figure is
the median block. "pool" is the adapter steps a second of a pool of processes in the same run, one
adapter and one thread each. Memory is the peak on a GPU, base included; on a CPU the peak of the
process so far.
"""

import argparse
import json
import re
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
)

from autolora_meta.finetuning.stacked import adapter_state, stacked
from autolora_meta.finetuning.stacked_adamw import StackedAdamW
from benchmarks.machine import cores, machine
from benchmarks.pool import steps_a_second

Step = Callable[[], object]
BLOCKS, WARM_UP, CLASSES, RATE = 5, 3, 3, 1e-3
COLUMNS = ("model", "precision", "adapters", "ms", "adapter steps a second", "times", "pool", "GiB")


def shape_of(model: str) -> tuple[int, int] | None:
    """Return layers and hidden size of LAYERSxHIDDEN; None of a name.

    >>> shape_of("6x384"), shape_of("bert-base")
    ((6, 384), None)
    """
    shape = re.fullmatch(r"(\d+)x(\d+)", model)
    return (int(shape[1]), int(shape[2])) if shape else None


def base(model: str) -> PreTrainedModel:
    """Return a model by its name, or a BERT with random weights of a shape such as 6x384."""
    if not (shape := shape_of(model)):
        return AutoModelForSequenceClassification.from_pretrained(model, num_labels=CLASSES)
    layers, hidden = shape
    classes: dict[str, Any] = {"num_labels": CLASSES}
    config = BertConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 64),
        intermediate_size=4 * hidden,
        **classes,
    )
    return BertForSequenceClassification(config)


def with_lora(model: PreTrainedModel, rank: int, device: torch.device) -> PeftModel:
    """Return a model with LoRA on all linear layers, in train mode."""
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="SEQ_CLS"
    )
    wrapped = get_peft_model(model, config)
    assert isinstance(wrapped, PeftModel)
    return wrapped.to(device).train()


def batch(model: PeftModel | PreTrainedModel, rows: int, length: int) -> dict[str, Tensor]:
    """Return random rows on the model's device."""
    ids = torch.randint(1000, model.config.vocab_size, (rows, length))
    labels = torch.randint(CLASSES, (rows,))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    return {name: tensor.to(model.device) for name, tensor in given.items()}


def loss(model: nn.Module, rows: dict[str, Tensor]) -> Tensor:
    """Return the model's own loss."""
    return model(**rows).loss


def alone(model: PeftModel, rows: dict[str, Tensor], autocast: torch.autocast) -> Step:
    """Return a step of stock PEFT."""
    trained = [p for p in model.parameters() if p.requires_grad]
    adamw = torch.optim.AdamW(trained, lr=RATE, fused=True)

    def step() -> None:
        with autocast:
            value = loss(model, rows)
        value.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        adamw.step()
        adamw.zero_grad()

    return step


@contextmanager
def together(
    model: PeftModel, adapters: int, rows: dict[str, Tensor], autocast: torch.autocast
) -> Iterator[Step]:
    """Return a step of a stack."""
    with stacked(model, [adapter_state(model)] * adapters) as stack:
        of_each = stack.vector.new_ones(adapters)
        decayed = stack.vector.new_ones(stack.vector.shape[1])
        adamw = StackedAdamW(stack.vector, decay=0.01 * of_each, decayed=decayed, max_norm=of_each)

        def step() -> None:
            with autocast:
                losses = stack.losses(loss, rows)
            adamw.step(stack.gradient(losses), RATE * of_each)

        yield step


def seconds(step: Step, steps: int, device: torch.device) -> float:
    """Return the time of a step: the median over blocks."""
    for _ in range(WARM_UP):
        step()
    blocks = []
    for _ in range(BLOCKS):
        synchronise(device)
        start = time.perf_counter()
        for _ in range(max(1, steps // BLOCKS)):
            step()
        synchronise(device)
        blocks.append((time.perf_counter() - start) / max(1, steps // BLOCKS))
    return statistics.median(blocks)


def synchronise(device: torch.device) -> None:
    """Wait for the accelerator, if it is one."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def peak(device: torch.device) -> Iterator[Callable[[], float]]:
    """Return a function that gives the peak memory in GiB."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device) / 2**30
    else:
        unit = 1 if sys.platform == "darwin" else 2**10
        yield lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def autocast_on(device: torch.device, precision: str) -> torch.autocast:
    """Return autocast to bfloat16, or none."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def one_of_a_pool(given: argparse.Namespace, precision: str) -> Step:
    """Return a step of stock PEFT on a model of this process's own."""
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
    device = torch.device(given.device)
    model = with_lora(base(given.model), given.rank, device)
    rows = batch(model, given.rows, given.length)
    return alone(model, rows, autocast_on(device, precision))


def measure(given: argparse.Namespace, precision: str) -> list[dict[str, Any]]:
    """Return a row for one at a time (0 adapters), and one for each size of a stack."""
    device = torch.device(given.device)
    torch.manual_seed(0)
    model = with_lora(base(given.model), given.rank, device)
    autocast = autocast_on(device, precision)

    def one() -> tuple[float, float]:
        with peak(device) as memory:
            step = alone(model, batch(model, given.rows, given.length), autocast)
            return seconds(step, given.steps, device), memory()

    times: dict[int, tuple[float, float]] = {0: one()}
    for adapters in given.stack:
        try:
            rows = batch(model, given.rows * adapters, given.length)
            with peak(device) as memory, together(model, adapters, rows, autocast) as step:
                times[adapters] = seconds(step, given.steps, device), memory()
        except torch.OutOfMemoryError:
            print(f"{adapters} adapters do not fit", file=sys.stderr)
            break
    sides = {adapters: min(adapters, given.workers) for adapters in times}
    make = partial(one_of_a_pool, given, precision)
    pools = {n: steps_a_second(make, n, given.steps) for n in {*sides.values()} if n}
    times[0] = statistics.mean((times[0][0], one()[0])), times[0][1]
    return [
        {
            "model": given.model,
            "precision": precision,
            "adapters": adapters,
            "ms": 1000 * took,
            "adapter_steps_a_second": max(adapters, 1) / took,
            "times": max(adapters, 1) * times[0][0] / took,
            "pool": pools.get(sides[adapters]),
            "gib": gib,
        }
        for adapters, (took, gib) in times.items()
    ]


def sizes(text: str) -> list[int]:
    """Return numbers that are separated by commas."""
    return [int(part) for part in text.split(",")]


def line(row: dict[str, Any]) -> str:
    """Return a row as a line of a Markdown table."""
    cells = (
        row["model"],
        row["precision"],
        row["adapters"] or "one at a time",
        f"{row['ms']:.1f}",
        f"{row['adapter_steps_a_second']:.1f}",
        f"{row['times']:.2f}",
        "" if row["pool"] is None else f"{row['pool']:.1f}",
        f"{row['gib']:.2f}",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Measure, print the table, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    cuda = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=cuda)
    parser.add_argument("--model", default="6x384", help="a name, or LAYERSxHIDDEN (6x384)")
    parser.add_argument("--rows", type=int, default=16, help="rows of a batch of each adapter")
    parser.add_argument("--length", type=int, default=32, help="tokens of a row")
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--stack", type=sizes, default=[1, 8, 32, 128], help="numbers of adapters")
    parser.add_argument("--precision", default="float32,bf16", help="float32, bf16 (autocast)")
    parser.add_argument("--workers", type=int, default=cores(), help="of the pool; 0: none")
    parser.add_argument("--steps", type=int, default=25, help="steps that are timed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a list of rows to FILE")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
    name = machine(given.device)
    print(f"{name}, {given.rows} rows x {given.length} tokens, rank {given.rank}\n")
    print("| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS))
    rows = []
    for precision in given.precision.split(","):
        measured = measure(given, precision)
        print("\n".join(map(line, measured)), flush=True)
        rows += measured
    if given.json:
        about = {"device": name, "rows": given.rows, "length": given.length, "rank": given.rank}
        given.json.write_text(json.dumps([about | row for row in rows], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
