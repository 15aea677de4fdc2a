"""Scores of written texts against one or more references each, by established libraries.

BLEU, NIST and METEOR take words as mteval-v13a does, by sacrebleu; CIDEr-D the same in lower case;
ROUGE-L takes rouge-score's own words, stemmed; TER those of tercom.
"""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import zip_longest

from autolora_meta.finetuning.tasks.cider import cider_d

SCORES = ("bleu", "nist", "rouge_l", "ter", "cider", "meteor")
_PACKAGES = ("sacrebleu", "rouge_score", "nltk")


def lacking() -> dict[str, str]:
    """Return score -> what this machine lacks to compute it and how to install that."""
    absent = [name for name in _PACKAGES if find_spec(name) is None]
    if absent:
        why = f"{', '.join(absent)} is not installed (pip install 'autolora-meta[generation]')"
        return dict.fromkeys(SCORES, why)
    if not wordnet_found():
        return {"meteor": "WordNet is not found (python -m nltk.downloader wordnet)"}
    return {}


def wordnet_found() -> bool:
    """Return whether NLTK finds WordNet on this machine, the source of METEOR's synonyms."""
    import nltk.data

    for name in ("corpora/wordnet", "corpora/wordnet.zip"):
        try:
            nltk.data.find(name)
        except LookupError:
            continue
        return True
    return False


def scores(
    texts: Sequence[str], references: Sequence[Sequence[str]], *, meteor: bool
) -> dict[str, float]:
    """Return BLEU, NIST, ROUGE-L, TER, CIDEr-D and, if asked for, METEOR.

    Args:
        texts: the written texts, one for each input. (n,)
        references: one or more for each input. (n,)
        meteor: compute METEOR, which needs WordNet.

    Returns:
        bleu and ter in hundredths, corpus-wide; nist in bits, up to 5-grams; rouge_l (F of the best
        reference) and meteor as shares and cider (10 at best), means over texts.

    >>> scores(["a cat sat on the mat"], [["a cat sat on the mat"]], meteor=False)["bleu"]
    100.00000000000004
    """
    from nltk.translate.meteor_score import meteor_score
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import corpus_bleu, corpus_ter
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    words = Tokenizer13a()
    cut = [words(text).split() for text in texts]
    cut_references = [[words(text).split() for text in given] for given in references]
    streams = list(zip_longest(*references))  # sacrebleu wants the first of each, the second, ...
    rouge = RougeScorer(["rougeL"], use_stemmer=True)
    pairs = list(zip(texts, references, strict=True))
    found = {
        "bleu": corpus_bleu(texts, streams).score,  # pyright: ignore[reportArgumentType]
        "nist": _nist(cut, cut_references),
        "rouge_l": _mean(
            [rouge.score_multi(given, text)["rougeL"].fmeasure for text, given in pairs]
        ),
        "ter": corpus_ter(texts, streams).score,  # pyright: ignore[reportArgumentType]
        "cider": cider_d(
            [[word.lower() for word in text] for text in cut],
            [[[word.lower() for word in text] for text in given] for given in cut_references],
        ),
    }
    if meteor:
        both = zip(cut, cut_references, strict=True)
        found["meteor"] = _mean([meteor_score(given, text) for text, given in both])
    return {name: float(value) for name, value in found.items()}


def _nist(texts: list[list[str]], references: list[list[list[str]]]) -> float:
    from nltk.translate.nist_score import corpus_nist

    # An order that no text reaches would be a division by nothing.
    order = min(5, max(map(len, texts)))
    return corpus_nist(references, texts, n=order) if order else 0.0


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
