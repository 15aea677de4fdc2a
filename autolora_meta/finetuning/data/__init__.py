"""Data: a source (embedded, local files, the hub) becomes disjoint train, validation, test rows."""

from autolora_meta.finetuning.data.load import load_rows
from autolora_meta.finetuning.data.options import DataOptions

__all__ = ["DataOptions", "load_rows"]
