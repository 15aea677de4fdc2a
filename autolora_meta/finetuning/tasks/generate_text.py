"""Completions that a model writes, the same whatever stands beside them in a batch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from autolora_meta.finetuning.tasks.options import GenerationOptions


@torch.no_grad()
def write(
    model: PreTrainedModel,
    prompts: list[list[int]],
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int,
    options: GenerationOptions,
    *,
    encoder_decoder: bool,
) -> list[str]:
    """Return one completion for each prompt.

    Args:
        model: in eval mode, on its device.
        prompts: token ids, not padded.
        tokenizer: of the model.
        batch_size: prompts that are written to at a time.
        options: how texts are written.
        encoder_decoder: prompts are read by an encoder, and not part of what is written.
    """
    settings = GenerationConfig(
        **options.model_dump(exclude={"separator", "length_penalty"}),
        # Without beams it has no part, and transformers says so.
        length_penalty=options.length_penalty if options.num_beams > 1 else None,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    # What a causal model writes must stand right behind the prompt.
    side = "right" if encoder_decoder else "left"
    pad = partial(tokenizer.pad, padding_side=side, return_tensors="pt")
    if not encoder_decoder and _reads_padding(model, pad, prompts):
        batch_size = 1
    completions = []
    for start in range(0, len(prompts), batch_size):
        batch = pad({"input_ids": prompts[start : start + batch_size]}).to(model.device)
        ids = model.generate(**batch, generation_config=settings)  # pyright: ignore[reportCallIssue]
        new = ids if encoder_decoder else ids[:, batch["input_ids"].shape[1] :]
        completions += tokenizer.batch_decode(new, skip_special_tokens=True)
    return [text.strip() for text in completions]


def _reads_padding(
    model: PreTrainedModel, pad: Callable[..., Any], prompts: list[list[int]]
) -> bool:
    """Return whether the first token written after the shortest prompt depends on padding.

    `generate` counts positions after the padding. A model that carries a state from token to token
    and takes no mask (RWKV) reads padding all the same.
    """
    short, long = min(prompts, key=len), max(prompts, key=len)
    settings = {"max_new_tokens": 1, "do_sample": False, "return_dict_in_generate": True}
    alone, beside = (
        model.generate(  # pyright: ignore[reportCallIssue]
            **pad({"input_ids": some}).to(model.device), output_logits=True, **settings
        ).logits[0][0]
        for some in ([short], [short, long])
    )
    gap = (alone - beside).abs().max().item() / max(1.0, alone.abs().max().item())
    return gap > (1e-3 if model.dtype.itemsize == 4 else 5e-2)
