"""What a study finds out before anything long begins: rows, classes, and what cannot work."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest
from autolora_meta.foundation.json_files import Count, read_json
from autolora_meta.pipeline.check import check
from autolora_meta.pipeline.prepare import refuse_unusable
from autolora_meta.studies.plan import Planned

ROWS = "rows.json"  # in the folder of the study


@dataclass(frozen=True)
class RowsRead:
    """The rows that the first run of a study reads.

    Args:
        seed: of that run, which decides the split.
        said: what was chosen, dropped and cut.
        classes: rows of each class in each split, or words with each tag.
    """

    seed: int
    said: tuple[str, ...]
    classes: Mapping[str, Mapping[str, Count]]

    def to_json(self) -> str:
        """Return the content of `rows.json`."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def rows_read(folder: Path) -> RowsRead | None:
    """Return the rows that the first run of a study read; None where that is not recorded.

    Raises:
        InputError: what was recorded is damaged.
    """
    manifest.refuse_damaged(folder, manifest.AS_IT_IS, ROWS)
    if not (file := folder / ROWS).is_file():
        return None
    return read_json(file, RowsRead, again="remove it: the page is then without these rows")


def check_point(config: RunConfig, say: Callable[[str], None]) -> RowsRead:
    """Refuse a study of one point that cannot work; data and model are loaded.

    Args:
        config: of the point.
        say: told which rows, layers and budget there are.

    Raises:
        InputError: it cannot.
    """
    found = check(config, tested=True)
    say(found.sentences(config))
    return RowsRead(config.seed, found.said, found.classes)


def check_runs(runs: Sequence[Planned], say: Callable[[str], None]) -> RowsRead | None:
    """Refuse runs none of which could use its data, task or model; no model is loaded.

    Where some could, the others fail by themselves.

    Args:
        runs: of a study.
        say: told what the first that could reads.

    Returns:
        The rows of that one; None where a task of a person's own broke.

    Raises:
        InputError: what is wrong with the first.
    """
    wrong: list[InputError] = []
    for run in _one_of_each(runs):
        said: list[str] = []
        try:
            classes = refuse_unusable(run.config, run.seed, said.append)
            say("\n".join([f"rows of the first run, seed {run.seed}:", *said]))
            return RowsRead(run.seed, tuple(said), classes)
        except InputError as error:
            wrong.append(error)
        except Exception:  # of a person's own task, say: it belongs to the runs that meet it
            return None
    if wrong:
        raise wrong[0]
    return None


def _one_of_each(runs: Sequence[Planned]) -> Iterator[Planned]:
    """The first run of each model, data, task, metrics and seed, which decides the split."""
    known: set[tuple[int, str]] = set()
    for run in runs:
        about = run.config.model_dump_json(include={"model", "data", "task", "compare"})
        if (run.seed, about) not in known:
            known.add((run.seed, about))
            yield run
