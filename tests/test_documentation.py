"""README and docs: commands parse, configurations load, examples run, links lead somewhere."""

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from datasets import Dataset
from PIL import Image
from transformers import GPT2Config, GPT2LMHeadModel, ViTConfig, ViTImageProcessor, ViTModel

from autolora_meta import RunConfig
from autolora_meta.cli.main import app
from autolora_meta.config.overlay import shipped
from autolora_meta.finetuning.data import DataOptions, files
from autolora_meta.finetuning.data.chat_rows import read_columns
from autolora_meta.finetuning.tasks import TASKS, task_class
from autolora_meta.foundation import plugins
from autolora_meta.studies.options import read_study, shipped_studies
from tests.tiny import tiny_bert, tiny_texts, tiny_tokenizer

ROOT = Path(__file__).parent.parent
README, TASKS_FILE = ROOT / "README.md", ROOT / "docs" / "tasks.md"
OWN, ARMS = ROOT / "docs" / "own-data.md", ROOT / "docs" / "arms.md"
DOCUMENTS = sorted([README, *(ROOT / "docs").rglob("*.md")])
# Pages of the site that stand at the top of the tree, where only their links are looked at.
LINKED = sorted([*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
# A run of seconds, laid under an example.
QUICK: dict[str, Any] = {
    "lora": {"k": 2},
    "search": {"outer_steps": 1, "warmup_steps": 1, "batch_size": 4, "outer_batch_size": 4},
    "ranks": {"budget": "uniform:1"},
    "retrain": {"steps": 2, "batch_size": 4},
    "runtime": {"device": "cpu"},
}
every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def commands(path: Path) -> list[list[str]]:
    """Arguments of every `autolora-meta ...` that stands on a line of its own."""
    lines = re.findall(r"^(?: {4})?autolora-meta (.*)$", path.read_text("utf-8"), re.M)
    return [shlex.split(line, comments=True) for line in lines]


def named(path: Path, place: Path) -> dict[str, str]:
    """Files of the YAML blocks whose first line names one: `# mine.yaml`."""
    found: dict[str, str] = {}
    for block in blocks(path.read_text("utf-8"), "yaml"):
        if match := re.match(r"# (\S+\.yaml)\n", block):
            (place / match[1]).write_text(block, encoding="utf-8")
            found[match[1]] = str(place / match[1])
    return found


@every_document
def test_commands_parse_and_what_they_name_exists(path: Path, tmp_path: Path) -> None:
    group: Any = typer.main.get_command(app)
    written = named(path, tmp_path)

    def at(name: str) -> str:
        return written.get(name, name)

    for name, *arguments in commands(path):
        assert name in group.commands, name
        values = group.commands[name].make_context(name, list(arguments)).params
        if name == "study":
            read_study(at(values["file"]), *(values["changes"] or []), smoke=values["smoke"])
        elif layers := values.get("layers"):
            RunConfig.load(*map(at, layers))


@every_document
def test_configurations_load(path: Path, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(path.read_text("utf-8"), "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block, encoding="utf-8")
        if "base" in yaml.safe_load(block):
            read_study(file)
            read_study(file, smoke=True)
        else:
            RunConfig.load(file)


@every_document
def test_python_compiles_and_its_imports_are_there(path: Path) -> None:
    for block in blocks(path.read_text("utf-8"), "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("autolora_meta"):
                module = import_module(node.module or "")
                assert all(hasattr(module, alias.name) for alias in node.names), node.module
    for block in blocks(path.read_text("utf-8"), "toml"):
        (group,) = tomllib.loads(block)["project"]["entry-points"]
        assert group in (plugins.ALLOCATORS, plugins.TASKS, plugins.PROBLEMS)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("path", LINKED, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.M | re.S)
    named = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", text, re.M))
    targets = [*re.findall(r"\]\(([^)\s]+)\)", text), *named.values()]
    for target in [*targets, *re.findall(r"""(?:href|src)=["']([^"']+)""", text)]:
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        there = path.parent / file if file else path
        assert there.is_file(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{path.name} links to {target}"


def test_every_name_that_can_be_given_is_told_of() -> None:
    arms, own, tasks = (file.read_text("utf-8") for file in (ARMS, OWN, TASKS_FILE))
    studies = (ROOT / "docs" / "studies.md").read_text("utf-8")
    for allocator in plugins.names(plugins.ALLOCATORS):
        assert f"`{allocator}`" in arms, allocator
    for task in TASKS:
        assert f"`{task}`" in own and f"{task}" in tasks, task
    for study in shipped_studies():
        assert f"`{study}`" in studies, study
    told = {argument for path in DOCUMENTS for line in commands(path) for argument in line}
    assert any(name in told for name in shipped() if name.startswith("paper/"))


def sections() -> Iterator[tuple[str, str]]:
    """(heading, text) of docs/tasks.md."""
    _, *parts = re.split(r"^## ", TASKS_FILE.read_text("utf-8"), flags=re.M)
    for part in parts:
        heading, _, text = part.partition("\n")
        yield heading, text


OF_TASKS = {heading: text for heading, text in sections() if blocks(text, "yaml")}


def examples() -> Iterator[tuple[str, str, dict[str, str], str]]:
    """(task, file name, columns that are named, its lines) of every example of a data file."""
    for text in OF_TASKS.values():
        config = yaml.safe_load(blocks(text, "yaml")[0])
        task = config.get("task", {}).get("type", "sequence-classification")
        of_config = {k: v for k, v in config["data"].items() if k not in ("source", "splits")}
        for match in re.finditer(r"^`([\w-]+\.\w+)`(.*?)\n```text\n(.*?)^```", text, re.M | re.S):
            told = dict(re.findall(r"`(\w+): (\d+)`", match[2]) if "no header" in match[2] else [])
            own = of_config if config["data"]["source"] == match[1] else told
            yield task, match[1], own, match[3]


@pytest.mark.parametrize(("task", "name", "columns", "lines"), list(examples()))
def test_example_files_are_read(
    task: str, name: str, columns: dict[str, str], lines: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(lines, encoding="utf-8")
    of_task, options = task_class(task), DataOptions.model_validate(columns)
    laid_out = files.layout(of_task.roles, columns)
    part = files.read(tmp_path / name, laid_out, "train")
    parts, chosen, roles = read_columns(
        {"train": part}, of_task.roles, options, lambda words: None, chat=of_task.chat
    )
    assert len(parts["train"].rows) == len(part.rows)
    assert {role.name for role in roles if role.required} <= set(chosen)
    expected = len(lines.splitlines()) - name.endswith(".csv")
    assert len(part.rows) == (1 if laid_out.kind == "tags" and name.endswith("iob") else expected)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models and the data that the examples name, tiny ones."""
    place = tmp_path_factory.mktemp("documentation")
    tiny_bert(place / "models" / "my-encoder", layers=1)
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "[SEP]"
    small: dict[str, Any] = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 64}
    ends: dict[str, Any] = dict.fromkeys(("bos_token_id", "eos_token_id"), tokenizer.eos_token_id)
    decoder = GPT2Config(vocab_size=len(tokenizer), **small, **ends)
    GPT2LMHeadModel(decoder).save_pretrained(place / "models" / "my-decoder")
    tokenizer.save_pretrained(place / "models" / "my-decoder")
    sides: dict[str, Any] = {
        "image_size": 8,
        "patch_size": 4,
        "hidden_size": 8,
        "intermediate_size": 8,
    }
    pictures = ViTConfig(**sides, num_hidden_layers=1, num_attention_heads=2)
    ViTModel(pictures).save_pretrained(place / "models" / "my-vit")
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(place / "models" / "my-vit")
    rows = tiny_texts(60)
    texts = [row["text"] for row in rows]
    classes = [f"{row['text']},{row['label']}" for row in rows]
    numbers = [f"{text},{text},{len(text) / 20}" for text in texts]
    (place / "reviews.csv").write_text("\n".join(["review,stars", *classes]))
    (place / "likeness.csv").write_text("\n".join(["sentence1,sentence2,score", *numbers]))
    (place / "style.txt").write_text("\n".join(texts))
    talks = [[("user", f"a {text}"), ("assistant", text)] for text in texts]
    keyed = [[{"role": who, "content": said} for who, said in talk] for talk in talks]
    (place / "talks.jsonl").write_text("".join(f"{json.dumps({'messages': t})}\n" for t in keyed))
    template = "{% for m in messages %}{{ m.content + '[SEP] ' }}{% endfor %}"
    (place / "chat.jinja").write_text(template)
    for name, part in (("train", texts[:48]), ("test", texts[48:])):
        (place / f"{name}.txt").write_text("\n".join(f"{text}||{text} now" for text in part))
        tagged = [text.replace(" ", "\tO\n").replace("\tO", "\tB-first", 1) for text in part]
        (place / f"{name}.iob").write_text("".join(f"{text}\tO\n\n" for text in tagged))
    for number in range(24):
        folder = place / "pictures" / ("odd" if number % 2 else "even")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * number).save(folder / f"{number}.png")
    return place


def run_example(code: str, place: Path, **given: Any) -> dict[str, Any]:
    """Names after an example of Python has run, as if typed into a file."""
    names: dict[str, Any] = {"__name__": "__main__", **given}
    exec(compile(code, place / "example.py", "exec"), names)
    return names


def quickened(path: Path, place: Path) -> None:
    """Write the configurations of a document, each with few steps."""
    for name, file in named(path, place).items():
        content = yaml.safe_load(Path(file).read_text("utf-8"))
        if "model" in content:
            for section, values in QUICK.items():
                content[section] = {**content.get(section, {}), **values}
            Path(file).write_text(yaml.safe_dump(content), encoding="utf-8")
        assert name in file


@pytest.mark.parametrize("heading", OF_TASKS)
def test_python_of_every_task_runs(
    heading: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickened(TASKS_FILE, place)
    monkeypatch.chdir(place)
    (code,) = blocks(OF_TASKS[heading], "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 11
    names = run_example(code, place)
    assert isinstance(names["config"], RunConfig)


def test_tasks_of_a_persons_own_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quickened(OWN, place)
    monkeypatch.chdir(place)
    (focal,) = (b for b in blocks(OWN.read_text("utf-8"), "python") if "class Focal" in b)
    run_example(focal, place)
    (whole,) = (b for b in blocks(TASKS_FILE.read_text("utf-8"), "python") if "class Toxic" in b)
    toxicity = run_example(whole, place)["Toxicity"]
    use = """
from autolora_meta import RunConfig, prepare, retrain, search
prepared = prepare(config, data=rows, task=Toxicity)
metrics = retrain(config, search(config, prepared=prepared).ranks, prepared=prepared).metrics
"""
    texts = [row["text"] for row in tiny_texts(60)]
    rows = Dataset.from_dict({"text": texts, "toxicity": [len(text) / 20 for text in texts]})
    base = {"name": "own", "model": {"name": "models/my-encoder"}, "data": {}}
    config = RunConfig.load(base, QUICK)
    found = run_example(use, place, Toxicity=toxicity, rows=rows, config=config)
    assert set(found["metrics"]) == {"mean_squared_error"}
