"""Data: a source (embedded, files, the hub, objects) becomes disjoint splits of rows.

`load` does it in this order: `sources` finds the rows; `files` reads one file (`delimited`,
`json_rows`, `text_lines`, `conll`; parquet and arrow by `datasets`), `folder` and `picture_folders`
many, `hub`, `stdlib_docs` and `stdlib_chat` what is no file; `columns` chooses what is read, and
`chat_rows` makes conversations of it (`formats`, `messages`); `missing` looks for what is not
there; `assigned` says which split is for what, `shift` where there are two sources; `canonical`
makes our columns (`classes`, `tags`, `pictures`); `overlap` takes repeats out; `class_counts` looks
after rare classes; `cut` draws the rows by `splits`.
"""

from autolora_meta.finetuning.data.load import load_rows
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.roles import LABEL, TEXT, TEXT_PAIR, Role
from autolora_meta.finetuning.data.sources import Given

__all__ = ["LABEL", "TEXT", "TEXT_PAIR", "DataOptions", "Given", "Role", "load_rows"]
