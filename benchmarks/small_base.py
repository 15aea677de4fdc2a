"""Training of the small bases that the benchmarks adapt: every weight, by stock Trainer."""

from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments


def trained(
    model: PreTrainedModel,
    words: PreTrainedTokenizerBase,
    rows: Dataset,
    collate: Any,
    folder: Path,
    *,
    epochs: float,
    rate: float,
    seed: int,
) -> None:
    """Train a model on encoded rows; save it with its tokenizer.

    Args:
        model: whose weights all move.
        words: its tokenizer.
        rows: encoded.
        collate: makes a batch of a list of rows.
        folder: where both go.
        epochs: over the rows, in batches of 32.
        rate: the largest learning rate, after 100 steps of warm-up.
        seed: of the order of the rows.
    """
    options = TrainingArguments(
        str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=32,
        learning_rate=rate,
        lr_scheduler_type="cosine",
        warmup_steps=100,
        seed=seed,
        save_strategy="no",
        logging_steps=100,
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    Trainer(model, options, train_dataset=rows, data_collator=collate).train()
    model.save_pretrained(folder)
    words.save_pretrained(folder)
