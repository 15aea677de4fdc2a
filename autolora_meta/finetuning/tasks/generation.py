"""A completion of each input: a description of a meaning, a translation, a summary."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from datasets import Dataset, DatasetDict
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from autolora_meta.errors import InputError
from autolora_meta.finetuning.batch_order import Collate
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.evaluation import by_length
from autolora_meta.finetuning.tasks import text_scores
from autolora_meta.finetuning.tasks.base import Say, Task
from autolora_meta.finetuning.tasks.causal_lm import token_metrics
from autolora_meta.finetuning.tasks.encoding import (
    IGNORED,
    labelled,
    padded_on,
    say_cut,
    token_limit,
)
from autolora_meta.finetuning.tasks.generate_text import write
from autolora_meta.finetuning.tasks.metrics import Evaluation, alike, named
from autolora_meta.finetuning.tasks.options import GenerationOptions, TaskOptions

_log = logging.getLogger(__name__)
_INPUTS = (
    *("text", "meaning_representation", "meaning", "mr", "input", "source", "document", "prompt"),
    *("article", "dialogue"),
)
_TARGETS = (
    *("target", "reference", "references", "human_reference", "ref", "completion", "summary"),
    *("response", "highlights"),
)


@dataclass(frozen=True)
class Generation(Task):
    """Cross-entropy of the completion alone, given the input; measured by writing on test rows.

    Args:
        max_length: tokens that input and completion are cut to: together in a causal model, each
            in an encoder-decoder model.
        options: of writing texts.
        encoder_decoder: whether the base has an encoder for the input.
    """

    max_length: int
    options: GenerationOptions
    encoder_decoder: bool = False

    roles = (
        Role("text", "text", _INPUTS, True, "the input"),
        Role("target", "references", _TARGETS, True, "what is to be written"),
    )
    group = "text"
    measures = named("bleu", "perplexity", "nist", "rouge_l", "ter", "cider", "meteor")

    @classmethod
    def build(
        cls,
        options: TaskOptions,
        rows: DatasetDict,
        *,
        base: PreTrainedConfig | None,
        dataset: str | None,
    ) -> Self:
        """Build the task for this base."""
        encoder_decoder = bool(getattr(base, "is_encoder_decoder", False))
        return cls(options.max_length, options.generation, encoder_decoder)

    @property
    def peft_type(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of a causal or of an encoder-decoder model."""
        return "SEQ_2_SEQ_LM" if self.encoder_decoder else "CAUSAL_LM"

    @property
    def model_class(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of a causal or of an encoder-decoder model."""
        return "AutoModelForSeq2SeqLM" if self.encoder_decoder else "AutoModelForCausalLM"

    @property
    def measured(self) -> tuple[str, ...]:
        """Perplexity, and the scores whose packages (for METEOR, WordNet) are installed."""
        return tuple(name for name in self.measures if name not in self.lacking)

    @property
    def lacking(self) -> Mapping[str, str]:
        """Scores whose packages are not installed."""
        return text_scores.lacking()

    @property
    def compared(self) -> tuple[str, ...]:
        """Perplexity, which every training step changes, and BLEU."""
        return tuple(name for name in ("perplexity", "bleu") if name not in self.lacking)

    def encode(
        self, rows: Dataset, processor: PreTrainedTokenizerBase, say: Say = _log.info
    ) -> Dataset:
        """Return token ids, not padded, and `labels`, which leave the input out of the loss.

        All rows keep `text` and `references`, to write and score completions: an allocator may do
        so on validation rows, whose one reference is their target.

        Args:
            rows: columns text and target; test rows also references.
            processor: the tokenizer.
            say: told how many inputs and completions were cut, and which metrics are missing.

        Raises:
            InputError: the tokenizer has no token that ends a text, or completions leave no room
                for an input.
        """
        if processor.eos_token_id is None:
            raise InputError(
                f"{type(processor).__name__} has no token that ends a text, so that no completion "
                "would end; set its eos_token and save it into the model's folder"
            )
        if not self.encoder_decoder and self._room(processor) < 1:
            new, limit = self.options.max_new_tokens, token_limit(self.max_length, processor)
            raise InputError(
                f"task.generation.max_new_tokens = {new} leaves no room for an input in {limit} "
                "tokens (task.max_length, or the model's own limit); make it smaller, or "
                "task.max_length larger"
            )
        texts, targets = list(rows["text"]), list(rows["target"])
        encoded = self._encoded(texts, targets, processor, say)
        if "references" not in rows.column_names:
            references = [[target] for target in targets]
        else:
            references = list(rows["references"])
            if absent := self.lacking:
                names = [self.measures[name].label.removeprefix("test ") for name in absent]
                verb = "is" if len(names) == 1 else "are"
                say(f"{', '.join(names)} {verb} not measured: {next(iter(absent.values()))}")
        return Dataset.from_dict({**encoded, "text": texts, "references": references})

    def counted(self, batch: Mapping[str, Any]) -> int:
        """Return the number of tokens of the completions."""
        return labelled(batch, shifted=not self.encoder_decoder)

    def collator(self, processor: PreTrainedTokenizerBase) -> Collate:
        """Return a collator that pads on the right, labels with what the loss ignores.

        Padding on the left would move positions, and an encoder-decoder model would read it in
        labels as the tokens before.
        """
        pad = DataCollatorForSeq2Seq(padded_on("right", processor))
        left_out = ("text", "references")
        return lambda rows: pad([{k: r[k] for k in r if k not in left_out} for r in rows])

    def evaluate(
        self,
        model: PreTrainedModel,
        rows: Dataset,
        processor: PreTrainedTokenizerBase,
        batch_size: int,
    ) -> dict[str, float]:
        """Return perplexity over all references, and scores of a completion of each input."""
        texts, references = list(rows["text"]), list(rows["references"])
        pairs = [(t, r) for t, given in zip(texts, references, strict=True) for r in given]
        single = Dataset.from_dict(
            self._encoded([t for t, _ in pairs], [r for _, r in pairs], processor)
        )
        perplexity = token_metrics(
            self,
            model,
            by_length(single),
            self.collator(processor),
            batch_size,
            shifted=not self.encoder_decoder,
        )["perplexity"]
        if "bleu" not in self.measured:
            return {"perplexity": perplexity}
        completions = self.write(model, texts, processor, batch_size)
        scores = text_scores.scores(completions, references, meteor="meteor" in self.measured)
        right = [tuple(given) for given in references]
        one = alike(
            completions, right, lambda text: f"the text '{text[:40]}'" if text else "no text"
        )
        return Evaluation({"perplexity": perplexity, **scores}, one)

    def write(
        self,
        model: PreTrainedModel,
        texts: list[str],
        processor: PreTrainedTokenizerBase,
        batch_size: int,
    ) -> list[str]:
        """Write one completion for each input.

        Args:
            model: in eval mode, on its device.
            texts: the inputs.
            processor: the model's tokenizer.
            batch_size: inputs written to at a time.
        """
        prompts = self._prompts(texts, processor)
        both = self.encoder_decoder
        return write(model, prompts, processor, batch_size, self.options, encoder_decoder=both)

    def _encoded(
        self,
        texts: list[str],
        targets: list[str],
        tokenizer: PreTrainedTokenizerBase,
        say: Say = lambda words: None,
    ) -> dict[str, list[list[int]]]:
        encode = self._encoder_decoder_rows if self.encoder_decoder else self._causal_rows
        return encode(texts, targets, tokenizer, say)

    def _encoder_decoder_rows(
        self, texts: list[str], targets: list[str], tokenizer: PreTrainedTokenizerBase, say: Say
    ) -> dict[str, list[list[int]]]:
        limit = token_limit(self.max_length, tokenizer)
        inputs = tokenizer(texts, verbose=False)["input_ids"]
        outputs = tokenizer(text_target=targets, verbose=False)["input_ids"]
        say_cut([max(map(len, pair)) for pair in zip(inputs, outputs, strict=True)], limit, say)
        return {
            **tokenizer(texts, truncation=True, max_length=limit),
            "labels": tokenizer(text_target=targets, truncation=True, max_length=limit)[
                "input_ids"
            ],
        }

    def _causal_rows(
        self, texts: list[str], targets: list[str], tokenizer: PreTrainedTokenizerBase, say: Say
    ) -> dict[str, list[list[int]]]:
        limit = token_limit(self.max_length, tokenizer)
        separator = self._separator(tokenizer)
        inputs = tokenizer(texts, verbose=False)["input_ids"]
        outputs = tokenizer(targets, add_special_tokens=False, verbose=False)["input_ids"]
        end = [tokenizer.eos_token_id]
        rows: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
        lengths = []
        for text, target in zip(inputs, outputs, strict=True):
            completion = [*target, *end]
            lengths.append(len(text) + len(separator) + len(completion))
            # The input gives way first; the completion, when it alone is too long.
            room = max(limit - len(separator) - len(completion), 1)
            prompt = text[:room] + separator
            completion = completion[: limit - len(prompt)]
            rows["input_ids"].append(prompt + completion)
            rows["attention_mask"].append([1] * len(prompt + completion))
            rows["labels"].append([IGNORED] * len(prompt) + completion)
        say_cut(lengths, limit, say)
        return rows

    def _prompts(self, texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
        if self.encoder_decoder:
            limit = token_limit(self.max_length, tokenizer)
            return tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        separator, room = self._separator(tokenizer), self._room(tokenizer)
        inputs = tokenizer(texts, verbose=False)["input_ids"]
        return [text[:room] + separator for text in inputs]

    def _room(self, tokenizer: PreTrainedTokenizerBase) -> int:
        """Return the tokens left for an input beside the longest completion."""
        limit = token_limit(self.max_length, tokenizer)
        return limit - self.options.max_new_tokens - len(self._separator(tokenizer))

    def _separator(self, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        return tokenizer(self.options.separator, add_special_tokens=False)["input_ids"]
