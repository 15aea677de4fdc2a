"""The command line, end to end on a tiny model: what a run leaves, and that it comes again."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.finetuning.prepare import prepare
from autolora_meta.hypergradients.methods import METHODS
from autolora_meta.studies.table import StudyTable
from tests.end_to_end import Tiny, command, contents

FIGURES = (
    "ranks",
    "ranks-over-time",
    "ranks-spread",
    "ranks-stability",
    "gates",
    "losses",
    "contrast-1-arm-cross_entropy",
    "contrast-1-arm-accuracy",
    "ranks-mean",
    "cost",
)
# The same bytes whenever the same configuration runs on the same machine.
REPRODUCIBLE = (
    "config.yaml",
    "ranks.json",
    "alphas.safetensors",
    "metrics.jsonl",
    "study.yaml",
    "table.json",
    "adapter/adapter_model.safetensors",
    "adapter/adapter_config.json",
    "search/importance.safetensors",
)


def test_a_run_leaves_what_it_promises(tiny: Tiny) -> None:
    files = set(contents(tiny.run))
    assert {*REPRODUCIBLE, "timings.jsonl", "summary.md", "adapter/README.md"} <= files
    assert {f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "svg", "pdf")} <= files
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in files)
    assert RunConfig.load(tiny.run / "config.yaml") == RunConfig.load(tiny.config)
    gates = load_file(tiny.run / "alphas.safetensors")
    assert gates["trajectory"].shape == (1 + 3, 4, 3)
    assert len((tiny.run / "metrics.jsonl").read_text().splitlines()) == 3
    stages = [json.loads(line) for line in (tiny.run / "timings.jsonl").read_text().splitlines()]
    assert len(stages) == 2 * (2 + 4)  # replicates of two searches and four arms
    assert all(row["seconds"] > 0 for row in stages)


def test_a_run_says_what_it_does_and_what_it_found(tiny: Tiny) -> None:
    said = json.loads((tiny.run.parent.parent / "said.json").read_text())
    assert "train 32 rows, validation 32 rows, test 86 rows" in said["out"]
    assert "4 layers of k = 3 components" in said["out"]
    assert "over 2 replicates; a claim needs at least 3" in said["out"]
    summary = (tiny.run / "summary.md").read_text()
    assert summary in said["out"]
    assert "jobs that ran side by side slowed each other" in summary
    assert "The adapters were retrained one at a time." in summary
    assert re.search(
        r"Hypergradient: darts, the implicit part was \S+ times the direct part", summary
    )
    assert "left, loss=" in said["err"]  # progress, with loss and remaining time
    assert "Traceback" not in said["err"] and "Warning" not in said["err"]


def test_the_adapter_loads_with_peft_alone_and_gives_the_logits_that_were_measured(
    tiny: Tiny,
) -> None:
    adapter = tiny.run / "adapter"
    base = AutoModelForSequenceClassification.from_pretrained(tiny.model, num_labels=3)
    with quiet_peft():
        model = PeftModel.from_pretrained(base, str(adapter)).eval()
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    config = RunConfig.load(tiny.config)
    test = prepare(config.model, config.data, config.task, seed=0).rows["test"]
    batch = tokenizer.pad(
        {"input_ids": test["input_ids"], "attention_mask": test["attention_mask"]},
        return_tensors="pt",
    )
    labels = torch.tensor(test["labels"])
    with torch.no_grad():
        logits = model(**batch).logits
    measured = StudyTable.load(tiny.run).rows[0]["metrics"]
    assert F.cross_entropy(logits, labels).item() == pytest.approx(measured["cross_entropy"], 1e-5)
    assert (logits.argmax(-1) == labels).float().mean().item() == pytest.approx(
        measured["accuracy"]
    )
    ranks = json.loads((tiny.run / "ranks.json").read_text())
    written = json.loads((adapter / "adapter_config.json").read_text())["rank_pattern"]
    expected = {layer["name"]: layer["rank"] for layer in ranks["layers"] if layer["rank"]}
    assert {re.sub(r"\\|\^", "", name): rank for name, rank in written.items()} == expected


def test_the_model_card_says_how_the_adapter_was_made(tiny: Tiny) -> None:
    card = (tiny.run / "adapter" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert (head["base_model"], head["library_name"]) == (str(tiny.model), "peft")
    for part in (
        str(tiny.rows),
        "64 rows to train on, 86 to test on, seed 0",
        "uniform:1",
        "darts",
    ):
        assert part in card, part
    assert 'labels = ["animal", "colour", "number"]' in card


def test_a_run_of_another_configuration_is_overwritten_only_when_told_to(
    tiny: Tiny, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(tiny.run, runs / "tiny")
    (runs / "tiny" / "mine.txt").write_text("a note")
    before = contents(runs)
    said = command("run", tiny.config, "retrain.steps=5", "name=tiny", "--runs", runs)
    assert said.status == 2 and "holds another run (it differs in retrain.steps)" in said.err
    assert "finished work is not overwritten" in said.err and "--overwrite" in said.err
    said = command("search", tiny.config, "name=tiny", "--runs", runs)
    assert said.status == 2 and "finished work is not overwritten" in said.err
    assert contents(runs) == before
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "tiny").symlink_to(runs / "tiny")
    for name in ("run", "search"):
        link = command(name, tiny.config, "--runs", tmp_path / "links", "--overwrite")
        assert link.status == 2 and "is a link, and --overwrite does not empty" in link.err
    bad = command("run", tiny.config, "lora.targets=[qurey]", "--runs", runs, "--overwrite")
    assert bad.status == 2
    assert contents(runs) == before
    assert command("run", tiny.config, "--runs", runs, "--overwrite").status == 0
    after = contents(runs / "tiny")
    assert "mine.txt" not in after
    for name in REPRODUCIBLE:
        assert after[name] == before[f"tiny/{name}"], name
    assert set(after) == set(contents(tiny.run))


def test_the_same_command_again_trains_nothing_and_another_goes_elsewhere(
    tiny: Tiny, tmp_path: Path
) -> None:
    shutil.copytree(tiny.run, tmp_path / "tiny")  # as the first run left it
    before = contents(tmp_path / "tiny")
    said = command("run", tiny.config, "--runs", tmp_path)
    assert said.status == 0 and "all 8 runs have ended before" in said.out
    assert (tmp_path / "tiny" / "summary.md").read_text() in said.out
    assert {path.name for path in tmp_path.iterdir()} == {"tiny"}
    assert contents(tmp_path / "tiny") == before
    for name, folder in [("run", "tiny-2"), ("search", "tiny-3")]:
        said = command(name, tiny.config, "compare.replicates=1", "--runs", tmp_path)
        assert said.status == 0, said.err
        assert f"this goes into {tmp_path / folder}\n" in said.out
        assert RunConfig.load(tmp_path / folder / "config.yaml").name == folder
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "tiny-2", "tiny-3"}
    first, second = (contents(tmp_path / name) for name in ("tiny", "tiny-2"))
    assert first == before
    for name in ("ranks.json", "metrics.jsonl", "adapter/adapter_model.safetensors"):
        assert first[name] == second[name], name


def test_more_replicates_go_on_where_the_run_ended_and_it_is_said(
    tiny: Tiny, tmp_path: Path
) -> None:
    shutil.copytree(tiny.run, tmp_path / "tiny")
    before = (tmp_path / "tiny" / "results.jsonl").read_text()
    said = command("run", tiny.config, "compare.replicates=3", "--runs", tmp_path)
    assert said.status == 0, said.err
    assert "4 of 12 runs to do, and 2 searches" in said.out
    assert "Seeds were added after results had been looked at (2, then 3)" in said.out
    assert (tmp_path / "tiny" / "results.jsonl").read_text().startswith(before)


def test_a_table_is_compared_on_the_command_line(tiny: Tiny) -> None:
    said = command("compare", tiny.run)
    assert said.status == 0, said.err
    table = StudyTable.load(tiny.run)
    assert all(f"- {sentence}\n" in said.out for sentence in table.sentences())
    said = command("compare", tiny.run / "table.json", "--baseline", "frozen", "--metric", "loss")
    assert said.status == 2 and "unknown metric 'loss'" in said.err
    said = command("compare", tiny.run, "--baseline", "frozen", "--metric", "accuracy")
    asked = table.compare("arm", baseline="frozen", metric="accuracy")
    assert said.status == 0 and all(f"- {one.sentence}\n" in said.out for one in asked)
    wrong = command("compare", tiny.run, "--baseline", "froze")
    assert wrong.status == 2 and "did you mean 'frozen'" in wrong.err
    lost = command("compare", tiny.run, "--metric", "accuracy")
    assert lost.status == 2 and "add --baseline" in lost.err


def test_the_search_alone_finds_what_the_run_found(tiny: Tiny, tmp_path: Path) -> None:
    said = command("search", tiny.config, "--runs", tmp_path)
    assert said.status == 0, said.err
    assert "total rank 4, 128 parameters" in said.out
    found, run = contents(tmp_path / "tiny"), contents(tiny.run)
    for name in ("config.yaml", "ranks.json", "alphas.safetensors", "metrics.jsonl"):
        assert found[name] == run[name], name
    assert {f"figures/{name}.svg" for name in ("ranks", "gates", "losses")} <= set(found)


def test_another_budget_without_another_search_and_an_adapter_for_it(
    tiny: Tiny, tmp_path: Path
) -> None:
    wide = tmp_path / "patterns" / "wide.json"
    said = command("allocate", tiny.run, "budget=uniform:2", "min_rank=1", "--output", wide)
    assert said.status == 0, said.err
    assert "total rank 8, 256 parameters" in said.out
    assert "unspent" not in said.out
    full = command("allocate", tiny.run, "budget=uniform:5")
    assert "256 of the 640 parameters of budget uniform:5 stay unspent" in full.out
    again = command("allocate", tiny.run, "--output", wide)
    assert again.status == 2 and "finished work is not overwritten" in again.err
    adapter = tmp_path / "adapter"
    said = command("retrain", tiny.run, "--ranks", wide, "--output", adapter)
    assert said.status == 0, said.err
    assert "cross_entropy: " in said.out
    weights = load_file(adapter / "adapter_model.safetensors")
    assert sum(value.numel() for name, value in weights.items() if "lora_" in name) == 256
    assert command("retrain", tiny.run, "--output", adapter).status == 2
    card = (adapter / "README.md").read_text()
    assert "ranks given by hand" in card and "256 adapter parameters, head apart" in card
    assert "uniform:1" not in card and "rule" not in card


def test_an_adapter_may_go_on_from_what_the_search_trained(tiny: Tiny, tmp_path: Path) -> None:
    said = command("retrain", tiny.run, "--start", "search", "--output", tmp_path / "adapter")
    assert said.status == 0, said.err
    ours, scratch = (
        load_file(place / "adapter" / "adapter_model.safetensors") for place in (tmp_path, tiny.run)
    )
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in scratch.items()}
    assert any(not torch.equal(t, scratch[n]) for n, t in ours.items())
    moved = command("retrain", tiny.run, "--base", "./moved", "--output", tmp_path / "other")
    assert moved.status == 2 and "'./moved' is not a folder here" in moved.err
    wrong = command("retrain", tiny.run, "--start", "there", "--output", tmp_path / "other")
    assert wrong.status == 2 and "retrain.start" in wrong.err and "'scratch'" in wrong.err


def test_retraining_a_run_gives_its_own_adapter_again(tiny: Tiny, tmp_path: Path) -> None:
    assert command("retrain", tiny.run, "--output", tmp_path / "adapter").status == 0
    assert contents(tmp_path / "adapter") == contents(tiny.run / "adapter")


def test_figures_are_drawn_again_with_the_same_bytes(tiny: Tiny, tmp_path: Path) -> None:
    run = tmp_path / "tiny"
    shutil.copytree(tiny.run, run)
    shutil.rmtree(run / "figures")
    assert command("plot", run).status == 0
    drawn, before = contents(run / "figures"), contents(tiny.run / "figures")
    assert set(drawn) == set(before)
    assert drawn["ranks.png"] == before["ranks.png"]


def test_one_replicate_with_the_paper_s_rule_and_an_iterative_method(
    tiny: Tiny, tmp_path: Path
) -> None:
    changes = ["compare.replicates=1", "compare.arms=[learned, uniform]", "cg", "seed=7"]
    changes += ["ranks.rule=paper", "compare.metrics=[accuracy]"]
    said = command("run", tiny.config, *changes, "--runs", tmp_path)
    assert said.status == 0, said.err
    assert "rule threshold; hypergradient cg" in said.out
    card = (tmp_path / "tiny" / "adapter" / "README.md").read_text()
    assert "rule `threshold`" in card
    assert "budget" not in said.out + card
    how = r"solver iterations a step, damping 10, .* in \d+% of the outer steps, the implicit part"
    assert re.search(how, said.out)
    table = StudyTable.load(tmp_path / "tiny")
    ranks = json.loads((tmp_path / "tiny" / "ranks.json").read_text())
    assert all(layer["rank"] >= 1 for layer in ranks["layers"])
    assert {row["seed"] for row in table.rows} == {7} and table.metrics == ["accuracy"]
    assert max(row["parameters"] for row in table.rows) == ranks["parameters"]
    assert table.sentences()[0].startswith("no claim: learned minus uniform")
    assert command("plot", tmp_path / "tiny").status == 0


@pytest.mark.parametrize(
    ("kind", "names", "words"),
    [
        ("methods", ("darts", "cg"), "valid when"),
        ("arms", ("learned", "eva"), "arXiv 2410.07170"),
        ("tasks", ("regression", "causal-lm"), "perplexity"),
        ("problems", ("autolora",), "arXiv 2403.09113"),
        ("configs", ("quickstart", "paper/cola"), "engine_configs/quickstart.yaml"),
        ("studies", ("controls",), "engine_configs/studies/controls.yaml"),
    ],
)
def test_what_can_be_named_is_listed(kind: str, names: tuple[str, ...], words: str) -> None:
    whole, listed = command("list").out, command("list", kind).out
    assert words in listed
    for name in names:
        assert re.search(rf"^\| {name} +\| \w", listed, re.MULTILINE)
        assert re.search(rf"^{kind}: .*\b{name}\b", whole, re.MULTILINE)


def test_a_kind_that_there_is_not() -> None:
    said = command("list", "armz")
    assert said.status == 2 and "unknown kind 'armz' (did you mean 'arms'?)" in said.err


def test_methods_are_listed_and_the_configuration_printed(tiny: Tiny) -> None:
    listed = command("methods")
    assert listed.status == 0
    assert all(f"| {name} " in listed.out for name in METHODS)
    header, _, *rows = (line.split("|") for line in listed.out.splitlines() if line[:1] == "|")
    place = [cell.strip() for cell in header].index("bf16")
    in_bf16 = {row[1].strip(): row[place].strip() == "yes" for row in rows}
    assert in_bf16 == {name: method.works_in_bf16 for name, method in METHODS.items()}
    assert in_bf16["darts"] and not in_bf16["cg"]
    printed = command("config", tiny.config, "neumann", "search.outer_steps=40")
    config = RunConfig.load(yaml.safe_load(printed.out))
    assert config.search.hypergradient.method == "neumann"
    assert config.search.outer_steps == 40
    for name in (
        "run",
        "search",
        "allocate",
        "retrain",
        "compare",
        "plot",
        "methods",
        "list",
        "config",
    ):
        assert name in command("--help").out
        assert command(name, "--help").status == 0
