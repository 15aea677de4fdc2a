"""A trained adapter on disk: what any tool of the ecosystem loads, checked by loading it."""

from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.finetuning.retrain import RetrainResult


def save_adapter(
    result: RetrainResult, directory: str | Path, card: str, *, base: PreTrainedModel
) -> None:
    """Write adapter, tokenizer and model card; load them on `base` and compare the logits.

    Args:
        result: what `retrain` gave.
        directory: where the adapter goes.
        card: text of README.md.
        base: a fresh base, loaded as for `retrain`; another seed for its head shows that the head
            comes from the adapter. It is wrapped in place.

    Raises:
        RuntimeError: the adapter that was loaded gives other logits than the one that was trained.
    """
    folder = Path(directory)
    # Else PEFT asks the hub whether the base's vocabulary was resized.
    result.model.save_pretrained(str(folder), save_embedding_layers=False)
    result.tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
    with quiet_peft():
        loaded = PeftModel.from_pretrained(base, str(folder))
    trained, reloaded = _logits(result.model, result.sample), _logits(loaded, result.sample)
    gap = (trained - reloaded).abs().max().item()
    if not gap <= 1e-4 * max(1.0, trained.abs().max().item()):
        raise RuntimeError(
            f"the adapter saved in {folder} gives logits that differ by {gap:g} from those of the "
            "model that was trained; do not use it"
        )


@torch.no_grad()
def _logits(model: PeftModel, batch: dict[str, Tensor]) -> Tensor:
    return model.eval()(**batch).logits.float()
