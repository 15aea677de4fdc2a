"""One class for each text, or pair of texts."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from scipy.special import log_softmax
from sklearn.metrics import f1_score, matthews_corrcoef
from torch import Tensor, nn
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from autolora_meta.finetuning.batches import Collate

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SequenceClassification:
    """Cross-entropy over classes (`autolora_meta.finetuning.tasks.Task`).

    Args:
        labels: names of the classes. (C,)
        max_length: tokens a text, or a pair together, is cut to.
    """

    labels: tuple[str, ...]
    max_length: int
    peft_type: str = "SEQ_CLS"
    model_class: str = "AutoModelForSequenceClassification"

    def model_settings(self) -> dict[str, Any]:
        """Number and names of the classes."""
        return {
            "num_labels": len(self.labels),
            "id2label": dict(enumerate(self.labels)),
            "label2id": {name: i for i, name in enumerate(self.labels)},
        }

    def encode(
        self,
        rows: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        say: Callable[[str], None] = _log.info,
    ) -> Dataset:
        """Token ids, not padded, and `labels`.

        Args:
            rows: columns text, text_pair (optional), label.
            tokenizer: the model's; cuts at `max_length`, or at its own limit where that is less.
            say: told how many texts were cut.
        """
        texts = list(rows["text"])
        pairs = list(rows["text_pair"]) if "text_pair" in rows.column_names else None
        # Encoded whole first, since a tokenizer does not tell which texts it cut.
        lengths = [len(ids) for ids in tokenizer(texts, pairs, verbose=False)["input_ids"]]
        limit = min(self.max_length, tokenizer.model_max_length)
        encoded = dict(tokenizer(texts, pairs, truncation=True, max_length=limit))
        if cut := sum(length > limit for length in lengths):
            say(f"{cut} of {len(lengths)} texts are longer than {limit} tokens: cut")
        return Dataset.from_dict({**encoded, "labels": list(rows["label"])})

    def collator(self, tokenizer: PreTrainedTokenizerBase) -> Collate:
        """Pads a batch to its longest text."""
        return DataCollatorWithPadding(tokenizer)

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Mean cross-entropy of the batch; the model computes it from `labels`."""
        return model(**batch).loss

    def metrics(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Accuracy, cross-entropy in nats, macro F1 and Matthews correlation.

        Macro F1 gives every class the same weight; the correlation is 0 where one class is
        predicted throughout.

        Args:
            logits: (n, C)
            labels: (n,)
        """
        log_p = log_softmax(logits.astype(np.float64), axis=1)
        predicted = logits.argmax(axis=1)
        classes = np.arange(len(self.labels))
        f1 = f1_score(labels, predicted, labels=classes, average="macro", zero_division=0)  # pyright: ignore[reportArgumentType]
        return {
            "accuracy": float((predicted == labels).mean()),
            "cross_entropy": float(-log_p[np.arange(len(labels)), labels].mean()),  # -mean log p_y
            "macro_f1": float(f1),
            "matthews": float(matthews_corrcoef(labels, predicted)),
        }
