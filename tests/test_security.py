"""What comes with a folder is data: it runs no code and consents to none."""

import shutil
from pathlib import Path

import pytest
import yaml

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.exporting.export import export
from autolora_meta.exporting.source import find
from tests.end_to_end import Tiny, command


@pytest.fixture
def planted(tiny: Tiny, tmp_path: Path) -> Path:
    """A run whose folder consents to code, and whose model brings some that leaves a trace."""
    model, run = tmp_path / "model", tmp_path / "run"
    shutil.copytree(tiny.model, model)
    shutil.copytree(tiny.run, run)
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
