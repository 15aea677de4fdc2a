"""A tiny gated transformer in float64, small enough for dense H and J."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft import PeftModel
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from autolora_meta.bilevel.gating import GateOptions, Gates, gated
from autolora_meta.finetuning.lora import LoraOptions, wrap_for_search
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.hypergradients.vectors import Vector
from autolora_meta.verification.case import ONE_STEP, Case
from autolora_meta.verification.objective import Objective

WIDTH, TOKENS, WORDS, CLASSES = 8, 6, 40, 3
# Above the most negative curvature met, so that H + damping I is positive.
DAMPING = 30.0


@contextmanager
def transformer(dropout: float = 0.0, seed: int = 0) -> Iterator[Case]:
    """Return the case of a one-block BERT with gated LoRA of rank 2, B not 0 and uneven logits.

    The Hessian is indefinite, with null directions from rescaling u, v and the gates.

    Args:
        dropout: of hidden states and attention; masks are replayed.
        seed: of weights, batches and masks.
    """
    with replay(RandomState.snapshot()):
        torch.manual_seed(seed)
        wrapped, gates = _gated(dropout, seed)
        train, validation = _batch(), _batch()
        masks = RandomState.snapshot()
    objective = Objective(wrapped, lambda model, batch: model(**batch).loss)

    def inner(weights: Vector) -> Tensor:
        with replay(masks):
            return objective.at(weights, train)

    def outer(weights: Vector) -> Tensor:
        with replay(masks):
            return objective.at(weights, validation)

    size = sum(p.numel() for p in objective.params)
    methods = (
        *ONE_STEP,
        {"method": "neumann", "iterations": 160, "damping": DAMPING},
        {"method": "cg", "iterations": 60, "tolerance": 1e-12, "damping": DAMPING},
        {"method": "nystrom", "columns": size, "rho": DAMPING},
    )
    with gated(wrapped, gates):
        yield Case(
            "transformer",
            objective.params,
            [gates.logits],
            inner,
            outer,
            methods,
            damping=DAMPING,
            fresh=lambda weights: objective.at(weights, train),
            dropout=dropout,
        )


def _gated(dropout: float, seed: int) -> tuple[PeftModel, Gates]:
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=TOKENS,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_labels=CLASSES,  # pyright: ignore[reportCallIssue]
        initializer_range=0.5,
    )
    model = BertForSequenceClassification(config).double()
    names = target_layers(model, ["query", "output.dense"])
    options = LoraOptions(k=2)
    wrapped = wrap_for_search(model, names, options, seed, head=("classifier",))
    wrapped.double().train()
    gates = Gates(names, 2, GateOptions()).double()
    with torch.no_grad():
        gates.logits.normal_()
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.25)
    return wrapped, gates


def _batch() -> dict[str, Tensor]:
    rows = 4
    return {
        "input_ids": torch.randint(5, WORDS, (rows, TOKENS)),
        "labels": torch.randint(0, CLASSES, (rows,)),
    }
