"""Language models that see the token to predict, or compare a token with itself."""

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from autolora_meta.errors import InputError
from autolora_meta.foundation.randomness import RandomState, replay

_LONG = 64  # tokens that are looked at


@torch.no_grad()
def refuse_reading_ahead(model: PreTrainedModel, rows: Dataset) -> None:
    """Refuse a model whose perplexity means nothing, by two tests on one row.

    Another last token must not change the predictions before it. It does in BERT, which
    transformers loads as a language model all the same. And the loss must compare the prediction at
    a token with the next token: BART's decoder compares it with the token itself.

    Args:
        model: in eval mode, as `AutoModelForCausalLM` loads it.
        rows: encoded rows with `input_ids`.

    Raises:
        InputError: the model fails one of the two tests.
    """
    row = max(rows.with_format(None)["input_ids"], key=lambda ids: min(len(ids), _LONG))
    ids = torch.tensor([row[:_LONG]], device=model.device)  # (1, T)
    other = ids.clone()
    other[0, -1] = ids[0, 0] if ids[0, 0] != ids[0, -1] else (ids[0, -1] + 1) % int(ids.max() + 1)
    mask = torch.ones_like(ids)
    with replay(RandomState.snapshot()):
        made = model(input_ids=ids, attention_mask=mask, labels=ids)
        changed = model(input_ids=other, attention_mask=mask).logits[0, :-1].float()
    logits = made.logits[0].float()  # (T, V)
    gap = (logits[:-1] - changed).abs().max() / logits.abs().max().clamp(min=1e-6)
    name = type(model).__name__
    if gap > (1e-3 if model.dtype.itemsize == 4 else 5e-2):
        raise InputError(
            f"{name} sees the tokens to predict: its prediction at a token depends on later ones, "
            "so its perplexity would mean nothing. Take a model that reads from left to right, "
            "such as GPT-2 or Llama, or another task.type for this one"
        )
    loss = made.loss.float()
    if (loss - cross_entropy(logits, ids[0])).abs() < (
        loss - cross_entropy(logits[:-1], ids[0, 1:])
    ).abs():
        raise InputError(
            f"the loss of {name} compares the prediction at a token with that token, not with the "
            "next one. Take a language model such as GPT-2 or Llama; with an encoder-decoder "
            "model, task.type=generation"
        )
