"""Retrain: from a rank pattern to a trained PEFT adapter, with transformers' Trainer."""

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal, Self

import torch
from datasets import concatenate_datasets
from peft import PeftModel
from pydantic import Field, model_validator
from transformers import PreTrainedModel, PrinterCallback, TrainingArguments

from autolora_meta.errors import InputError
from autolora_meta.finetuning.architectures import model_type
from autolora_meta.finetuning.buffers import refuse_moving_buffers, standing_still
from autolora_meta.finetuning.checkpointing import checkpointed
from autolora_meta.finetuning.evaluation import by_length
from autolora_meta.finetuning.heads import refuse_new_and_frozen
from autolora_meta.finetuning.known_by import known_by
from autolora_meta.finetuning.lora import adapter_parameters, refuse_other_layers, with_adapter
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.finetuning.numbered_rows import weighing
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain_result import RetrainResult
from autolora_meta.finetuning.shared_loss import shared
from autolora_meta.finetuning.start import Start
from autolora_meta.finetuning.staying import copied, moved
from autolora_meta.finetuning.trainer import Follow, TaskTrainer
from autolora_meta.foundation import processes
from autolora_meta.foundation.checkpoints import Checkpoints
from autolora_meta.foundation.content_hash import content_hash
from autolora_meta.foundation.device import begin, resolved_precision
from autolora_meta.foundation.interrupts import waiting
from autolora_meta.foundation.options import LATER, Options, hashed, one_of_two
from autolora_meta.foundation.places import scratch, sweep
from autolora_meta.foundation.progress import Progress, Say, Silent
from autolora_meta.foundation.randomness import derive, seeded
from autolora_meta.ranks.pattern import RankPattern

_LOG = logging.getLogger("autolora_meta")


class RetrainOptions(Options):
    """Training of the adapter at the allocated ranks, with AdamW."""

    steps: int = Field(default=300, ge=1, description="Training steps.")
    epochs: float | None = Field(
        default=None,
        gt=0,
        description="Passes over training and validation rows, in place of steps, which follow "
        "once the rows are read; null: as steps says.",
        json_schema_extra=LATER,
    )
    start: Literal["scratch", "search"] = Field(
        default="scratch",
        description="Start of the retraining. scratch: new factors, as in the paper. search: the "
        "factors that the search trained, cut to the ranks, and its head; an arm without a search "
        "starts from scratch.",
    )
    batch_size: int = Field(default=16, ge=1, description="Rows of a batch.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Largest learning rate.")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="Schedule of the learning rate after the warm-up."
    )
    warmup: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the steps in which the learning rate rises."
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="Decay of AdamW, on factors and head."
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="Largest norm of the gradients, which are scaled down to it."
    )
    group_by_length: bool = Field(
        default=False,
        description="Whether batches hold rows of similar length: less padding and shorter steps, "
        "but batches that are less mixed; texts only.",
    )
    precision: Literal["float32", "bf16", "auto"] = Field(
        default="float32",
        description="Precision of training passes; bf16: under autocast; auto: bf16 where the "
        "device is faster with it. Test passes are always float32.",
    )
    eval_batch_size: int = Field(
        default=64, ge=1, description="Rows of a test batch; changes time and memory alone."
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Passes of batch_size rows that make one step: the gradient is that of "
        "accumulate times batch_size rows, and memory holds one pass.",
        json_schema_extra=LATER,
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Whether blocks of the model are computed again on the way back, in the place "
        "of keeping what is in them: less memory, about a third more time, the same gradients.",
        json_schema_extra=LATER,
    )

    @classmethod
    def kept_under(cls, below: Any, above: Mapping[str, Any]) -> dict[str, Any]:
        """Let a layer that sets steps or epochs take the place of both below it."""
        return one_of_two(below, above, "steps", "epochs")

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> Self:
        if self.epochs is not None and self.steps != type(self).model_fields["steps"].default:
            raise ValueError(
                f"steps is {self.steps} and epochs is {self.epochs:g}; give one of the two"
            )
        return self

    def in_steps(self, rows: int) -> Self:
        """Return the options with the steps that the epochs are over so many rows."""
        if self.epochs is None:
            return self
        epoch = math.ceil(rows / (self.batch_size * self.accumulate))
        return self.model_copy(update={"steps": math.ceil(self.epochs * epoch), "epochs": None})

    @property
    def saves_memory(self) -> bool:
        """Whether time is given for memory, so that adapters are trained one at a time."""
        return self.accumulate > 1 or self.gradient_checkpointing


