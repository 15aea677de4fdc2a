"""Data: a source (embedded, files, the hub, objects) becomes disjoint splits of rows."""

from autolora_meta.finetuning.data.load import load_rows
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.roles import LABEL, TEXT, TEXT_PAIR, Role
from autolora_meta.finetuning.data.sources import Given

__all__ = ["LABEL", "TEXT", "TEXT_PAIR", "DataOptions", "Given", "Role", "load_rows"]
