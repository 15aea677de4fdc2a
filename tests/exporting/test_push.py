"""What goes to the hub: an adapter that others can load, with a card that says so."""

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import yaml

from autolora_meta.exporting.stored import read_adapter
from tests.end_to_end import command
from tests.exporting.adapters import Adapter

BASE = "someone/tiny-bert"


class Hub:
    """Stands in for huggingface_hub.HfApi; keeps what is uploaded."""

    place: Path
    fails: Exception | None = None

    def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> str:
        if self.fails:
            raise self.fails
        assert exist_ok
        (self.place / "private").write_text(str(private))
        return f"https://hub.example/{repo}"

    def upload_folder(
        self, *, repo_id: str, folder_path: str, ignore_patterns: list[str], **_: Any
    ) -> None:
        ignored = shutil.ignore_patterns(*ignore_patterns)
        shutil.copytree(folder_path, self.place / repo_id, ignore=ignored)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    monkeypatch.setattr(Hub, "place", tmp_path / "hub", raising=False)
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    (tmp_path / "hub").mkdir()
    return Hub


def card(place: Path) -> tuple[dict[str, Any], str]:
    _, head, body = (place / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(head), body


def test_an_adapter_goes_up_with_a_card_and_the_public_name_of_its_base(
    bert: Adapter, hub: type[Hub]
) -> None:
    done = command("export", bert[1], "--push", "me/ranks", "--base", BASE)
    assert done.status == 0, done.err
    assert "pushed to https://hub.example/me/ranks" in done.out
    place = hub.place / "me" / "ranks"
    config = json.loads((place / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == BASE
    assert dict(read_adapter(place).pattern) == dict(read_adapter(bert[1]).pattern)
    head, body = card(place)
    assert head["base_model"] == BASE and head["library_name"] == "peft"
    assert 'PeftModel.from_pretrained(base, "me/ranks")' in body and "total rank 6" in body
    assert str(bert[0]) not in (place / "README.md").read_text()
    assert not (place / "manifest-sha256.txt").exists()
    assert (hub.place / "private").read_text() == "False"


def test_the_card_of_a_run_stays_its_own(bert: Adapter, hub: type[Hub], tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(bert[1], adapter)
    front = {"base_model": str(bert[0]), "tags": ["lora", "autolora-meta"], "license": "mit"}
    text = f'Trained on `{bert[0]}`: from_pretrained(base, "path/to/this/folder")\n'
    (adapter / "README.md").write_text(f"---\n{yaml.safe_dump(front)}---\n{text}")
    assert command("export", adapter, "--push", "me/x", "--private", "--base", BASE).status == 0
    head, body = card(hub.place / "me" / "x")
    assert head == {**front, "base_model": BASE}
    assert body == f'Trained on `{BASE}`: from_pretrained(base, "me/x")\n'
    assert (hub.place / "private").read_text() == "True"


def test_a_merged_model_needs_no_name_of_a_base(bert: Adapter, hub: type[Hub]) -> None:
    done = command("export", bert[1], "--to", "merged", "--push", "me/whole")
    assert done.status == 0, done.err
    assert (hub.place / "me" / "whole" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--push", "me/x"], "which others cannot load; name the model that it is on the hub with"),
        (
            ["--push", "mine", "--base", BASE],
            "--push mine is not the name of a repository on the hub",
        ),
        (["--push", "me/x", "--to", "axolotl", "--base", BASE], "--to axolotl writes a file"),
        (["--push", "me/x", "-o", "y", "--base", BASE], "give one of them"),
    ],
)
def test_what_cannot_go_up(
    bert: Adapter, hub: type[Hub], arguments: list[str], message: str
) -> None:
    done = command("export", bert[1], *arguments)
    assert done.status == 2 and message in done.err
    assert list(hub.place.iterdir()) == []


def test_what_the_hub_says_is_passed_on(
    bert: Adapter, hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "fails", OSError("401 Unauthorized\nmore"))
    done = command("export", bert[1], "--push", "me/x", "--base", BASE)
    assert done.status == 2
    assert "me/x cannot be written to: 401 Unauthorized; log in with `hf auth login`" in done.err
