"""A run's folder is data: attacks planted in one run no code, and lead nowhere."""

import ast
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import dynamic_module_utils

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.exporting.export import export
from autolora_meta.exporting.source import find
from autolora_meta.finetuning.lora import layer_costs, quiet_peft
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.foundation import manifest
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.sections_use import adapter, again
from autolora_meta.reporting.summary import summary
from tests.end_to_end import Tiny, command
from tests.exporting.adapters import classifier, saved
from tests.reporting.pages import study_table
from tests.tiny import tiny_bert, tiny_csv

_PLANTED = """\
from pathlib import Path
from transformers import BertConfig, BertForSequenceClassification

Path({mark!r}).touch()

class Planted(BertConfig):
    pass

class Model(BertForSequenceClassification):
    config_class = Planted
"""


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with a model, rows, and a run's folder with ranks and adapter, never searched."""
    place = tmp_path_factory.mktemp("honest")
    base, rows = tiny_bert(place / "model"), tiny_csv(place / "rows.csv", 90)
    model, run = classifier(base), place / "run"
    names = target_layers(model, ["query", "value"])
    pattern = RankPattern(names, (3, 0, 1, 2), layer_costs(model, names), k=3, scale=2.0)
    config = lora_config(pattern, task_type="SEQ_CLS", modules_to_save=["classifier"])
    saved(model, config, run / "adapter")
    pattern.save(run / "ranks.json")
    settings = {
        "name": "mine",
        "model": {"name": str(base)},
        "data": {"source": str(rows), "train_rows": 32, "validation_rows": 32},
        "lora": {"k": 3, "targets": ["query", "value"]},
        "retrain": {"steps": 1, "batch_size": 8},
        "runtime": {"device": "cpu"},
    }
    (run / "config.yaml").write_text(RunConfig.load(settings).to_yaml(), encoding="utf-8")
    return place


@pytest.fixture
def run(honest: Path, tmp_path: Path) -> Path:
    """A copy of that run, to plant something in."""
    return shutil.copytree(honest / "run", tmp_path / "run")


def _set(run: Path, section: str, **values: object) -> None:
    file = run / "config.yaml"
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config[section] |= values
    file.write_text(yaml.safe_dump(config), encoding="utf-8")


