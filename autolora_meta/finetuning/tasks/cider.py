"""CIDEr-D (Vedantam et al., CVPR 2015): how far a text says what its references agree on.

The packages that hold it bring hundreds of megabytes of other metrics along, hence these lines.
"""

import math
from collections import Counter
from collections.abc import Sequence

Gram = tuple[str, ...]
_ORDERS = (1, 2, 3, 4)
_SIGMA = 6.0  # of the penalty on a difference in length, in words


def cider_d(texts: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    """Mean CIDEr-D over texts; 10 at best.

    The weight of an n-gram falls with the number of inputs in whose references it stands, so that a
    single input has no weights, and scores 0.

    Args:
        texts: words of what was written, one text for each input. (n,)
        references: words of one or more references for each input. (n,)

    Returns:
        The mean over inputs, references and n = 1, 2, 3, 4 of section 3 and the changes of
        section 7 (clipping, penalty on length, factor 10).

    Example:
        >>> cat, dog = "a cat sat on the mat".split(), "the dog ran off".split()
        >>> cider_d([cat, dog], [[cat], [dog]])
        10.0
    """
    inputs: Counter[Gram] = Counter()  # in the references of how many inputs an n-gram stands
    for given in references:
        inputs.update({gram for text in given for gram in _grams(text)})

    def weights(text: Sequence[str], order: int) -> dict[Gram, float]:
        # g_k = h_k log(|I| / inputs that hold k)
        return {
            gram: count * (math.log(len(references)) - math.log(max(inputs[gram], 1)))
            for gram, count in _grams(text).items()
            if len(gram) == order
        }

    total = 0.0
    for text, given in zip(texts, references, strict=True):
        for order in _ORDERS:
            written = weights(text, order)
            for reference in given:
                right = weights(reference, order)
                penalty = math.exp(-((len(text) - len(reference)) ** 2) / (2 * _SIGMA**2))
                total += penalty * _likeness(written, right) / len(given)
    return 10.0 * total / (len(_ORDERS) * len(texts))


def _grams(text: Sequence[str]) -> Counter[Gram]:
    return Counter(
        tuple(text[i : i + order]) for order in _ORDERS for i in range(len(text) - order + 1)
    )


def _likeness(written: dict[Gram, float], right: dict[Gram, float]) -> float:
    # <min(g(c), g(s)), g(s)> / (|g(c)| |g(s)|)
    norm = math.hypot(*written.values()) * math.hypot(*right.values())
    shared = sum(
        min(value, right[gram]) * right[gram] for gram, value in written.items() if gram in right
    )
    return shared / norm if norm else 0.0
