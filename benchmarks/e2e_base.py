"""A small GPT-2 that knows a part of E2E: python -m benchmarks.e2e_base valid.txt --output FOLDER.

Lines are `meaning||reference`. Those whose meaning lacks an attribute train a tokenizer and a new
GPT-2 in full. Those whose meaning has it are kept for an adapter, which then has something to
learn. The two parts share no meaning.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    set_seed,
)

from autolora_meta.finetuning.tasks.generation import Generation
from autolora_meta.finetuning.tasks.options import GenerationOptions
from benchmarks.small_base import trained

END = "<|endoftext|>"
VOCABULARY, TOKENS = 2000, 128
WIDTH, DEPTH, HEADS = 128, 4, 4


def parts(lines: Sequence[str], attribute: str) -> tuple[list[str], list[str]]:
    """Split lines into those whose meaning lacks the attribute and those whose meaning has it.

    >>> parts(["name : Zizzi||Z.", "name : Zizzi | near : Strada||Z."], "near")
    (['name : Zizzi||Z.'], ['name : Zizzi | near : Strada||Z.'])
    """
    known, new = [], []
    for line in lines:
        meaning = line.partition("||")[0]
        named = {part.partition(":")[0].strip() for part in meaning.split("|")}
        (new if attribute in named else known).append(line)
    return known, new


def tokenizer(lines: Sequence[str], folder: Path) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on these lines; it encodes any text."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(lines, VOCABULARY, special_tokens=[END], show_progress=False)
    bpe.save(str(folder / "tokenizer.json"))
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), eos_token=END, bos_token=END, pad_token=END
    )


def train(lines: Sequence[str], folder: Path, *, epochs: int, seed: int) -> None:
    """Train every weight, with the loss on references alone; save model and tokenizer."""
    set_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    words = tokenizer(lines, folder)
    end = words.get_vocab()[END]
    task = Generation(TOKENS, GenerationOptions())
    meanings, references = zip(*(line.split("||", 1) for line in lines), strict=True)
    rows = task.encode(Dataset.from_dict({"text": meanings, "target": references}), words)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(words),
            n_positions=TOKENS,
            n_embd=WIDTH,
            n_layer=DEPTH,
            n_head=HEADS,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
        )
    )
    collate = task.collator(words)
    trained(model, words, rows, collate, folder, epochs=epochs, rate=2e-3, seed=seed)


def main() -> None:
    """Write FOLDER/model and FOLDER/adapt.txt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="lines of meaning||reference")
    parser.add_argument("--output", type=Path, required=True, help="a folder, made if absent")
    parser.add_argument("--without", default="near", help="the attribute that the base never sees")
    parser.add_argument("--epochs", type=int, default=20, help="of the base (20)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (0)")
    given = parser.parse_args()
    lines = [line for line in given.file.read_text(encoding="utf-8").splitlines() if "||" in line]
    known, new = parts(lines, given.without)
    print(f"{len(known)} lines train the base, {len(new)} are left over for an adapter")
    train(known, given.output / "model", epochs=given.epochs, seed=given.seed)
    (given.output / "adapt.txt").write_text("\n".join(new) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