@pytest.fixture
def mark(honest: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What appears where the code of the model runs that the folder's config asks to trust."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    mark, model = tmp_path / "mark", shutil.copytree(honest / "model", tmp_path / "planted")
    (model / "planted.py").write_text(_PLANTED.format(mark=str(mark)), encoding="utf-8")
    about = json.loads((model / "config.json").read_text())
    classes = {"AutoConfig": "Planted", "AutoModelForSequenceClassification": "Model"}
    about["auto_map"] = {auto: f"planted.{name}" for auto, name in classes.items()}
    (model / "config.json").write_text(json.dumps(about))
    _set(run, "model", name=str(model), trust_remote_code=True)
    adapter = json.loads((run / "adapter" / "adapter_config.json").read_text())
    adapter["base_model_name_or_path"] = str(model)
    (run / "adapter" / "adapter_config.json").write_text(json.dumps(adapter))
    return mark


@pytest.fixture
def planted(tiny: Tiny, tmp_path: Path) -> Path:
    """A run whose folder consents to code, and whose model brings some that leaves a trace."""
    model, run = tmp_path / "model", tmp_path / "run"
    shutil.copytree(tiny.model, model)
    shutil.copytree(tiny.run, run)
    (run / manifest.FILE).unlink()  # whoever plants code can write it anew, too
    trace = tmp_path / "ran"
    (model / "evil.py").write_text(
        f"from transformers import BertConfig as Evil\nopen({str(trace)!r}, 'w').close()\n"
    )
    config = model / "config.json"
    content = yaml.safe_load(config.read_text()) | {"auto_map": {"AutoConfig": "evil.Evil"}}
    content["model_type"] = "evil"
    config.write_text(yaml.safe_dump(content, default_flow_style=True, width=10**9))
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["model"] |= {"name": str(model), "trust_remote_code": True}
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    return run


def test_a_run_folder_cannot_consent_to_code(planted: Path, tmp_path: Path) -> None:
    for arguments in (
        ("retrain", planted, "--output", tmp_path / "new"),
        ("export", planted, "--to", "merged", "--output", tmp_path / "new"),
        ("export", planted, "--to", "padded", "--output", tmp_path / "new"),
    ):
        said = command(*arguments)
        assert said.status == 2, arguments
        assert "asks to run Python code that comes with the model" in said.err
        assert "--trust-remote-code" in said.err
    with pytest.raises(InputError, match="trust_remote_code=True in Python"):
        export(planted, "merged", tmp_path / "new")
    assert not (tmp_path / "ran").exists() and not (tmp_path / "new").exists()
    assert command("export", planted).status == 0  # ranks are shown, and nothing is loaded
    assert command("plot", planted).status == 0 and command("compare", planted).status == 0
    assert not (tmp_path / "ran").exists()


def test_consent_comes_from_the_call(planted: Path) -> None:
    trusted = RunConfig.of_folder(planted, trust_remote_code=True)
    assert trusted.model.trust_remote_code
    base = find(planted, trust_remote_code=True).base
    assert base is not None and base.trust_remote_code
    asked = find(planted).base
    assert asked is not None and not asked.trust_remote_code


@pytest.mark.parametrize("words", [["retrain"], ["export", "--to", "merged"]])
def test_consent_to_code_comes_from_this_call_alone(
    words: list[str], run: Path, mark: Path, tmp_path: Path
) -> None:
    call = [words[0], run, *words[1:], "--output", tmp_path / "out" / "made"]
    for more in ([], ["--base", tmp_path / "planted"]):
        said = command(*call, *more)
        assert said.status == 2 and "--trust-remote-code" in said.err, said.err
        assert not mark.exists() and not (tmp_path / "out").exists()
    said = command(*call, "--trust-remote-code")
    assert said.status == 0 and mark.exists(), said.err


def test_a_model_of_a_kind_that_its_own_code_defines_is_refused(
    run: Path, mark: Path, tmp_path: Path
) -> None:
    _set(run, "model", trust_remote_code=False)
    file = tmp_path / "planted" / "config.json"
    file.write_text(file.read_text().replace('"model_type": "bert"', '"model_type": "planted"'))
    said = command("retrain", run, "--output", run.parent / "made")
    assert said.status == 2 and not mark.exists()


def test_code_beside_an_adapter_is_no_code_of_its_base(
    honest: Path, run: Path, mark: Path, tmp_path: Path
) -> None:
    """The config.json of an adapter is read for its classes."""
    shutil.copy(tmp_path / "planted" / "planted.py", run / "adapter")
    about = json.loads((tmp_path / "planted" / "config.json").read_text())
    about["id2label"] = {0: "a", 1: "b", 2: "c"}
    (run / "adapter" / "config.json").write_text(json.dumps(about))
    _set(run, "model", trust_remote_code=False)
    export(run, "merged", tmp_path / "made", base=str(honest / "model"))
    about["model_type"] = "planted"  # which transformers does not have
    (run / "adapter" / "config.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="cannot be loaded"):
        export(run, "merged", tmp_path / "again", base=str(honest / "model"))
    assert not mark.exists()


def test_an_adapter_names_no_module_to_import(run: Path) -> None:
    file = run / "adapter" / "adapter_config.json"
    about = json.loads(file.read_text())
    file.write_text(
        json.dumps({**about, "megatron_config": {"a": 1}, "megatron_core": "planted.core"})
    )
    with pytest.raises(InputError, match="megatron_config names a module to import"):
        find(run)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("task", {"type": "planted:Task"}),
        ("search", {"problem": "planted.module"}),
        ("compare", {"arms": ["learned", "planted:Arm"]}),
        ("runtime", {"report_to": ["planted"]}),
    ],
)
def test_a_config_names_what_is_installed_and_no_path_to_code(
    section: str, values: dict[str, object], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "planted.py").write_text("raise SystemExit('run')")
    monkeypatch.syspath_prepend(str(run))
    _set(run, section, **values)
    said = command("retrain", run, "--output", run.parent / "made")
    assert said.status == 2 and "planted" in said.err, said.err


