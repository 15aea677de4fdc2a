"""Ranks in somebody's axolotl configuration: their lines stay, and axolotl takes the new ones."""

import tomllib
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from peft import LoraConfig

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.exporting.axolotl import read_axolotl, search_settings, with_ranks
from autolora_meta.exporting.other_tools import AXOLOTL, from_axolotl, settings, to_axolotl
from autolora_meta.exporting.stored import read_config
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.ranks.pattern import RankPattern
from tests.end_to_end import command
from tests.exporting.adapters import Adapter

ROOT = Path(__file__).parent.parent.parent
# The fields of axolotl 0.19's LoraConfig (axolotl/utils/schemas/peft.py) that we write.
KEYS = {
    *("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_parameters"),
    *("lora_rank_pattern", "lora_alpha_pattern", "lora_modules_to_save", "lora_fan_in_fan_out"),
    *("peft_use_rslora", "peft_use_dora", "peft_layers_to_transform", "peft_layers_pattern"),
    *("peft_layer_replication", "peft_init_lora_weights", "peft_trainable_token_indices"),
    "peft_ensure_weight_tying",
}
THEIRS = """\
# mine
base_model: someone/llama
adapter: qlora
load_in_4bit: true
lora_r: 8
lora_alpha: 16  # twice
lora_dropout: 0.1
lora_target_linear: true
lora_target_modules:
- q_proj
- v_proj

# rows
datasets:
  - path: rows.jsonl
    type: completion
    field: body
sequence_len: 64
micro_batch_size: 4
seed: 7
'optim': adamw_torch
"""


def ranked(scale: float = 2.0) -> LoraConfig:
    return lora_config(RankPattern(("m.0.q", "m.1.q", "m.1.v"), (3, 0, 1), (9, 9, 9), 4, scale))


def test_the_other_lines_stay_and_the_ranks_are_those_of_peft() -> None:
    made = with_ranks(THEIRS, ranked())
    found, before = yaml.safe_load(made), yaml.safe_load(THEIRS)
    new = {"lora_r", "lora_alpha", "lora_target_modules", "lora_rank_pattern", "lora_alpha_pattern"}
    assert {key: found[key] for key in found.keys() - new} == {
        key: before[key] for key in before.keys() - new - {"lora_target_linear"}
    }
    dropped = ("lora_r:", "lora_alpha:", "lora_target", "- q_proj", "- v_proj")
    kept = [line for line in THEIRS.splitlines() if line and not line.startswith(dropped)]
    assert [line for line in made.splitlines() if line in kept] == kept
    theirs, ours = settings(from_axolotl(made)), settings(ranked())
    assert theirs == {**ours, "lora_dropout": 0.1}
    assert with_ranks(made, ranked()).count("lora_rank_pattern") == 1  # it can be done again


def test_axolotls_own_schema_takes_it() -> None:
    schemas: Any = pytest.importorskip("axolotl.utils.schemas.peft")
    assert set(schemas.LoraConfig.model_fields) >= KEYS
    read = schemas.LoraConfig.model_validate(yaml.safe_load(with_ranks(THEIRS, ranked())))
    assert read.lora_rank_pattern == ranked().rank_pattern
    assert read.lora_alpha_pattern == ranked().alpha_pattern


def test_only_keys_of_the_released_schema_are_written() -> None:
    assert set(AXOLOTL.values()) == KEYS


def test_a_search_takes_model_rows_and_size_from_it() -> None:
    given = search_settings(read_axolotl(THEIRS, "mine.yml"), "mine.yml")
    config = RunConfig.load({**given, "name": "mine"})
    assert config.model.name == "someone/llama" and config.seed == 7
    assert (config.data.source, config.data.text) == ("rows.jsonl", "body")
    assert (config.task.type, config.task.max_length) == ("causal-lm", 64)
    assert (config.lora.k, config.lora.scale, config.lora.targets) == (16, 2.0, "all-linear")
    assert config.lora.dropout == 0.1 and str(config.ranks.budget) == "uniform:8"
    assert config.search.batch_size == config.search.outer_batch_size == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_model": None}, "no configuration of axolotl: it has no base_model"),
        ({"adapter": "llama-adapter"}, "set adapter to lora or qlora"),
        ({"peft_use_dora": True, "lora_model_dir": "x"}, "peft_use_dora, lora_model_dir, which"),
        ({"lora_alpha": 4}, r"lora_alpha 4 and lora_r 8.*multiple of lora_r.*lora_model_dir"),
        ({"lora_r": None}, "needs lora_r and lora_alpha; given None and 16"),
        ({"datasets": [{"path": "x", "type": "alpaca"}]}, r"type 'alpaca'.*with --run"),
        ({"datasets": []}, "0 datasets"),
        ({"lora_target_linear": False, "lora_target_modules": "q.*"}, "takes a list of names"),
    ],
)
def test_what_is_refused_before_a_search(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        text = yaml.safe_dump({**yaml.safe_load(THEIRS), **changes})
        search_settings(read_axolotl(text, "mine.yml"), "mine.yml")


def test_what_cannot_be_written() -> None:
    with pytest.raises(InputError, match=r"whole numbers for alpha.*1\.5.*lora_model_dir"):
        with_ranks(THEIRS, ranked(0.5))
    with pytest.raises(InputError, match="whole numbers for alpha"):
        to_axolotl(ranked(0.5), "base")
    with pytest.raises(InputError, match="line by line"):
        with_ranks("{base_model: x, lora_r: 8}", ranked())


def test_the_command_takes_the_ranks_of_a_run(bert: Adapter, tmp_path: Path) -> None:
    mine, out = tmp_path / "mine.yml", tmp_path / "out.yml"
    mine.write_text(THEIRS)
    done = command("axolotl", mine, "--run", bert[1], "-o", out)
    assert done.status == 0, done.err
    assert f"the ranks are of {bert[0]}, and mine.yml is of someone/llama" in done.out
    written = from_axolotl(out.read_text())
    assert written.rank_pattern == read_config(bert[1]).rank_pattern
    assert mine.read_text() == THEIRS
    assert command("axolotl", mine, "--run", bert[1]).status == 2
    assert "exists" in command("axolotl", mine, "--run", bert[1], "-o", out).err
    assert (
        "--run needs none" in command("axolotl", mine, "lora.k=3", "--run", bert[1], "-o", "x").err
    )


def test_axolotls_command_line_finds_ours(bert: Adapter, tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ours = resolve_name(project["entry-points"]["axolotl.cli_commands"]["autolora-ranks"])
    assert isinstance(ours, click.Command)  # as axolotl asks
    (tmp_path / "mine.yml").write_text(THEIRS)
    given = [tmp_path / "mine.yml", "--run", bert[1], "-o", tmp_path / "out.yml"]
    done = CliRunner().invoke(ours, [str(one) for one in given])
    assert done.exit_code == 0 and (tmp_path / "out.yml").is_file()
    assert "Traceback" not in done.output
