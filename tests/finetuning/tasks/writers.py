"""Tiny models that write, and rows for them."""

from pathlib import Path

from datasets import Dataset, DatasetDict
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from autolora_meta import RunConfig
from tests.finetuning.tiny_task import tiny_config

WORDS = ["name", "food", "pub", "inn", "is", "a", "the", "place", "good", "bad", ":", "|"]
INPUTS = [f"name : {a} | food : {b}" for a in WORDS[2:9] for b in ("pub inn", "place")]
REFERENCES = [[f"the {text.split()[2]} is good", "a good place"] for text in INPUTS]


def word_tokenizer(*, ends: bool) -> PreTrainedTokenizerFast:
    """Words and <sep>; where it `ends` texts, as T5's does, with </s> behind."""
    known = ["<pad>", "</s>", "<unk>", "<sep>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(known)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
            single="$A </s>", special_tokens=[("</s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=48,
    )


def gpt2(folder: Path) -> Path:
    tokenizer = word_tokenizer(ends=False)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=48,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=1,
        eos_token_id=1,
        initializer_range=0.4,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def rows() -> DatasetDict:
    pairs = [(t, r) for t, given in zip(INPUTS, REFERENCES, strict=True) for r in given]
    columns = {"text": [t for t, _ in pairs], "target": [r for _, r in pairs]}
    return DatasetDict(train=Dataset.from_dict(columns))


def generation_config(folder: Path, targets: list[str]) -> RunConfig:
    settings = {"max_new_tokens": 6, "separator": "<sep>"}
    return tiny_config("generation", folder, targets, generation=settings)
