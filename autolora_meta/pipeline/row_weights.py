"""Weights of training rows: a configuration in; a weight for each row out."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from typing_extensions import TypedDict

from autolora_meta.bilevel.formulation import formulation
from autolora_meta.bilevel.options import Selection
from autolora_meta.bilevel.row_weights import RowWeights
from autolora_meta.config.fingerprint import fingerprint
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.batch_order import BatchStream
from autolora_meta.finetuning.data.wrong_labels import wrong_rows
from autolora_meta.finetuning.numbered_rows import PlainLoss, numbered, with_numbers
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.foundation.cost import Cost, StoredCost
from autolora_meta.foundation.device import threads
from autolora_meta.foundation.json_files import Size, read_json
from autolora_meta.foundation.places import replace_text
from autolora_meta.foundation.progress import Progress, Row, Silent
from autolora_meta.foundation.randomness import derive
from autolora_meta.pipeline.memory import naming_what_to_lower
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.program import Program, program_of


class _Stored(TypedDict):
    """What the file of learned weights holds."""

    seed: int
    fingerprint: str
    weights: list[Size]
    cost: StoredCost
    seconds: Size


@dataclass(frozen=True)
class LearnedWeights:
    """A weight for each training row, and what it cost to learn.

    Args:
        weights: between 0 and 1, the weight of a clean row, in the order of the training rows. (n,)
        seed: of the replicate.
        fingerprint: of all that they depend on.
        rows: figures of each outer step; none of weights that were read from a file.
        cost: passes.
        seconds: wall time.
    """

    weights: Tensor
    seed: int
    fingerprint: str
    rows: list[Row]
    cost: Cost
    seconds: float

    def of_all(self, prepared: Prepared) -> Tensor:
        """Return the weights of the rows of a retraining: validation rows are clean, and have 1.

        Raises:
            InputError: there are not as many training rows as weights.
        """
        count = len(prepared.rows["train"])
        if count != len(self.weights):
            raise InputError(
                f"there are {len(self.weights)} weights and {count} training rows; give weights "
                "that were learned of these rows"
            )
        return torch.cat([self.weights, torch.ones(len(prepared.rows["validation"]))])

    def save(self, file: Path) -> None:
        """Write them as JSON: row i of the training split has `weights[i]`."""
        stored: _Stored = {
            "seed": self.seed,
            "fingerprint": self.fingerprint,
            "weights": [float(w) for w in self.weights],
            "cost": {
                "forwards": self.cost.forwards,
                "backwards": self.cost.backwards,
                "double_backwards": self.cost.double_backwards,
            },
            "seconds": self.seconds,
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(file, json.dumps(stored) + "\n")

    @classmethod
    def load(cls, file: Path) -> "LearnedWeights":
        """Read what `save` wrote.

        Raises:
            InputError: it cannot be read, or holds something else.
        """
        held: _Stored = read_json(file, _Stored)
        if not held["weights"] or max(held["weights"]) > 1:
            raise InputError(f"{file} holds no weights between 0 and 1; learn them again")
        return cls(
            torch.tensor(held["weights"]),
            held["seed"],
            held["fingerprint"],
            [],
            Cost(**held["cost"]),
            held["seconds"],
        )


def learn_weights(
    config: RunConfig,
    *,
    seed: int | None = None,
    selection: Selection = "learned",
    prepared: Prepared | None = None,
    start: Tensor | None = None,
    progress: Progress | None = None,
    observe: Callable[[Row], None] = lambda row: None,
) -> LearnedWeights:
    """Learn how much each training row is to be trusted, from clean validation rows.

    A weight is the mean of its course over the second half of the outer steps, which the last batch
    of its row does not decide.

    >>> config = RunConfig.load("reweighting")              # doctest: +SKIP
    >>> learned = learn_weights(config, prepared=prepared)
    >>> retrain(config, ranks, prepared=prepared, weights=learned.of_all(prepared))

    Args:
        config: of the run; `search.problem` is one that learns weights of rows.
        seed: of the replicate; None: `config.seed`.
        selection: learned; or a control: frozen, which leaves all weights at their start, or
            random, which moves them along noise.
        prepared: model and rows, if already loaded; they are left unchanged.
        start: the weights at the start, such as `row_scores.scores_by_clean_rows`; None: 0.5. (n,)
        progress: told after each inner step.
        observe: given one row of figures after each outer step.

    Raises:
        InputError: the problem learns something else, or the configuration cannot work on this
            model and data.
        OutOfMemory: memory did not suffice; says what to lower.
    """
    build = formulation(config.search.problem)
    build.refuse(config.search, "weights of rows")
    if selection == "plain":
        raise InputError("weights are learned, frozen or random; given selection plain")
    seed = config.seed if seed is None else seed
    with threads(config.runtime.threads), naming_what_to_lower(config, "search"):
        prepared = prepared or prepare(config, seed)
        program = _program(config, prepared, seed, selection)
        started = time.perf_counter()
        with program.opened() as (wrapped, gates, _):
            gates.requires_grad_(False)  # 1 each: plain LoRA
            weights = RowWeights(len(prepared.rows["train"]), start)
            engine = build(
                wrapped,
                weights,
                program.train,
                program.validation,
                program.loss,
                program.options,
                selection=selection,
                device=program.device,
                progress=progress or Silent(),
                observe=observe,
            )
            engine.run()
    course = engine.course.trajectory.stacked()  # (T + 1, n)
    return LearnedWeights(
        course[math.ceil(len(course) / 2) :].mean(0) if len(course) > 1 else course[0],
        seed,
        fingerprint(config, seed, selection),
        engine.course.rows,
        engine.cost,
        time.perf_counter() - started,
    )


def _program(config: RunConfig, prepared: Prepared, seed: int, selection: Selection) -> Program:
    """Return the program of a search of gates, with numbered training rows."""
    plain = config.before_choice
    gates = plain.search.gates.model_copy(update={"constraint": "free", "gate_sum": "k"})
    plain = plain.model_copy(update={"search": plain.search.model_copy(update={"gates": gates})})
    program = program_of(plain, prepared, seed, selection)
    stream = BatchStream(
        numbered(prepared.rows["train"]),
        with_numbers(prepared.collate),
        config.search.batch_size,
        derive(seed, "train order"),
    )
    return replace(program, train=stream, loss=PlainLoss(prepared.task.loss))


def auc_of_wrong_labels(weights: Tensor, config: RunConfig, seed: int) -> float | None:
    """Return how well low weights tell the rows of `data.flip_labels` from the others.

    It is the chance that of a wrong and a right row, drawn at random, the wrong one weighs less;
    0.5 says nothing. None: no labels were made wrong.

    Source: Mann and Whitney, On a test of whether one of two random variables is stochastically
    larger than the other, 1947.
    """
    wrong = set(wrong_rows(len(weights), config.data.flip_labels, seed))
    if not wrong or len(wrong) == len(weights):
        return None
    is_wrong = torch.tensor([i in wrong for i in range(len(weights))])
    low, high = weights[is_wrong, None], weights[None, ~is_wrong]
    return float(((low < high).double() + 0.5 * (low == high).double()).mean())
