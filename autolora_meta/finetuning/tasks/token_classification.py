"""One tag for each word: entities, parts of speech."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, ClassVar, Self

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from transformers import (
    DataCollatorForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from autolora_meta.errors import InputError
from autolora_meta.finetuning.batch_order import Collate
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.evaluation import batches
from autolora_meta.finetuning.tasks.base import Say, Task
from autolora_meta.finetuning.tasks.encoding import IGNORED, labelled, say_cut, token_limit
from autolora_meta.finetuning.tasks.metrics import Evaluation, alike, named
from autolora_meta.finetuning.tasks.options import TaskOptions
from autolora_meta.finetuning.tasks.sequence_classification import class_entropy, class_settings

_log = logging.getLogger(__name__)
_ENTITIES = ("entity_f1", "entity_precision", "entity_recall")
_OUTSIDE = "O"


@dataclass(frozen=True)
class TokenClassification(Task):
    """Cross-entropy over the tags of words, each predicted at the word's first piece.

    Args:
        labels: the tags. (C,)
        max_length: tokens a sentence is cut to.
    """

    labels: tuple[str, ...] = field()  # without the default that Task has
    max_length: int

    roles = (
        Role("tokens", "tokens", ("tokens", "words"), True, "the words"),
        Role("tags", "tags", ("ner_tags", "tags", "labels", "pos_tags"), True, "their tags"),
    )
    measures = named(*_ENTITIES, "accuracy")
    peft_type = "TOKEN_CLS"
    model_class = "AutoModelForTokenClassification"
    # Words come apart from each other; byte-level tokenizers then want to be told that each one
    # stands behind a space.
    tokenizer_settings: ClassVar[Mapping[str, Any]] = {"add_prefix_space": True}

    @classmethod
    def build(
        cls, options: TaskOptions, rows: DatasetDict, *, base: Any, dataset: str | None
    ) -> Self:
        """Build the task for the tags of `rows`."""
        return cls(tuple(rows["train"].features["tags"].feature.names), options.max_length)

    @property
    def measured(self) -> tuple[str, ...]:
        """Accuracy, and entity scores if tags are those of entities and seqeval is installed."""
        return tuple(self.measures) if self._entities and not self.lacking else ("accuracy",)

    @property
    def lacking(self) -> Mapping[str, str]:
        """Entity scores, if seqeval is not installed."""
        if not self._entities or find_spec("seqeval"):
            return {}
        why = "seqeval is not installed (pip install 'autolora-meta[token-classification]')"
        return dict.fromkeys(_ENTITIES, why)

    @property
    def compared(self) -> tuple[str, ...]:
        """Entity F1, or accuracy if there are no entities."""
        return ("entity_f1",) if self._entities else ("accuracy",)

    @property
    def _entities(self) -> bool:
        """Whether the tags are those of entities: O, B-, I-, E-, S-."""
        return _OUTSIDE in self.labels and all(
            label == _OUTSIDE or label[:2] in ("B-", "I-", "E-", "S-") for label in self.labels
        )

    def model_settings(self) -> dict[str, Any]:
        """Return number and names of the tags."""
        return class_settings(self.labels)

    def encode(
        self, rows: Dataset, processor: PreTrainedTokenizerBase, say: Say = _log.info
    ) -> Dataset:
        """Return token ids, not padded, with `labels`, `words` and `tags`.

        `labels` has the word's tag at its first piece, and what the loss ignores at the others;
        `words` are the numbers of the words that have a piece; `tags` are those of all words.

        Args:
            rows: columns tokens and tags.
            processor: a fast tokenizer, which knows the word of each piece.
            say: told how many sentences were cut.

        Raises:
            InputError: the tokenizer does not know the word of each piece.
        """
        if not processor.is_fast:
            raise InputError(
                f"{type(processor).__name__} does not tell which word a piece is of, so tags "
                "cannot be laid on pieces; take a model with a fast tokenizer"
            )
        words, tags = list(rows["tokens"]), list(rows["tags"])
        whole = processor(words, is_split_into_words=True, verbose=False)
        limit = token_limit(self.max_length, processor)
        say_cut([len(ids) for ids in whole["input_ids"]], limit, say)
        encoded = processor(words, is_split_into_words=True, truncation=True, max_length=limit)
        columns: dict[str, list[list[int]]] = {"labels": [], "words": [], "tags": tags}
        for i, of_words in enumerate(tags):
            firsts = _first_pieces(encoded.word_ids(i))
            columns["labels"].append([IGNORED if w is None else of_words[w] for w in firsts])
            columns["words"].append([w for w in firsts if w is not None])
        return Dataset.from_dict({**encoded, **columns})

    def counted(self, batch: Mapping[str, Any]) -> int:
        """Return the number of words that have a tag."""
        return labelled(batch, shifted=False)

    def collator(self, processor: PreTrainedTokenizerBase) -> Collate:
        """Return a collator that pads sentences, and their labels with what the loss ignores."""
        pad = DataCollatorForTokenClassification(processor)
        left_out = ("words", "tags")
        return lambda rows: pad([{k: r[k] for k in r if k not in left_out} for r in rows])

    def blind_loss(self, rows: Dataset) -> float:
        """Return the entropy of the tags."""
        tags = np.concatenate(rows["labels"])
        return class_entropy(tags[tags != IGNORED])

    @torch.no_grad()
    def evaluate(
        self,
        model: PreTrainedModel,
        rows: Dataset,
        processor: PreTrainedTokenizerBase,
        batch_size: int,
    ) -> dict[str, float]:
        """Return `tag_metrics` of the likeliest tags; words without a piece count as outside."""
        outside = self.labels.index(_OUTSIDE) if _OUTSIDE in self.labels else IGNORED
        tags, words = list(rows["tags"]), iter(rows["words"])
        predicted = [[outside] * len(of_words) for of_words in tags]
        sentences = iter(predicted)
        for batch in batches(rows, self.collator(processor), batch_size, model.device):
            likeliest = model(**batch).logits.argmax(-1)  # (B, T)
            for found, kept in zip(likeliest, batch["labels"] != IGNORED, strict=True):
                sentence = next(sentences)
                for word, tag in zip(next(words), found[kept].tolist(), strict=True):
                    sentence[word] = tag
        flat = [[tag for of_words in each for tag in of_words] for each in (predicted, tags)]
        one = alike(flat[0], flat[1], lambda tag: f"tag '{self.labels[tag]}'")
        return Evaluation(self.tag_metrics(predicted, tags), one and one.replace("rows", "words"))

    def tag_metrics(self, predicted: list[list[int]], tags: list[list[int]]) -> dict[str, float]:
        """Return accuracy over words; precision, recall and F1 over entities of all types.

        An entity counts if its bounds and its type are right (CoNLL-2003's rule, by seqeval).

        Args:
            predicted: numbers of the predicted tags of each sentence, one for each word.
            tags: the right ones.
        """
        right = np.concatenate(predicted) == np.concatenate(tags)
        metrics = {"accuracy": float(right.mean())}
        if "entity_f1" in self.measured:
            from seqeval.metrics import f1_score, precision_score, recall_score

            found, given = self._named(predicted), self._named(tags)
            metrics |= {
                "entity_f1": float(f1_score(given, found, zero_division=0)),
                "entity_precision": float(precision_score(given, found, zero_division=0)),
                "entity_recall": float(recall_score(given, found, zero_division=0)),
            }
        return metrics

    def _named(self, tags: list[list[int]]) -> list[list[str]]:
        return [[self.labels[tag] for tag in of_words] for of_words in tags]


def _first_pieces(words: list[int | None]) -> list[int | None]:
    """Return the number of each word at its first piece, and None at every other piece."""
    before = [None, *words[:-1]]
    return [word if word != last else None for word, last in zip(words, before, strict=True)]