def retrain(
    prepared: Prepared,
    pattern: RankPattern,
    options: RetrainOptions,
    *,
    seed: int,
    dropout: float = 0.0,
    start: Start | None = None,
    by_row: bool = False,
    weights: torch.Tensor | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
    say: Say = _LOG.info,
) -> RetrainResult:
    """Train LoRA with the ranks of `pattern` on train + validation rows; evaluate on test rows.

    The order of the rows and the dropout masks come from `derive(seed, "order")`, the factors from
    `derive(seed, "retrain factors")`, the head with the model: two calls give the same bytes.

    Args:
        prepared: a base with its head, and encoded rows. A copy of the model is trained, so one
            `prepare` serves any number of patterns.
        pattern: ranks and scale; a layer of rank 0 gets no adapter.
        options: steps, learning rate and so on.
        seed: of the replicate.
        dropout: on the input of the adapters.
        start: what a search trained; None: from scratch, whatever `options` says.
        by_row: measure the loss of each test row, in place of the task's metrics.
        weights: of the training rows, then of the validation rows, each at least 0; their loss is
            multiplied by weight over mean weight. None: all weigh the same. (n,)
        device: cpu, or an accelerator for the Trainer.
        progress: told after each step.
        checkpoints: where it is saved, also at Ctrl-C and SIGTERM, and goes on from.
        say: told from where it goes on.

    Raises:
        InputError: all ranks are 0, the pattern names layers that the model lacks, the loss is no
            longer a number, rows without texts are to be grouped by length, the weights do not fit
            the rows, or the checkpoints are of another retraining.
    """
    task, rows = prepared.task, prepared.rows
    options = options.in_steps(len(rows["train"]) + len(rows["validation"]))
    if options.group_by_length and "input_ids" not in rows["train"].column_names:
        raise InputError("retrain.group_by_length is for texts, and these rows hold none; leave it")
    begin(device)
    wrapped = started(copied(prepared.model), prepared, pattern, dropout, seed, start)
    follow = Follow(progress or Silent(), options.steps)
    test = by_length(rows["test"])
    fitted = concatenate_datasets([rows["train"], rows["validation"]])
    loss = unweighted = shared(task.loss)
    collate = prepared.collate
    if weights is not None:
        loss, collate, fitted = weighing(task.loss, collate, fitted, weights)
    sweep(temporary := Path(gettempdir()), "autolora")
    with scratch(temporary) as nothing_kept, seeded(derive(seed, "order")):
        trainer = TaskTrainer(
            loss,
            collate,
            autocast=resolved_precision(options.precision, device) == "bf16",
            count=task.counted,
            model=wrapped,
            args=training_arguments(options, str(nothing_kept), derive(seed, "order"), device),
            train_dataset=fitted,
            callbacks=[follow],
        )
        trainer.remove_callback(PrinterCallback)
        first = rows["train"].__getitems__(list(range(min(options.batch_size, len(rows["train"])))))
        inputs = trainer._prepare_inputs(prepared.collate(first))
        try:
            saving = checkpointed(wrapped, options.gradient_checkpointing)
            with saving, standing_still(wrapped):
                refuse_moving_buffers(wrapped.train(), lambda: unweighted(wrapped, inputs))
                if checkpoints is None:
                    trainer.train()
                else:
                    own = [] if weights is None else [weights]
                    about = content_hash(asdict(pattern), hashed(options), dropout, seed, *own)
                    known = known_by(about, wrapped, prepared)
                    with waiting() as stop:
                        trainer.train_from(checkpoints, known, stop, say)
        finally:
            follow.progress.close()
        wrapped.eval()
        size, metrics, losses = options.eval_batch_size, dict[str, float](), None
        if not processes.leads():
            pass  # the first process tests it
        elif by_row:
            losses = prepared.row_losses(wrapped, size)
        else:
            metrics = prepared.evaluate(wrapped, rows["test"], size)  # pyright: ignore[reportArgumentType]
    few = test.__getitems__(list(range(min(8, len(test)))))
    return RetrainResult(
        model=moved(wrapped, "cpu"),
        tokenizer=prepared.tokenizer,
        metrics=metrics,
        log=follow.log,
        parameters=sum(p.numel() for p in adapter_parameters(wrapped).values()),
        sample=dict(prepared.collate(few)),
        losses=losses,
    )


def started(
    model: PreTrainedModel,
    prepared: Prepared,
    pattern: RankPattern,
    dropout: float,
    seed: int,
    start: Start | None,
) -> PeftModel:
    """Wrap `model`, that of `prepared` or a copy, with an adapter as a retraining starts from it.

    Raises:
        InputError: as of `retrain`, before the first step.
    """
    _refuse_other_model(pattern, prepared)
    refuse_new_and_frozen(prepared.model, prepared.head)
    config = lora_config(
        pattern,
        dropout=dropout,
        task_type=prepared.task.peft_type,
        modules_to_save=prepared.head,
        architecture=model_type(prepared.model),
    )
    wrapped = with_adapter(model, config, derive(seed, "retrain factors"))
    refuse_other_layers(wrapped, pattern)
    if start is not None:
        start.put_into(wrapped)
    return wrapped


def _refuse_other_model(pattern: RankPattern, prepared: Prepared) -> None:
    layers = dict(prepared.model.named_modules())
    absent = [name for name in pattern.names if name not in layers]
    if absent:
        raise InputError(
            f"the rank pattern is of another model: {prepared.model.config.name_or_path} has no "
            f"layer '{absent[0]}' ({len(absent)} of {len(pattern)} are missing); give a pattern "
            "that was found for this model"
        )


def training_arguments(
    options: RetrainOptions, folder: str, seed: int, device: torch.device | str
) -> TrainingArguments:
    """Return the Trainer's arguments for these options; it is given an empty folder."""
    return TrainingArguments(
        output_dir=folder,
        max_steps=options.steps,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulate,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.schedule
        if options.schedule != "constant"
        else "constant_with_warmup",
        warmup_steps=math.ceil(options.warmup * options.steps),
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        seed=seed % 2**32,  # numpy takes no more
        use_cpu=torch.device(device).type == "cpu",
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        train_sampling_strategy="group_by_length" if options.group_by_length else "random",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
