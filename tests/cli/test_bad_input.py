"""Input that cannot work, on the command line: one message, status 2, and nothing left behind."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end import Tiny, command, contents
from tests.tiny import tiny_texts


def rows_file(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def empty(place: Path) -> str:
    (place / "rows.csv").touch()
    return f"data.source={place / 'rows.csv'}"


def header_only(place: Path) -> str:
    (place / "rows.csv").write_text("text,label\n")
    return f"data.source={place / 'rows.csv'}"


def one_class(place: Path) -> str:
    rows = [row | {"label": "animal"} for row in tiny_texts(60)]
    return f"data.source={rows_file(place / 'rows.csv', rows)}"


def rare_class(place: Path) -> str:
    rows = [*tiny_texts(90), {"text": "a lone row", "label": "rare"}]
    return f"data.source={rows_file(place / 'rows.csv', rows)}"


def no_labels(place: Path) -> str:
    rows = [{"text": row["text"]} for row in tiny_texts(60)]
    return f"data.source={rows_file(place / 'rows.csv', rows)}"


def overlapping(place: Path) -> str:
    folder = place / "data"
    folder.mkdir()
    rows_file(folder / "train.csv", tiny_texts(90))
    rows_file(folder / "test.csv", [*tiny_texts(60, seed=1), tiny_texts(90)[5]])
    return f"data.source={folder}"


def not_utf8(place: Path) -> str:
    (place / "rows.csv").write_bytes("text,label\ncaf\xe9,animal\n".encode("latin-1"))
    return f"data.source={place / 'rows.csv'}"


def ragged(place: Path) -> str:
    (place / "rows.csv").write_text("text,label\na cat, here,animal\n")
    return f"data.source={place / 'rows.csv'}"


def without_tokenizer(place: Path) -> str:
    shutil.copytree(place / "../model", place / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (place / "model" / name).unlink()
    return f"model.name={place / 'model'}"


def without_weights(place: Path) -> str:
    shutil.copytree(place / "../model", place / "model")
    (place / "model" / "model.safetensors").unlink()
    return f"model.name={place / 'model'}"


def broken_weights(place: Path) -> str:
    shutil.copytree(place / "../model", place / "model")
    (place / "model" / "model.safetensors").write_bytes(b"not a model")
    return f"model.name={place / 'model'}"


def no_model(place: Path) -> str:
    (place / "model").mkdir()
    return f"model.name={place / 'model'}"


BAD: dict[str, tuple[str | Callable[[Path], str], str]] = {
    "method": ("search.hypergradient=drats", "did you mean 'darts'"),
    "key": ("search.outer_stepz=3", "did you mean 'search.outer_steps'"),
    "target": ("lora.targets=[qurey]", "no layer is called 'qurey' .did you mean 'query'"),
    "task": ("task.type=regresion", "did you mean 'regression'"),
    "shipped name": ("neuman", "unknown config 'neuman' .did you mean 'neumann'"),
    "no such config": ("mine.yaml", "there is no file mine.yaml"),
    "a folder as config": (".", "is a folder; a config is a YAML file"),
    "no such data": ("data.source=missing.csv", "'missing.csv' does not exist"),
    "empty file": (empty, "is an empty file"),
    "header only": (header_only, "holds no rows"),
    "one class": (one_class, "has one class only"),
    "rare class": (rare_class, "class 'rare' has 1 rows, too few"),
    "no label column": (no_labels, "no column is called label"),
    "other label column": ("data.label=lable", "unknown column 'lable' .did you mean 'label'"),
    "other text column": ("data.text=txt", "unknown column 'txt' .did you mean 'text'"),
    "overlap": (overlapping, "1 texts stand in more than one of train, validation and test"),
    "not UTF-8": (not_utf8, "is not UTF-8 text"),
    "ragged rows": (ragged, "line 2: 3 fields where the first line has 2"),
    "more rows than there are": ("data.train_rows=1000", "150 rows are there, too few"),
    "fewer rows than classes": ("data.train_rows=2", "fewer than the 3 classes"),
    "no tokenizer": (without_tokenizer, "tokenizer"),
    "no weights": (without_weights, "cannot be loaded"),
    "broken weights": (broken_weights, "cannot be loaded"),
    "no model in the folder": (no_model, "is a folder without config.json"),
    "no such model": ("model.name=./missing", "is not a folder here"),
    "k of 0": ("lora.k=0", "lora.k: should be greater than or equal to 1"),
    "k above a layer": ("lora.k=17", "query can hold rank 16 at most"),
    "budget of 1": ("ranks.budget=1", "too small: it allows 1 and the cheapest component costs 32"),
    "no budget": ("ranks.budget=half", "'half' is not a budget"),
    "min_rank above k": ("ranks.min_rank=4", "min_rank 4 is above k = 3"),
    "min_rank above the budget": (
        "ranks={min_rank: 2, budget: 'uniform:1'}",
        "too small for min_rank 2",
    ),
    "layer kind": ("lora.targets=[word_embeddings]", "word_embeddings is nn.Embedding"),
    "norms": ("lora.targets=[LayerNorm]", "LayerNorm is LayerNorm"),
    "the head": ("lora.targets=[classifier]", "no layer is called 'classifier'"),
    "batch": ("search.batch_size=64", "a batch of 64 rows cannot be drawn from 32"),
    "problem": ("search.problem=autolroa", "did you mean 'autolora'"),
    "device": ("runtime.device=gpu", "'gpu' is not a device"),
    "absent device": ("runtime.device=cuda:9", "torch sees"),
    "arm": ("compare.arms=[learned, unifrm]", "did you mean 'uniform'"),
    "baseline": ("compare.arms=[learned, frozen]", "baseline 'uniform' is not among them"),
    "without learned": ("compare.arms=[uniform, frozen]", "`learned` is not among them"),
    "replicates": ("compare.replicates=0", "compare.replicates"),
    "infinite rate": ("search.inner.learning_rate=.inf", "should be a finite number"),
    "rate": ("search.inner.learning_rate=1e38", "learning_rate 1e.38 is too large a number"),
    "scale": ("lora.scale=1.0e+38", "scale 1e.38 is too large a number"),
    "seed": ("seed=99999999999999999999", "seed is too large a number"),
    "replicates without end": ("compare.replicates=1000000000", "compare.replicates"),
    "name": ("name=..", "'..' cannot name a folder"),
    "long name": (f"name={'n' * 300}", "cannot name a folder"),
    "long path of data": (f"data.source={'d' * 300}.csv", "does not exist"),
    "long path of a model": (f"model.name=./{'m' * 300}", "is not a folder here"),
    "long layer": (f"lora.targets=[{'q' * 300}]", "no layer is called"),
    "data that are a device": ("data.source=/dev/null", "/dev/null is a device; give a file"),
    "deep value": ("search=" + "{a: " * 9999 + "}" * 9999, "nested too deep"),
    "deep key": ("search." * 9999 + "a=1", "nested too deep"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_explained_and_leaves_nothing(
    case: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "here"
    place.mkdir()
    (tmp_path / "model").symlink_to(tiny.model)
    monkeypatch.chdir(place)
    change, message = BAD[case]
    given = change(place) if callable(change) else change
    before = contents(place)
    said = command("run", tiny.config, given)
    assert said.status == 2
    assert said.err.startswith("error: ") and said.err.count("error:") == 1
    assert re.search(message, said.err), said.err
    assert "Traceback" not in said.err + said.out
    assert contents(place) == before and not (place / "runs").exists()


def test_a_search_that_diverges_says_what_to_change(tiny: Tiny, tmp_path: Path) -> None:
    said = command("search", tiny.config, "search.inner.learning_rate=1e30", "--runs", tmp_path)
    assert said.status == 3
    assert "Lower search.inner.learning_rate" in said.err


@pytest.mark.parametrize("value", ["1e38", "1.0e+30", ".inf", ".nan"])
@pytest.mark.parametrize(
    "key", ["search.inner.learning_rate", "search.outer.learning_rate", "search.outer.weight_decay"]
)
def test_a_search_with_such_a_number_leaves_nothing_that_looks_finished(
    key: str, value: str, tiny: Tiny, tmp_path: Path
) -> None:
    said = command("search", tiny.config, f"{key}={value}", "--runs", tmp_path / "runs")
    if value == "1.0e+30":
        assert said.status == 3, said.err
        assert re.search("Lower search.inner.learning_rate|are no longer finite", said.err)
        assert command("allocate", tmp_path / "runs" / "tiny").status == 2
    else:
        assert said.status == 2 and not (tmp_path / "runs").exists(), said.err


def test_runs_that_are_none(tiny: Tiny, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("{}")
    said = command("run", tiny.config, "--runs", file)
    assert said.status == 2 and "is a file; give a folder" in said.err
    treasure = tmp_path / "runs" / "tiny" / "treasure.txt"
    treasure.parent.mkdir(parents=True)
    treasure.write_text("not a run")
    said = command("run", tiny.config, "--runs", tmp_path / "runs", "--overwrite")
    assert said.status == 2 and "holds no run" in said.err
    assert treasure.read_text() == "not a run"
    for arguments in (
        ("allocate", file),
        ("allocate", tmp_path / "missing"),
        ("allocate", treasure.parent),
        ("plot", treasure.parent),
        ("retrain", treasure.parent, "--output", tmp_path / "adapter"),
        ("allocate", tiny.run, "budget"),
        ("allocate", tiny.run, "budget=1"),
        ("allocate", tiny.run, "budgt=uniform:2"),
        ("allocate", tiny.run, "budget=[1"),
        ("retrain", tiny.run, "--ranks", file, "--output", tmp_path / "adapter"),
    ):
        said = command(*arguments)
        assert said.status == 2, arguments
        assert said.err.startswith("error: ") and "Traceback" not in said.err, said.err
    assert not (tmp_path / "adapter").exists()


def test_ranks_of_another_model_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    ranks = json.loads((tiny.run / "ranks.json").read_text())
    ranks["layers"][0]["name"] = "gpt.block.0.c_attn"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(ranks))
    said = command("retrain", tiny.run, "--ranks", other, "--output", tmp_path / "adapter")
    assert said.status == 2
    assert "has no layer 'gpt.block.0.c_attn' (1 of 4 are missing)" in said.err
    assert not (tmp_path / "adapter").exists()


def test_the_command_as_a_process(tiny: Tiny, tmp_path: Path) -> None:
    call = [sys.executable, "-m", "autolora_meta", "run", str(tiny.config), "lora.k=0"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: the configuration has a mistake:\n  - lora.k: ")
    assert not list(tmp_path.iterdir())
