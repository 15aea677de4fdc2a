"""SearchResult: what a search learned, on disk and in memory, and the ranks that follow."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from peft import LoraConfig
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from autolora_meta.bilevel.engine import Row
from autolora_meta.errors import InputError
from autolora_meta.hypergradients.products import Cost
from autolora_meta.options import read
from autolora_meta.ranks.export import lora_config
from autolora_meta.ranks.importance import Components
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import RankOptions, allocate


@dataclass(frozen=True)
class SearchResult:
    """What a search learned, and all that later allocations need.

    Args:
        components: scores of every rank-1 component at the end of the search.
        trajectory: gates at the start and after each outer step. (T, L, k)
        rows: figures of each outer step.
        cost: forwards, backwards and double backwards that the search took.
        options: how `ranks` are allocated.
        seconds: wall time.
        task_type: PEFT's name for the task, for `lora_config`.
        fingerprint: of the configuration that was searched (`program.fingerprint`).
    """

    components: Components
    trajectory: Tensor
    rows: list[Row]
    cost: Cost
    options: RankOptions = field(default_factory=RankOptions)
    seconds: float = 0.0
    task_type: str | None = None
    fingerprint: str | None = None

    @property
    def ranks(self) -> RankPattern:
        """The ranks under the options of the run."""
        return allocate(self.components, self.options)

    def allocate(self, **changes: Any) -> RankPattern:
        """Ranks under other options (`RankOptions`), without a new search.

        A budget that is given is kept to: it implies the rule `budget`.

        Raises:
            InputError: an option is unknown or out of range, or the budget is too small.

        >>> result.allocate(budget="uniform:2", importance="contribution")  # doctest: +SKIP
        """
        implied = {"rule": "budget"} if "budget" in changes else {}
        options = self.options.model_dump() | implied | changes
        return allocate(self.components, read(RankOptions, options, "the options of `ranks`"))

    def lora_config(self, **settings: Any) -> LoraConfig:
        """A stock PEFT configuration with the ranks learned."""
        return lora_config(self.ranks, **{"task_type": self.task_type, **settings})

    def save(self, folder: str | Path) -> None:
        """Write ranks.json, alphas.safetensors, metrics.jsonl and search/ into `folder`."""
        folder = Path(folder)
        (folder / "search").mkdir(parents=True, exist_ok=True)
        self.ranks.save(folder / "ranks.json")
        self.components.save(folder / "search" / "importance.safetensors")
        save_file(
            {"gates": self.components.gates, "trajectory": self.trajectory},
            folder / "alphas.safetensors",
            metadata={"names": json.dumps(self.components.names)},
        )
        lines = (json.dumps(row) + "\n" for row in self.rows)
        (folder / "metrics.jsonl").write_text("".join(lines), encoding="utf-8")
        about = {
            "cost": asdict(self.cost),
            "ranks": self.options.model_dump(mode="json"),
            "task_type": self.task_type,
            "fingerprint": self.fingerprint,
        }
        (folder / "search" / "search.json").write_text(json.dumps(about, indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "SearchResult":
        """Read what `save` wrote.

        Raises:
            InputError: `folder` holds no finished search.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / "search" / "search.json").read_text(encoding="utf-8"))
            lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            return cls(
                components=Components.load(folder / "search" / "importance.safetensors"),
                trajectory=load_file(folder / "alphas.safetensors")["trajectory"],
                rows=[json.loads(line) for line in lines],
                cost=Cost(**about["cost"]),
                options=RankOptions.model_validate(about["ranks"]),
                task_type=about["task_type"],
                fingerprint=about["fingerprint"],
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            missing = isinstance(error, FileNotFoundError) and Path(error.filename).name
            reason = f"{missing} is missing" if missing else f"{type(error).__name__}: {error}"
            raise InputError(
                f"{folder} holds no finished search ({reason}); give a folder that "
                "`autolora-meta run` or `search` has written"
            ) from None
