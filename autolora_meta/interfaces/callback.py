"""`RankSearchCallback`: a search of ranks inside of somebody's own Trainer or SFTTrainer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from autolora_meta.bilevel.feed import Loss, to_device
from autolora_meta.bilevel.gating import GateOptions, lora_factors
from autolora_meta.bilevel.options import OuterOptimizerOptions
from autolora_meta.errors import InputError
from autolora_meta.exporting.start import save_cut
from autolora_meta.finetuning.batch_order import LoaderStream
from autolora_meta.foundation.cost import Cost, plain_steps
from autolora_meta.foundation.options import read
from autolora_meta.foundation.places import unused
from autolora_meta.foundation.progress import Row, Say
from autolora_meta.interfaces.folded_gates import FoldedGates
from autolora_meta.interfaces.lora_ranks import own_loss, searchable
from autolora_meta.ranks.components import Components
from autolora_meta.ranks.options import RankOptions, bounds
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import allocate


class RankSearchCallback(TrainerCallback):
    """Learn ranks while somebody's own training runs, from their evaluation rows.

    >>> trainer = SFTTrainer(model, args, train_dataset=rows, eval_dataset=others,  # doctest: +SKIP
    ...                      peft_config=LoraConfig(r=16, lora_alpha=32))
    >>> search = RankSearchCallback(trainer, budget="uniform:8", output="ranks")
    >>> trainer.add_callback(search)
    >>> trainer.train()
    >>> search.ranks                       # and ranks/ranks.json, ranks/start

    Each LoRA layer gets a gate, 1 at the start, that weighs its update: W + c B diag(gate) A. Their
    training moves A and B; after every `every` steps the gates take a step along the gradient of
    the loss on one batch of evaluation rows, at the weights as they are:

        df/d gate_l,    f = loss on evaluation rows, in eval mode

    which is the direct part of the hypergradient (method `first_order`, one forward and backward,
    one plain step). The ranks follow from the singular values of c B diag(gate) A under the budget.

    Gates act during training steps alone. Between two steps they are folded into B (B diag(gate) in
    the place of B), so that evaluations, checkpoints and the model that is left at the end are
    those of a stock PEFT model, at the full rank, with the function that was trained. A training
    that goes on from a checkpoint begins its gates at 1 again. Evaluation rows that ranks were
    learned from do not measure the result: keep others for that.

    Args:
        trainer: of transformers or TRL, on one device, whose model is a PeftModel with plain LoRA
            of one rank and scale.
        budget: adapter parameters, `uniform:R` or `total-rank:N`; None: half of the parameters that
            the adapter has now.
        output: a folder to make at the end, with ranks.json and `start`, an adapter cut to the
            ranks to go on from; None: nothing is written.
        every: training steps between two steps of the gates.
        warmup_steps: training steps before the first, since there is nothing to learn from while B
            is near 0.
        validation: batches; None: those of the trainer's evaluation rows.
        loss: (model, batch) -> scalar tensor; None: `model(**batch).loss`.
        gates: `GateOptions`; one free gate a layer by default.
        outer: optimizer of the gates (`OuterOptimizerOptions`).
        ranks: rule and limits (`RankOptions`); the importance is `singular`.
        seed: of the order of the batches, if they are shuffled.
        say: told at the end what was found, and what it cost.

    Attributes:
        ranks: the pattern, at the end; None before.
        rows: for each step of the gates `step`, `outer_loss`, the smallest and the largest gate.
        cost: passes over validation batches, beside those of the training.

    Raises:
        InputError: an option is wrong, or `output` exists. When the training begins: the model or
            the trainer cannot be searched.
    """

    def __init__(
        self,
        trainer: Any,
        *,
        budget: int | str | None = None,
        output: str | Path | None = None,
        every: int = 10,
        warmup_steps: int = 50,
        validation: Iterable[Any] | None = None,
        loss: Loss | None = None,
        gates: Mapping[str, Any] | None = None,
        outer: Mapping[str, Any] | None = None,
        ranks: Mapping[str, Any] | None = None,
        seed: int = 0,
        say: Say = print,
    ) -> None:
        if every < 1 or warmup_steps < 0:
            raise InputError(
                f"every is at least 1, and warmup_steps at least 0; given {every} and "
                f"{warmup_steps}"
            )
        if (ranks or {}).get("importance", "singular") != "singular":
            raise InputError(
                f"ranks.importance {(ranks or {})['importance']} is given, and a search inside of "
                "a training reads singular values; leave importance out"
            )
        self._trainer, self._validation = trainer, validation
        self._every, self._warmup, self._seed = every, warmup_steps, seed
        self._loss = loss or own_loss
        self._gate_options = read(GateOptions, gates or {}, "gates").read_by(per_layer=True)
        if self._gate_options.gate_sum != "k":
            raise InputError(
                "gates.gate_sum one is given, and gates of a training begin at 1; "
                "leave gate_sum out"
            )
        self._outer = read(OuterOptimizerOptions, outer or {}, "outer")
        given = {"budget": budget} if budget is not None else {}
        self._ranks = read(
            RankOptions, {"importance": "singular", **(ranks or {}), **given}, "ranks"
        )
        self._output = None if output is None else unused(output, "output").absolute()
        self._say = say
        self._live: _Live | None = None
        self.ranks: RankPattern | None = None
        self.rows: list[Row] = []
        self.cost = Cost()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the gates on the model."""
        self.close()  # of a training that was stopped
        _refuse_several_devices(args)
        model = self._trainer.model
        names, scale = searchable(model, "default")
        factors = lora_factors(model, names)
        ranks = sorted({a.shape[0] for a, _ in factors})
        if len(ranks) > 1:
            raise InputError(
                f"the adapter has ranks from {ranks[0]} to {ranks[-1]}, and a search starts with "
                "one rank everywhere; leave rank_pattern out of the LoraConfig"
            )
        costs = tuple((a.numel() + b.numel()) // ranks[0] for a, b in factors)
        self._refuse_impossible(costs, ranks[0])
        stream = LoaderStream(self._batches(), self._seed)
        batch = to_device(stream.peek(), factors[0][0].device)
        folded = FoldedGates(model, names, self._gate_options, lambda: self._loss(model, batch))
        optimizer = self._outer.build([folded.gates.logits])
        self._live = _Live(folded, optimizer, stream, costs, scale)
        self.ranks, self.rows, self.cost = None, [], Cost()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the gates act."""
        if self._live is not None:
            self._live.folded.unfold()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the gates when it is their turn, and fold them into B."""
        if self._live is None:
            return
        past = state.global_step - self._warmup
        if past > 0 and past % self._every == 0:
            self._move(self._live, state.global_step)
        self._live.folded.fold()

    def _move(self, live: "_Live", step: int) -> None:
        model, logits = live.folded.model, live.folded.gates.logits
        batch = to_device(live.stream.next(), logits.device)
        loss, gradient = live.folded.gradient(lambda: self._loss(model, batch))
        self.cost += Cost(forwards=1, backwards=1)
        if gradient.isfinite().all():  # else their training says what is wrong
            logits.grad = gradient
            live.optimizer.step()
            logits.grad = None
        gates = live.folded.gates()
        low, high = float(gates.min()), float(gates.max())
        self.rows.append({"step": step, "outer_loss": loss, "gate_min": low, "gate_max": high})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the gates off, read the ranks, and write them."""
        live = self._live
        if live is None:
            return
        self.close()
        self.ranks = live.read(self._ranks)
        kept, found = sum(rank > 0 for rank in self.ranks.ranks), len(self.ranks)
        self._say(
            f"rank search: {len(self.rows)} steps of the gates, {plain_steps(self.cost):g} plain "
            f"steps beside {state.global_step} of training; {kept} of {found} layers keep "
            f"an adapter, {self.ranks.parameters:,} parameters"
        )
        if not self.rows:
            self._say(
                f"rank search: no gate has moved in {state.global_step} steps; lower warmup_steps "
                f"({self._warmup}) or every ({self._every})"
            )
        if self._output is not None and state.is_world_process_zero:
            self._output.mkdir(parents=True)
            self.ranks.save(self._output / "ranks.json")
            save_cut(live.folded.model, self.ranks, self._output / "start")
            self._say(f"rank search: written to {self._output}")

    def close(self) -> None:
        """Fold the gates into B and take them off the model; call it if a training was stopped."""
        if self._live is not None:
            self._live.folded.close()
            self._live = None

    def _refuse_impossible(self, costs: Sequence[int], k: int) -> None:
        bounds(k, self._ranks)
        if self._ranks.rule != "budget":
            return
        if "budget" not in self._ranks.model_fields_set:
            self._ranks = self._ranks.changed(budget=sum(costs) * k // 2)
        self._ranks.budget.checked_limit(costs, self._ranks.min_rank)

    def _batches(self) -> Iterable[Any]:
        if self._validation is not None:
            return self._validation
        rows = self._trainer.eval_dataset
        if rows is None or isinstance(rows, Mapping):
            given = "no eval_dataset" if rows is None else f"{len(rows)} eval_datasets by name"
            raise InputError(
                f"the gates learn from evaluation rows, and the trainer has {given}; give "
                "validation=DataLoader(...), or the trainer one eval_dataset"
            )
        loader = self._trainer.get_eval_dataloader()
        # accelerate's counts on being read to its end, and tells the training how far it is.
        return getattr(loader, "base_dataloader", loader)


@dataclass(frozen=True)
class _Live:
    """What belongs to one training: gates, their optimizer and batches, costs and scale."""

    folded: FoldedGates
    optimizer: torch.optim.Optimizer
    stream: LoaderStream
    costs: tuple[int, ...]
    scale: float

    def read(self, options: RankOptions) -> RankPattern:
        """Return the ranks that follow from c B A, with the gates in B."""
        names, factors = self.folded.names, self.folded.factors
        ones = torch.ones(len(names), factors[0][0].shape[0])
        with torch.no_grad():
            found = Components.from_factors(names, self.costs, self.scale, ones, factors)
        return allocate(found, options)


def _refuse_several_devices(args: Any) -> None:
    parts = [f"{args.world_size} processes"] if args.world_size > 1 else []
    parts += [f"{args.n_gpu} GPUs in one process"] if args.n_gpu > 1 else []
    parts += [name for name in ("deepspeed", "fsdp") if getattr(args, name, None)]
    if parts:
        raise InputError(
            f"a search inside of a training runs on one device, and this one has {parts[0]}; "
            "search first on one (initialize_lora_ranks, or autolora-meta search)"
        )
