"""Files that a person or a crash has broken end in one sentence, whatever command reads them."""

import re
import shutil
from pathlib import Path

import pytest

from autolora_meta.foundation.json_files import read_rows
from autolora_meta.ranks.pattern import RankPattern
from tests.end_to_end import Tiny, command


@pytest.mark.parametrize(
    ("name", "command_name"),
    [
        ("environment.json", "plot"),
        ("timings.jsonl", "plot"),
        ("table.json", "plot"),
        ("rows.json", "plot"),
        ("search/search.json", "allocate"),
        ("config.yaml", "export"),
        ("adapter/adapter_config.json", "export"),
    ],
)
def test_a_file_of_a_run(name: str, command_name: str, tiny: Tiny, tmp_path: Path) -> None:
    shutil.copytree(tiny.run, tmp_path / "run")
    assert (tmp_path / "run" / name).is_file()
    (tmp_path / "run" / name).write_text("{broken\n")
    said = command(command_name, tmp_path / "run")
    assert said.status == 2
    assert said.err.startswith("error: ") and said.err.count("error: ") == 1


def test_the_half_line_of_a_writer_that_was_killed_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": ')
    assert read_rows(tmp_path / "rows.jsonl") == [{"a": 1}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nbase: 3", "unknown config '3'"),
        ("name: x\nbase: quickstart\nvariants: {a: 3}", "unknown config '3'"),
        ("name: x\nbase: quickstart\nsmoke: 3", "smoke is a section"),
        ("name: x\nbase: quickstart\nepochs: 3", "unknown key 'epochs'; here it is retrain.epochs"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested too deep"),
    ],
)
def test_a_study_that_is_none(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(text)
    smoke = ["--smoke"] if "smoke" in text else []
    said = command("study", tmp_path / "study.yaml", *smoke, "--dry-run")
    assert said.status == 2 and message in said.err, said.err


def test_numbers_that_no_machine_takes(tiny: Tiny, tmp_path: Path) -> None:
    said = command("search", tiny.config, "runtime.threads=100000", "--runs", tmp_path)
    assert said.status == 2 and "runtime.threads: should be less than or equal to" in said.err
    said = command("search", tiny.config, "lora.scale=1e30", "--runs", tmp_path)
    assert said.status == 2 and "lora.scale" in said.err


def test_an_option_of_ranks_by_its_whole_name(tiny: Tiny) -> None:
    whole, short = (
        command("allocate", tiny.run, key) for key in ("ranks.min_rank=1", "min_rank=1")
    )
    assert whole.status == 0 and whole.out == short.out


def test_verify_looks_for_the_model_before_it_measures(tiny: Tiny) -> None:
    said = command("verify", "--model", tiny.config, "model.name=./missing")
    assert said.status == 2 and "is not a folder here" in said.err and "measuring" not in said.err


@pytest.mark.parametrize("name", ["$\\frac{0$", "$x", "a_b^{c}$%", "n" * 300])
def test_names_of_layers_stand_in_a_figure_as_they_are(name: str, tmp_path: Path) -> None:
    RankPattern((f"{name}.0", f"{name}.1"), (1, 2), (8, 8), k=4, scale=1.0).save(
        tmp_path / "ranks.json"
    )
    said = command("plot", tmp_path / "ranks.json", "--output", tmp_path / "ranks.svg")
    assert said.status == 0, said.err


def test_ranks_of_more_components_than_there_are_colours(tmp_path: Path) -> None:
    RankPattern(("q",), (1,), (8,), k=2**53, scale=1.0).save(tmp_path / "ranks.json")
    said = command("plot", tmp_path / "ranks.json", "--output", tmp_path / "ranks.svg")
    assert said.status == 2 and "k: should be less than or equal to 16384" in said.err


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e308"])
def test_a_table_with_a_metric_that_no_mean_can_hold(
    value: str, tiny: Tiny, tmp_path: Path
) -> None:
    table = (tiny.run / "table.json").read_text()
    (tmp_path / "table.json").write_text(re.sub(r'"value": [^,]+,', f'"value": {value},', table))
    said = command("compare", tmp_path)
    assert said.status == 2 and ("not finite" in said.err or "is no table" in said.err)
