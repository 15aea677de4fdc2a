"""`initialize_lora_ranks`: learned ranks for a PEFT model that exists, as PEFT's EVA does it."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn

from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import largest_rank, layer_costs, unwrapped_afterwards
from autolora_meta.finetuning.new_ranks import give_ranks
from autolora_meta.foundation.progress import Progress
from autolora_meta.foundation.randomness import derive
from autolora_meta.pipeline.program import Loss
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.search_model import search_model

# A search beside a person's own training; `options` changes any of it.
SMALL = {"outer_steps": 40, "warmup_steps": 20}


def initialize_lora_ranks(
    model: PeftModel,
    train: Iterable[Any],
    validation: Iterable[Any],
    *,
    loss: Loss | None = None,
    budget: int | str | None = None,
    k: int | None = None,
    options: Mapping[str, Any] | None = None,
    ranks: Mapping[str, Any] | None = None,
    seed: int = 0,
    adapter_name: str = "default",
    progress: Progress | None = None,
) -> SearchResult:
    """Learn a rank for each LoRA layer of a PEFT model, and rewrite its LoRA in place.

    Ten lines of a script, with a model and two DataLoaders of your own:

    >>> from peft import LoraConfig, get_peft_model  # doctest: +SKIP
    >>> from autolora_meta import initialize_lora_ranks
    >>> config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    >>> model = get_peft_model(base, config)
    >>> result = initialize_lora_ranks(model, train_loader, validation_loader)
    >>> print(dict(result.ranks))
    >>> optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)  # after it, not before
    >>> trainer = Trainer(model, args, train_dataset=rows)
    >>> trainer.train()
    >>> model.save_pretrained("adapter")

    The search runs on the base below the adapter, at the adapter's layers, scale and dropout, with
    its head (`modules_to_save`). Afterwards each layer has its learned rank r_l, A as PEFT draws
    it, B = 0 and alpha_l = c r_l; layers of rank 0 have no adapter; `peft_config` says all of it,
    so that `save_pretrained` and `from_pretrained` need nothing of ours. What the adapter had
    learned before is gone. A search that fails or is stopped leaves the model as it was.

    Args:
        model: has one adapter, of plain LoRA with the same alpha / r in each layer.
        train: batches of the inner problem, such as a DataLoader; iterated many times.
        validation: batches of the outer problem, of rows that are not in `train`.
        loss: (model, batch) -> scalar tensor; None: `model(**batch).loss`.
        budget: adapter parameters, `uniform:R` or `total-rank:N`; None: as many parameters as the
            adapter has now.
        k: components of each layer in the search, and so its largest rank; None: twice the largest
            rank of the adapter, or what the narrowest layer holds.
        options: schedule, optimizers and hypergradient (`SearchOptions`), over 40 outer steps after
            20 of warm-up.
        ranks: importance and rule (`RankOptions`).
        seed: of the search and of the new factors A.
        adapter_name: PEFT's name of the adapter.
        progress: told after each inner step.

    Returns:
        The result of the search: `ranks` is the pattern that the model now has, `cost` what it took
        (`foundation.cost.plain_steps`), `save` keeps it.

    Raises:
        InputError: the model is none with plain LoRA alone, or `search_model` refuses it.
    """
    names, scale = searchable(model, adapter_name)
    base: Any = model.get_base_model()
    device = next(model.parameters()).device
    layers: list[Any] = [base.get_submodule(name) for name in names]
    plain = [layer.get_base_layer() for layer in layers]
    rank = max(layer.r[adapter_name] for layer in layers)
    most = min(largest_rank(layer) for layer in plain)
    config: Any = model.peft_config[adapter_name]
    heads = [n for n, m in base.named_modules() if isinstance(m, ModulesToSaveWrapper)]
    with _without_adapter(base, adapter_name):
        costs = layer_costs(base, names)
        spent = sum(c * layer.r[adapter_name] for c, layer in zip(costs, layers, strict=True))
        result = search_model(
            base,
            train,
            validation,
            loss=loss or own_loss,
            targets=names,
            budget=budget if budget is not None or "rule" in (ranks or {}) else spent,
            head=heads,
            lora={"k": k or min(2 * rank, most), "scale": scale, "dropout": config.lora_dropout},
            options={**SMALL, **(options or {})},
            ranks=ranks,
            seed=seed,
            device=device,
            progress=progress,
        )
        if result.ranks.names != tuple(names):
            raise InputError(
                "the search found other layers than the adapter has: "
                f"{sorted(set(result.ranks.names) ^ set(names))[:3]}; name the layers in full in "
                "the LoraConfig's target_modules"
            )
    give_ranks(model, result.ranks, derive(seed, "factors"), adapter_name)
    return result


def own_loss(model: nn.Module, batch: Any) -> Tensor:
    """Return the loss that a model of transformers computes of a batch with labels.

    Raises:
        InputError: the batch is no mapping, or the model gives no loss of it.
    """
    value = getattr(model(**batch), "loss", None) if isinstance(batch, Mapping) else None
    if value is None:
        raise InputError(
            "the model gives no loss of a batch, as models of transformers do of one with "
            "`labels`; give loss=lambda model, batch: ..."
        )
    return value


def searchable(model: Any, name: str) -> tuple[Sequence[str], float]:
    """Return the LoRA layers of a PEFT model, by their names in the base, and their scale.

    Raises:
        InputError: it has no such adapter, other ones beside it, or another method than plain LoRA.
    """
    if not isinstance(model, PeftModel):
        raise InputError(
            f"ranks are learned for a PeftModel; given {type(model).__name__}. Make one with "
            "get_peft_model(model, LoraConfig(...)), or search without PEFT (search_model)"
        )
    if list(model.peft_config) != [name]:
        raise InputError(
            f"the model must have the adapter '{name}' and no other; it has "
            f"{', '.join(model.peft_config)}. Delete the others, or name it with adapter_name"
        )
    config: Any = model.peft_config[name]
    kind = getattr(config.peft_type, "value", config.peft_type)
    wrong = [f"its method is {kind}"] if kind != "LORA" else []
    if kind == "LORA":
        wrong += [
            key for key in ("use_dora", "use_rslora", "target_parameters") if config.to_dict()[key]
        ]
        wrong += ["a layer_replication"] if config.layer_replication else []
        wrong += ["trainable_token_indices"] if config.trainable_token_indices else []
    named = [(n, m) for n, m in model.get_base_model().named_modules() if isinstance(m, LoraLayer)]
    found: list[Any] = [m for _, m in named]
    if any(m.merged for m in found):
        wrong.append("it is merged")
    scales = sorted({m.scaling[name] for m in found if name in m.scaling})
    if scales and not math.isclose(scales[0], scales[-1]):
        wrong.append(f"alpha / r goes from {scales[0]:g} to {scales[-1]:g}")
    if wrong or not scales:
        why = ", ".join(wrong) or "it has no layers"
        raise InputError(
            f"the adapter is not plain LoRA at one scale: {why}; make it with "
            "LoraConfig(r=..., lora_alpha=..., target_modules=...) alone"
        )
    return [n for n, _ in named], scales[0]


@contextmanager
def _without_adapter(base: nn.Module, name: str) -> Iterator[None]:
    """Inside the body `base` is the model below its adapter, with the adapter's head."""
    marked = vars(base).pop("peft_config", None)  # else PEFT warns that it wraps a second time
    try:
        with unwrapped_afterwards(base):
            for parent in list(base.modules()):
                for leaf, child in list(parent.named_children()):
                    if isinstance(child, LoraLayer):
                        setattr(parent, leaf, child.get_base_layer())
                    elif isinstance(child, ModulesToSaveWrapper):
                        setattr(parent, leaf, child.modules_to_save[name])
            yield
    finally:
        if marked is not None:
            vars(base)["peft_config"] = marked
