"""A small Llama that knows no chat: python -m benchmarks.chat_base --output FOLDER.

A tokenizer and a Llama of 1M parameters learn the docstrings of the standard library, without those
of the packages that `stdlib-chat` asks about. The tokenizer has a chat template, whose
tokens the model has never seen: an adapter then has something to learn. No network is needed.
"""

import argparse
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    set_seed,
)

from autolora_meta.finetuning.data.stdlib_docs import PACKAGES, docstrings
from autolora_meta.finetuning.tasks.causal_lm import CausalLM
from benchmarks.small_base import trained

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
VOCABULARY, POSITIONS, TOKENS = 2000, 256, 48
WIDTH, DEPTH, HEADS = 128, 4, 4
# What the assistant writes is marked: the loss counts it alone.
TEMPLATE = """\
{%- for message in messages -%}
{{ '<|' + message.role + '|>' }}
{%- if message.role == 'assistant' -%}
{% generation %}{{ message.content + '<|end|>' }}{% endgeneration %}
{%- else -%}
{{ message.content + '<|end|>' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}
"""
_LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "pip"}


def other_docstrings(stdlib: Path | None = None) -> list[str]:
    """Return each docstring of the standard library once, without those of `PACKAGES`.

    Args:
        stdlib: the folder to read; the running Python's standard library where it is not given.
    """
    root = stdlib or Path(sysconfig.get_path("stdlib"))
    asked: set[str] = set()
    other: dict[str, None] = {}
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        if _LEFT_OUT & {*parts}:
            continue
        try:
            texts = [*docstrings(file)]
        except (SyntaxError, ValueError):  # files that are no Python, to test with
            continue
        if parts[0] in PACKAGES:
            asked.update(texts)
        else:
            other |= dict.fromkeys(texts)
    return [text for text in other if text not in asked]


def tokenizer(texts: Sequence[str], folder: Path) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on these texts, with the tokens of a chat; it encodes any text."""
    bpe = ByteLevelBPETokenizer()
    special = [PAD, END, *ROLES]
    bpe.train_from_iterator(texts, VOCABULARY, special_tokens=special, show_progress=False)
    bpe.save(str(folder / "tokenizer.json"))
    words = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=list(ROLES),
        model_max_length=POSITIONS,
    )
    words.chat_template = TEMPLATE
    return words


def train(texts: Sequence[str], folder: Path, *, epochs: float, seed: int) -> None:
    """Train every weight on these texts; save model and tokenizer."""
    set_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    words = tokenizer(texts, folder)
    task = CausalLM(TOKENS)
    rows = task.encode(Dataset.from_dict({"text": [text + END for text in texts]}), words)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=DEPTH,
            num_attention_heads=HEADS,
            max_position_embeddings=POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=words.get_vocab()[END],
            pad_token_id=words.get_vocab()[PAD],
        )
    )
    collate = task.collator(words)
    trained(model, words, rows, collate, folder, epochs=epochs, rate=3e-3, seed=seed)


def main() -> None:
    """Write the model and its tokenizer to FOLDER."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="a folder, made if absent")
    parser.add_argument("--epochs", type=float, default=4, help="of the base (4)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (0)")
    given = parser.parse_args()
    texts = other_docstrings()
    print(f"{len(texts)} docstrings train the base")
    train(texts, given.output, epochs=given.epochs, seed=given.seed)


if __name__ == "__main__":
    main()
