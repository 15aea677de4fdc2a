"""Hashes by which a retraining knows its checkpoints."""

from peft import PeftModel

from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.foundation.content_hash import base_hash, content_hash
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.foundation.version import __version__

_ROWS = 64  # of each split, by which a checkpoint knows its rows


def known_by(about: str, wrapped: PeftModel, prepared: Prepared) -> dict[str, str]:
    """Return hashes by which a retraining knows its checkpoints (`refuse_other`)."""
    trained = {name: p for name, p in wrapped.named_parameters() if p.requires_grad}
    return {
        "configuration": content_hash(about, trained, __version__),
        "base": base_hash(wrapped),
        "batches": rows_hash(prepared),
    }


def rows_hash(prepared: Prepared) -> str:
    """Return a hash of how many rows are trained on, and of some of them."""
    each = [prepared.rows[split] for split in ("train", "validation")]
    few = [rows.__getitems__([*range(0, len(rows), 1 + len(rows) // _ROWS)]) for rows in each]
    with replay(RandomState.snapshot()):
        some = [dict(prepared.collate(rows)) for rows in few]
    return content_hash(some, [len(rows) for rows in each])
