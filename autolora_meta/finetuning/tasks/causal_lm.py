"""The text itself: each token from those before it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from datasets import Dataset, DatasetDict
from torch.nn.functional import cross_entropy
from transformers import DataCollatorForSeq2Seq, PreTrainedModel, PreTrainedTokenizerBase

from autolora_meta.errors import InputError
from autolora_meta.finetuning.batch_order import Collate
from autolora_meta.finetuning.data.roles import TEXT
from autolora_meta.finetuning.evaluation import batches
from autolora_meta.finetuning.tasks.base import Say, Task
from autolora_meta.finetuning.tasks.encoding import IGNORED, encode_texts, labelled, padded_on
from autolora_meta.finetuning.tasks.metrics import named
from autolora_meta.finetuning.tasks.options import TaskOptions

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CausalLM(Task):
    """Mean cross-entropy of the tokens of a text, each given those before it.

    Args:
        max_length: tokens a text is cut to.
    """

    max_length: int

    roles = (TEXT,)
    measures = named("perplexity", "cross_entropy")
    peft_type = "CAUSAL_LM"
    model_class = "AutoModelForCausalLM"

    @classmethod
    def build(
        cls, options: TaskOptions, rows: DatasetDict, *, base: Any, dataset: str | None
    ) -> Self:
        """Build the task; it does not depend on the rows."""
        return cls(options.max_length)

    @property
    def compared(self) -> tuple[str, ...]:
        """Perplexity; the cross-entropy is its logarithm."""
        return ("perplexity",)

    def encode(
        self, rows: Dataset, processor: PreTrainedTokenizerBase, say: Say = _log.info
    ) -> Dataset:
        """Return token ids, not padded, and the same as `labels`.

        Args:
            rows: column text.
            processor: the tokenizer; cuts at `max_length`, or at its own limit if that is less.
            say: told how many texts were cut, and how many hold nothing to predict.

        Raises:
            InputError: no text holds two tokens.
        """
        encoded = encode_texts(rows.select_columns("text"), processor, self.max_length, say)
        full = [i for i, ids in enumerate(encoded["input_ids"]) if len(ids) > 1]
        if len(full) < len(rows):
            say(f"{len(rows) - len(full)} texts of a single token left out: nothing to predict")
        if not full:
            raise InputError("no text has two tokens or more, so there is nothing to predict")
        columns = {name: [values[i] for i in full] for name, values in encoded.items()}
        return Dataset.from_dict({**columns, "labels": columns["input_ids"]})

    def counted(self, batch: Mapping[str, Any]) -> int:
        """Return the number of tokens that are predicted: all of a row but its first."""
        return labelled(batch, shifted=True)

    def collator(self, processor: PreTrainedTokenizerBase) -> Collate:
        """Return a collator that pads on the right, labels with what the loss ignores.

        After padding on the left, the first token of a text would be predicted from nothing, and
        count.
        """
        return DataCollatorForSeq2Seq(padded_on("right", processor))

    def evaluate(
        self,
        model: PreTrainedModel,
        rows: Dataset,
        processor: PreTrainedTokenizerBase,
        batch_size: int,
    ) -> dict[str, float]:
        """Return perplexity and cross-entropy of a token, in nats."""
        return token_metrics(self, model, rows, self.collator(processor), batch_size)


@torch.no_grad()
def token_metrics(
    task: Task,
    model: PreTrainedModel,
    rows: Dataset,
    collate: Collate,
    batch_size: int,
    *,
    shifted: bool = True,
) -> dict[str, float]:
    """Return perplexity and cross-entropy, in nats, of all tokens that the loss counts.

    Args:
        task: if it has a loss of its own, a mean over the tokens of a batch, that loss is used;
            else tokens are summed in float64, so that the batch size does not show in the last
            digits.
        model: in eval mode.
        rows: encoded rows with `labels`.
        collate: makes a batch of a list of rows.
        batch_size: rows a batch.
        shifted: the first label of a row is not predicted, as in a causal model.
    """
    nats, tokens = 0.0, 0
    for batch in batches(rows, collate, batch_size, model.device):
        labels = batch["labels"][:, int(shifted) :]
        counted = labels != IGNORED  # (B, T)
        if type(task).loss is Task.loss:
            said = model(**batch).logits[:, : labels.shape[1]][counted].float()  # (N, V)
            nats += cross_entropy(said, labels[counted], reduction="none").double().sum().item()
        else:
            nats += task.loss(model, batch).item() * int(counted.sum())
        tokens += int(counted.sum())
    mean = torch.tensor(nats / tokens, dtype=torch.float64)
    # exp(-mean log p); infinite where a float ends, above 709 nats
    return {"perplexity": mean.exp().item(), "cross_entropy": mean.item()}
