"""The text itself: each token from those before it."""

import logging
from collections.abc import Callable, Mapping
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
from autolora_meta.finetuning.tasks.chat_encoding import (
    chat_tokens,
    example,
    is_chat,
    refuse_early,
    refuse_unsuited,
    say_learned,
)
from autolora_meta.finetuning.tasks.chat_template import read_template
from autolora_meta.finetuning.tasks.encoding import (
    IGNORED,
    cut,
    cut_on,
    encode_texts,
    labelled,
    padded_on,
    say_cut,
    token_limit,
)
from autolora_meta.finetuning.tasks.learned_tokens import labels_of
from autolora_meta.finetuning.tasks.metrics import named
from autolora_meta.finetuning.tasks.options import LossOn, Side, TaskOptions

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CausalLM(Task):
    """Mean cross-entropy of the tokens of a text, each given those before it.

    Rows are texts, prompts with completions, or conversations; of the latter two a part may be
    read and not learned.

    Args:
        max_length: tokens a text is cut to.
        loss_on: what is learned of conversations and completions; None: what suits the rows.
        template: of conversations; None: the tokenizer's own.
        side: on which texts are cut; None: on the right, or as the tokenizer says in plain texts.
    """

    max_length: int
    loss_on: LossOn | None = None
    template: str | None = None
    side: Side | None = None

    roles = (TEXT,)
    chat = True
    measures = named("perplexity", "cross_entropy")
    peft_type = "CAUSAL_LM"
    model_class = "AutoModelForCausalLM"

    @classmethod
    def build(
        cls, options: TaskOptions, rows: DatasetDict, *, base: Any, dataset: str | None
    ) -> Self:
        """Build the task, and refuse options that do not suit the rows.

        Raises:
            InputError: the rows do not have what is to be learned, or the template is not there.
        """
        refuse_unsuited(options, rows)
        template = options.chat_template and read_template(options.chat_template)
        return cls(options.max_length, options.loss_on, template, options.truncation_side)

    @property
    def tokenizer_settings(self) -> Mapping[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The chat template, if one was named."""
        return {} if self.template is None else {"chat_template": self.template}

    @property
    def compared(self) -> tuple[str, ...]:
        """Perplexity; the cross-entropy is its logarithm."""
        return ("perplexity",)

    def refuse_early(self, rows: DatasetDict, tokenizer: Callable[[], Any]) -> None:
        """Refuse a tokenizer that cannot tell what of the rows is learned.

        Raises:
            InputError: it is one.
        """
        refuse_early(rows, tokenizer, lambda row, words: chat_tokens(row, words, self.loss_on))

    def example(self, rows: Dataset, processor: PreTrainedTokenizerBase) -> str | None:
        """Return the first row with what is learned of it in [[ ]]; None: all of every row is."""
        return example(rows, processor)

    def encode(
        self, rows: Dataset, processor: PreTrainedTokenizerBase, say: Say = _log.info
    ) -> Dataset:
        """Return token ids, not padded, and `labels`: the ids of the tokens that are learned.

        Args:
            rows: column text, prompt and completion, or messages.
            processor: the tokenizer; texts are cut at `max_length`, or at its own limit if that is
                less.
            say: told how many texts were cut, how many hold nothing to learn, and how many tokens
                are learned.

        Raises:
            InputError: in no text there is anything to learn, or the tokenizer cannot tell it.
        """
        if not is_chat(rows):
            return self._encoded_texts(rows, processor, say)
        limit = token_limit(self.max_length, processor)
        columns: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
        lengths: list[int] = []
        for row in rows:
            whole, marks = chat_tokens(row, processor, self.loss_on)  # type: ignore[arg-type]
            ids = cut(whole, limit, self.side)
            labels = cut(labels_of(whole, marks), limit, self.side)
            lengths.append(len(whole))
            if any(label != IGNORED for label in labels[1:]):  # the first is predicted by nothing
                columns["input_ids"].append(ids)
                columns["attention_mask"].append([1] * len(ids))
                columns["labels"].append(labels)
        say_cut(lengths, limit, say)
        say_learned(columns["labels"], len(rows), limit, say)
        return Dataset.from_dict(columns)

    def _encoded_texts(
        self, rows: Dataset, processor: PreTrainedTokenizerBase, say: Say
    ) -> Dataset:
        words = cut_on(self.side, processor)
        encoded = encode_texts(rows.select_columns("text"), words, self.max_length, say)
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
