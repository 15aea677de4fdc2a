"""Two steps of every configuration of the paper and of the tasks measured in docs/tasks.md.

Folders are laid out as the hub lays them out.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from autolora_meta.config.overlay import shipped
from autolora_meta.config.run import RunConfig
from autolora_meta.pipeline.retrain import retrain
from autolora_meta.pipeline.search import search
from benchmarks.chat_base import TEMPLATE
from benchmarks.e2e_base import parts
from tests.families import FAMILIES
from tests.tiny import tiny_bert, tiny_texts, tiny_tokenizer

PAPER = [name for name in shipped() if name.startswith("paper/")]
TASKS = [name for name in shipped() if name.startswith("tasks/")]
PAIRS = {
    "mnli": ("premise", "hypothesis"),
    "mrpc": ("sentence1", "sentence2"),
    "qnli": ("question", "sentence"),
    "qqp": ("question1", "question2"),
    "rte": ("sentence1", "sentence2"),
    "stsb": ("sentence1", "sentence2"),
}
SCORED = {  # by the benchmark, the main metric first
    "cola": ("matthews",),
    "mnli": ("accuracy",),
    "mrpc": ("f1", "accuracy"),
    "qnli": ("accuracy",),
    "qqp": ("f1", "accuracy"),
    "rte": ("accuracy",),
    "sst2": ("accuracy",),
    "stsb": ("pearson", "spearman"),
    "jnlpba": ("entity_f1",),
    "e2e": ("perplexity", "bleu"),
    "webnlg": ("perplexity", "bleu"),
}
ENTITIES = ClassLabel(names=["O", "B-DNA", "I-DNA", "B-protein", "I-protein"])
Rows = list[dict[str, Any]]


def glue(name: str) -> Callable[..., Dataset]:
    """Rows with GLUE's columns; those of its test splits have no labels."""

    def rows(count: int, seed: int, labelled: bool = True) -> Dataset:
        first, *second = PAIRS.get(name, ("sentence",))
        texts = [row["text"] for row in tiny_texts(count, seed=seed)]
        classes = 3 if name == "mnli" else 2
        found: Rows = []
        for i, text in enumerate(texts):
            label = (i % 6 if name == "stsb" else i % classes) if labelled else -1
            found.append({first: text, **{key: text[::-1] for key in second}})
            found[-1] |= {"label": float(label) if name == "stsb" else label, "idx": i}
        label = Value("float32") if name == "stsb" else ClassLabel(num_classes=classes)
        columns = {first: Value("string"), **{key: Value("string") for key in second}}
        features = Features({**columns, "label": label, "idx": Value("int32")})
        return Dataset.from_list(found, features=features)

    return rows


def written(folder: Path, splits: dict[str, Dataset]) -> Path:
    """One shard of parquet for each split."""
    folder.mkdir(parents=True)
    for split, rows in splits.items():
        rows.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


def glue_folder(place: Path, name: str) -> Path:
    rows = glue(name)
    kinds = ("_matched", "_mismatched") if name == "mnli" else ("",)
    splits = {"train": rows(48, 1)}
    for kind in kinds:
        splits[f"validation{kind}"] = rows(18, 2 + len(kind))
        splits[f"test{kind}"] = rows(12, 40 + len(kind), False)
    written(place / "glue" / name, splits)
    return place / "glue"


def e2e_folder(place: Path) -> Path:
    def rows(count: int, seed: int) -> Dataset:
        texts = [row["text"] for row in tiny_texts(count, seed=seed)]
        pairs = [(text, f"{text} {end}") for text in texts for end in ("now", "here")]
        columns = ("meaning_representation", "human_reference")
        return Dataset.from_list([dict(zip(columns, pair, strict=True)) for pair in pairs])

    splits = {"train": rows(24, 1), "validation": rows(6, 2), "test": rows(6, 3)}
    return written(place / "e2e" / "data", splits).parent


def webnlg_folder(place: Path) -> Path:
    (place / "webnlg").mkdir()
    for seed, (split, count) in enumerate({"train": 40, "validation": 6, "test": 6}.items()):
        texts: Iterable[str] = [row["text"] for row in tiny_texts(count, seed=seed)]
        lines = [{"text": text, "target": [text, f"{text} now"]} for text in texts]
        content = "".join(f"{json.dumps(line)}\n" for line in lines)
        (place / "webnlg" / f"{split}.jsonl").write_text(content)
    return place / "webnlg"


