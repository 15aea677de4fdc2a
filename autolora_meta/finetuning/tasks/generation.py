"""A completion of each input: a description of a meaning, a translation, a summary."""

import logging
from collections.abc import Callable, Mapping
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
from autolora_meta.finetuning.tasks.chat_answers import (
    answered,
    asked,
    refuse_unsuited_to_write,
    say_endless,
)
from autolora_meta.finetuning.tasks.chat_encoding import example, is_chat, refuse_early
from autolora_meta.finetuning.tasks.chat_template import read_template
from autolora_meta.finetuning.tasks.completion_rows import causal_rows, encoder_decoder_rows
from autolora_meta.finetuning.tasks.encoding import cut, cut_on, labelled, padded_on, token_limit
from autolora_meta.finetuning.tasks.generate_text import write
from autolora_meta.finetuning.tasks.metrics import Evaluation, alike, named
from autolora_meta.finetuning.tasks.options import GenerationOptions, Side, TaskOptions

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
        chat_rows: whether the inputs are conversations, which a chat template writes.
        template: of conversations; None: the tokenizer's own.
        side: on which an input is cut; None: the left in conversations, else the right, or in an
            encoder-decoder model as the tokenizer says.
    """

    max_length: int
    options: GenerationOptions
    encoder_decoder: bool = False
    chat_rows: bool = False
    template: str | None = None
    side: Side | None = None

    roles = (
        Role("text", "text", _INPUTS, True, "the input"),
        Role("target", "references", _TARGETS, True, "what is to be written"),
    )
    group = "text"
    chat = True
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
        """Build the task for this base.

        Raises:
            InputError: options, or the base, do not suit the rows.
        """
        encoder_decoder = bool(getattr(base, "is_encoder_decoder", False))
        chat_rows = is_chat(rows["train"])
        template, side = options.chat_template, options.truncation_side
        refuse_unsuited_to_write(options, chat_rows=chat_rows, encoder_decoder=encoder_decoder)
        if chat_rows:
            template, side = template and read_template(template), "left"
        return cls(
            options.max_length, options.generation, encoder_decoder, chat_rows, template, side
        )

    @property
    def tokenizer_settings(self) -> Mapping[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The chat template, if one was named."""
        return {} if self.template is None else {"chat_template": self.template}

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

    def refuse_early(self, rows: DatasetDict, tokenizer: Callable[[], Any]) -> None:
        """Refuse a tokenizer whose chat template cannot write the rows.

        Raises:
            InputError: it is one.
        """
        refuse_early(rows, tokenizer, lambda row, words: answered([row["messages"]], [""], words))

    def example(self, rows: Dataset, processor: PreTrainedTokenizerBase) -> str | None:
        """Return the first conversation with what is learned of it in [[ ]]; None: texts."""
        return example(rows, processor) if self.chat_rows else None

    def encode(
        self, rows: Dataset, processor: PreTrainedTokenizerBase, say: Say = _log.info
    ) -> Dataset:
        """Return token ids, not padded, and `labels`, which leave the input out of the loss.

        All rows keep `text` and `references`, to write and score completions: an allocator may do
        so on validation rows, whose one reference is their target.

        Args:
            rows: columns text, or messages, and target; test rows also references.
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
        texts = list(rows["messages" if self.chat_rows else "text"])
        targets = list(rows["target"])
        encoded = self._encoded(texts, targets, processor, say)
        if self.chat_rows:
            say_endless(encoded["labels"], processor, say)
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
        if self.encoder_decoder:
            length = self.max_length
            return encoder_decoder_rows(texts, targets, tokenizer, length, self.side, say)
        if self.chat_rows:
            pairs = answered(texts, targets, tokenizer)
        else:
            end = [tokenizer.eos_token_id]
            inputs = tokenizer(texts, verbose=False)["input_ids"]
            outputs = tokenizer(targets, add_special_tokens=False, verbose=False)["input_ids"]
            pairs = [(text, [*target, *end]) for text, target in zip(inputs, outputs, strict=True)]
        limit = token_limit(self.max_length, tokenizer)
        return causal_rows(pairs, self._separator(tokenizer), limit, self.side, say)

    def _prompts(self, texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
        if self.encoder_decoder:
            limit = token_limit(self.max_length, tokenizer)
            words = cut_on(self.side, tokenizer)
            return words(texts, truncation=True, max_length=limit)["input_ids"]
        separator, room = self._separator(tokenizer), self._room(tokenizer)
        if self.chat_rows:
            inputs = asked(texts, tokenizer)
        else:
            inputs = tokenizer(texts, verbose=False)["input_ids"]
        return [cut(text, room, self.side) + separator for text in inputs]

    def _room(self, tokenizer: PreTrainedTokenizerBase) -> int:
        """Return the tokens left for an input beside the longest completion."""
        limit = token_limit(self.max_length, tokenizer)
        return limit - self.options.max_new_tokens - len(self._separator(tokenizer))

    def _separator(self, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        if self.chat_rows:  # the template says what stands between
            return []
        return tokenizer(self.options.separator, add_special_tokens=False)["input_ids"]
