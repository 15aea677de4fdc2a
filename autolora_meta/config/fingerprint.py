"""Fingerprint: a hash of all that a search depends on, by which a finished one is known again."""

import hashlib
import json
from pathlib import Path
from typing import get_args

from autolora_meta.bilevel.options import Selection
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest
from autolora_meta.foundation.options import hashed
from autolora_meta.foundation.version import __version__


def fingerprint(config: RunConfig, seed: int, selection: str) -> str:
    """Return a hash of all that a search depends on, to recognise a finished one.

    Args:
        config: of the run. Retraining and arms do not count; ranks count only if `search.patience`
            reads them.
        seed: of the search.
        selection: of the gates; or the name of an arm that trains by the same sections.
    """
    read = {"model", "data", "task", "lora", "search"}
    read |= {"ranks"} if config.search.patience is not None else set()
    as_read = config.model_copy(update={"search": config.search_as_read})
    sections = hashed(as_read, read)
    about = {**sections, "seed": seed, "selection": selection, "version": __version__}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def refuse_other_config(folder: Path, held: str | None, version: str | None) -> None:
    """Refuse a search that is not of the configuration that stands with it.

    A folder without a manifest is read as it is.

    Args:
        folder: of a search, with config.yaml; or `SEED/SELECTION` in a folder with that file.
        held: fingerprint of the search; None: not known.
        version: of this package that it ran with; fingerprints of others cannot be compared.

    Raises:
        InputError: it is of another configuration.
    """
    if held is None or version != __version__ or not manifest.names(folder):
        return
    places: list[tuple[Path, int | None, str]] = [(folder, None, "learned")]
    if folder.parent.name.isdigit() and folder.name in get_args(Selection):
        places.append((folder.parent.parent, int(folder.parent.name), folder.name))
    for place, seed, selection in places:
        if not (place / "config.yaml").is_file():
            continue
        try:
            config = RunConfig.load(place / "config.yaml")
        except InputError:  # whoever reads it says what is wrong
            continue
        if fingerprint(config, config.seed if seed is None else seed, selection) != held:
            raise InputError(
                f"{place / 'config.yaml'} and the search in {folder} are not of one search: two "
                "have written here, or one of the files was changed; put back what stood there, or "
                "search again"
            )