def jnlpba_folder(place: Path) -> Path:
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ENTITIES)})

    def rows(count: int, seed: int) -> Dataset:
        found = [row["text"].split() for row in tiny_texts(count, seed=seed)]
        tags = [[1, *[2] * (len(words) - 2), 0] for words in found]
        columns = {"tokens": found, "ner_tags": tags}
        return Dataset.from_dict(columns, features=features)

    return written(
        place / "jnlpba" / "data", {"train": rows(80, 1), "validation": rows(9, 2)}
    ).parent


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An encoder in the place of RoBERTa, and a GPT-2."""
    place = tmp_path_factory.mktemp("models")
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "[SEP]"
    FAMILIES["gpt2"].model().save_pretrained(place / "gpt2")
    tokenizer.save_pretrained(place / "gpt2")
    return {"gpt2": place / "gpt2", "roberta": tiny_bert(place / "bert", layers=1)}


@pytest.mark.parametrize("name", PAPER)
def test_two_steps_of_every_configuration_of_the_paper(
    name: str, models: dict[str, Path], tmp_path: Path
) -> None:
    task = name.removeprefix("paper/").removeprefix("large-")
    folders = {"e2e": e2e_folder, "webnlg": webnlg_folder, "jnlpba": jnlpba_folder}
    data = folders[task](tmp_path) if task in folders else glue_folder(tmp_path, task)
    shipped_config = RunConfig.load("paper", name)
    model = next(path for kind, path in models.items() if kind in shipped_config.model.name)
    changes = ["task.generation={max_new_tokens: 3, num_beams: 2}"] * (task in ("e2e", "webnlg"))
    config = RunConfig.load(
        "paper",
        name,
        *changes,
        f"model.name={model}",
        f"data.source={data}",
        "data.revision=null",
        "task.max_length=32",
        "search.outer_steps=2",
        "retrain.steps=2",
        "runtime.device=cpu",
    )
    result = search(config)
    assert len(result.rows) == 2 and min(result.ranks.ranks) >= 1
    retrained = retrain(config, result.ranks)
    assert len(retrained.log) == 2
    assert set(SCORED[task]) <= set(retrained.metrics)


@pytest.mark.parametrize("name", TASKS)
def test_two_steps_of_every_configuration_of_a_task(
    name: str, models: dict[str, Path], tmp_path: Path
) -> None:
    task, changes = name.removeprefix("tasks/"), list[str]()
    if task == "e2e":
        known, new = parts(e2e_lines(), "near")
        for file, lines in {"adapt": new, "test": known}.items():
            (tmp_path / f"{file}.txt").write_text("\n".join(lines))
        source = f"{{train: {tmp_path}/adapt.txt, test: {tmp_path}/test.txt}}"
        changes = ["task.generation.max_new_tokens=3", "task.max_length=48"]
    elif task == "chat":
        (tmp_path / "chat.jinja").write_text(TEMPLATE)
        source = RunConfig.load(name).data.source
        changes = [f"task.chat_template={tmp_path}/chat.jinja", "task.max_length=32"]
    else:
        source = str(jnlpba_folder(tmp_path) if task == "jnlpba" else glue_folder(tmp_path, task))
    config = RunConfig.load(
        name,
        *changes,
        f"model.name={models['gpt2' if task in ('chat', 'e2e') else 'roberta']}",
        f"data.source={source}",
        "data={revision: null, train_rows: null, validation_rows: null, test_rows: null}",
        *["data={train_rows: 16, validation_rows: 16, test_rows: 8}"] * (task == "chat"),
        "search={warmup_steps: 1, outer_steps: 2, batch_size: 8, outer_batch_size: 8}",
        "retrain.steps=2",
        "runtime.device=cpu",
    )
    result = search(config)
    assert len(result.rows) == 2
    retrained = retrain(config, result.ranks)
    assert len(retrained.log) == 2
    assert set(config.compare.metrics or ()) <= set(retrained.metrics)


def e2e_lines() -> list[str]:
    """As in E2E: a meaning on several lines, some with a place nearby."""
    meanings = [f"name : P{i} | food : F{i % 3}" for i in range(20)]
    meanings += [f"{meaning} | near : Q" for meaning in meanings]
    return [f"{meaning}||{meaning[7:10]} {end}" for meaning in meanings for end in ("now", "here")]


def test_the_base_of_e2e_sees_no_meaning_with_the_attribute() -> None:
    known, new = parts(e2e_lines(), "near")
    assert len(known) == len(new) == 40
    assert all("near" in line for line in new) and not any("near" in line for line in known)