EVIL = """x`|"+open('mark', 'w').name+"'<b>"""


def test_names_in_a_card_stay_names(
    honest: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = shutil.copytree(honest / "model", tmp_path / f"""a");open("mark", "w")#{EVIL}""")
    rows = (
        (honest / "rows.csv").read_text().replace(",animal", ',"' + EVIL.replace('"', '""') + '"')
    )
    (tmp_path / "ro`ws.csv").write_text(rows)
    _set(run, "model", name=str(model))
    _set(run, "data", source=str(tmp_path / "ro`ws.csv"))
    said = command("retrain", run, "--output", tmp_path / "made")
    assert said.status == 0, said.err
    card = (tmp_path / "made" / "README.md").read_text()
    assert f"- base model: ``{model}``\n- data: ``{tmp_path / 'ro`ws.csv'}``, " in card
    code = card.split("```python\n")[1].split("\n```")[0]
    found: dict[str, Any] = {}
    with quiet_peft():
        exec(code.replace("path/to/this/folder", str(tmp_path / "made")), found)
    assert EVIL in found["labels"] and found["base"].name_or_path == str(model)
    assert not (tmp_path / "mark").exists()


def test_a_page_repeats_no_code_of_a_folder_but_what_loads(tmp_path: Path) -> None:
    card = "from peft import PeftModel\nmodel = PeftModel.from_pretrained({}, num_labels=2)\n"
    (tmp_path / "adapter").mkdir()
    for argument, shown in (
        ('"base"', True),
        ('os.system("x")', False),
        ("open('x', 'w')", False),
        ('"base", trust_remote_code=True', False),
        ('"base"); import os; (1', False),
        ("(", False),
    ):
        (tmp_path / "adapter" / "README.md").write_text(f"```python\n{card.format(argument)}```\n")
        (section,) = adapter(study_table(), tmp_path)
        assert bool(section.code) == shown, argument


def test_commands_and_summary_quote_the_name_of_a_study(tmp_path: Path) -> None:
    table = replace(study_table(), name="a; touch mark #|<b>\n# b", question=EVIL)
    (tmp_path / "study.yaml").touch()
    shell, script = (code.text for code in again(table, tmp_path / 'a"); b').code)
    assert shlex.split(shell)[-1] == f"name={table.name}-again"
    ast.parse(script)
    assert summary(table).startswith("# a; touch mark #\\|\\<b> # b\n\nx\\`\\|")


def test_tokens_of_the_environment_stand_in_no_file(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY"):
        monkeypatch.setenv(name, "hf_SecretOfMine")
    said = command("search", tiny.config, "--runs", tmp_path)
    missing = command("search", tiny.config, "model.name=nobody/nothing", "--runs", tmp_path)
    assert said.status == 0 and missing.status == 2
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    told = said.out + said.err + missing.out + missing.err
    assert b"SecretOfMine" not in written and "SecretOfMine" not in told


def test_a_script_in_the_place_of_data_does_not_run(tiny: Tiny, tmp_path: Path) -> None:
    script, trace = tmp_path / "rows" / "rows.py", tmp_path / "ran"
    script.parent.mkdir()
    script.write_text(f"open({str(trace)!r}, 'w').close()\n")
    for source in (script, script.parent):
        said = command("search", tiny.config, f"data.source={source}", "--runs", tmp_path / "runs")
        assert said.status == 2 and "allowed: " in said.err
    assert not trace.exists() and not (tmp_path / "runs").exists()
