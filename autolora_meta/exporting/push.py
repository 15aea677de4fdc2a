"""Uploading an adapter to the hub, with its model card."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from autolora_meta.errors import InputError
from autolora_meta.exporting.forms import name_base
from autolora_meta.exporting.source import Source
from autolora_meta.finetuning.hub import could_be_id
from autolora_meta.foundation import manifest

CARD = "README.md"
_HERE = "path/to/this/folder"  # what a card calls the place of its adapter


def refuse_push(repo: str, to: str | None, source: Source) -> None:
    """Refuse an upload that others could not use, before anything is written.

    Args:
        repo: where to, `user/name`.
        to: the form; None: the adapter as it is.
        source: what is uploaded.

    Raises:
        InputError: `repo` is no id, the form is a file, there is no adapter, or it names its base
            by a path on this machine.
    """
    if repo.count("/") != 1 or not could_be_id(repo):
        raise InputError(
            f"--push {repo} is not the name of a repository on the hub; give user/name"
        )
    if to in ("axolotl", "trainer"):
        raise InputError(
            f"--push uploads an adapter or a model, and --to {to} writes a file; leave --to out, "
            "or give peft, padded, start or merged"
        )
    if to is None and source.adapter is None:
        raise InputError(
            f"{source.folder} holds ranks and no adapter to push; train one (autolora-meta retrain "
            f"{source.folder} --output DIR), or push an untrained one with --to start"
        )
    if to != "merged" and (source.name is None or not _public(source.name)):
        raise InputError(
            f"the adapter names its base by '{source.name}', which others cannot load; name the "
            "model that it is on the hub with --base user/name"
        )


def push(
    folder: Path,
    repo: str,
    *,
    private: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> str:
    """Upload a folder to a repository of models, which is made if there is none.

    Args:
        folder: of an adapter or a model.
        repo: `user/name`.
        private: whether a new repository is private.
        say: told what goes where before it goes.

    Returns:
        The address of the repository.

    Raises:
        InputError: the hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi

    names = sorted(path.name for path in folder.iterdir() if path.name != manifest.FILE)
    say(f"uploading {', '.join(names)} to {repo}")
    api = HfApi()
    try:
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=str(folder),
            ignore_patterns=[manifest.FILE],
            commit_message="Upload by autolora-meta",
        )
    except Exception as error:  # whatever requests, the hub and its file transfer raise
        words = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{repo} cannot be written to: {words}; log in with `hf auth login` (a token that may "
            "write), and see that HF_HUB_OFFLINE is not set"
        ) from None
    return str(address)


def copy_to_push(source: Source, place: Path) -> None:
    """Copy the adapter of a source to `place`, with the name of its base as `--base` gave it."""
    assert source.adapter is not None
    shutil.copytree(source.adapter, place)
    name_base(source, place)


def fit_card(place: Path, repo: str, base: str | None, otherwise: str) -> None:
    """Let the card in `place` name the repository and the base; without one, write `otherwise`.

    Args:
        place: the folder that is uploaded.
        repo: where to, `user/name`.
        base: public name of the base model; None: the card's own.
        otherwise: a card without front matter, for a folder without one of ours.
    """
    path = place / CARD
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    head, body = _parted(text)
    if "autolora-meta" not in (head.get("tags") or ()):  # PEFT leaves a form to fill in
        head, body = {"library_name": "peft", "tags": ["lora", "autolora-meta"]}, otherwise
    if base is not None:
        if (old := head.get("base_model")) not in (None, base):
            body = body.replace(str(old), base)
        head["base_model"] = base
    body = body.replace(_HERE, repo)
    front = yaml.safe_dump(head, sort_keys=False)
    path.write_text(f"---\n{front}---\n{body}", encoding="utf-8")


def _parted(text: str) -> tuple[dict[str, Any], str]:
    """Return the front matter of a card, and the rest."""
    parts = text.split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        return {}, text
    try:
        head = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return {}, text
    return (head if isinstance(head, dict) else {}), parts[2]


def _public(name: str) -> bool:
    return could_be_id(name) and not Path(name).exists()
