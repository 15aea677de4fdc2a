"""SearchResult: what a search learned, on disk and in memory, and the ranks that follow."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from peft import LoraConfig
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.finetuning.start import Start
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.progress import Row
from autolora_meta.ranks.importance import Components
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import RankOptions, allocate
from autolora_meta.statistics.stability import Stability, stability

START = "start.safetensors"  # in `search`, beside the importance
_BLIND = 0.97  # three standard errors below 1 at 20 outer steps of 32 rows of two classes


@dataclass(frozen=True)
class SearchResult:
    """What a search learned, and all that later allocations need.

    Args:
        components: scores of every rank-1 component at the end of the search; of several searches,
            pooled.
        trajectory: gates at the start and after each outer step. (T, L, k)
        ranks_trajectory: ranks at the same times, under the options of `ranks` that the search ran
            with; of a search with frozen gates after each step. (T, L)
        rows: figures of each outer step.
        cost: forwards, backwards and double backwards that the search took.
        options: how `ranks` are allocated.
        seconds: wall time.
        task_type: PEFT's name for the task, for `lora_config`.
        architecture: `model_type` of a model of transformers, for `lora_config`.
        fingerprint: of the configuration that was searched (`program.fingerprint`).
        settled: the ranks had stood still for `search.patience` outer steps, and the search ended;
            of several searches, in each.
        members: of several searches that are pooled, each by itself; trajectories and rows above
            are then those of the first.
        importance_trajectory: each layer's importance, summed over its components, at the times of
            `ranks_trajectory`; singular values stand in for sensitivity, which is measured at the
            end. None in results of older versions. (T, L)
        blind_loss: the validation loss of the best answer that does not look at its input; None
            where the task does not say, and in results of older versions.
        start: the updates and the head that it trained, for a retraining to go on from; of several
            searches those of the first. None in results of older versions.
    """

    components: Components
    trajectory: Tensor
    ranks_trajectory: Tensor
    rows: list[Row]
    cost: Cost
    options: RankOptions = field(default_factory=RankOptions)
    seconds: float = 0.0
    task_type: str | None = None
    architecture: str | None = None
    fingerprint: str | None = None
    settled: bool = False
    members: tuple["SearchResult", ...] = ()
    importance_trajectory: Tensor | None = None
    blind_loss: float | None = None
    start: Start | None = None

    @classmethod
    def pooled(cls, members: Sequence["SearchResult"]) -> "SearchResult":
        """Several searches of the same layers as one, whose importance is pooled.

        Raises:
            InputError: there is none, or they are of different layers.
        """
        return replace(
            members[0],
            components=Components.pooled([member.components for member in members]),
            cost=sum((member.cost for member in members), Cost()),
            seconds=sum(member.seconds for member in members),
            settled=all(member.settled for member in members),
            members=tuple(members),
        )

    @property
    def searches(self) -> tuple["SearchResult", ...]:
        """Each search by itself: this one, or those that are pooled in it."""
        return self.members or (self,)

    @property
    def reached(self) -> float:
        """The mean validation loss of the second half of the outer steps; nan with frozen gates."""
        losses = [row["outer_loss"] for row in self.rows if "outer_loss" in row]
        return statistics.fmean(losses[len(losses) // 2 :]) if losses else math.nan

    @property
    def blind(self) -> bool:
        """The search has learned next to nothing: its ranks say little."""
        return self.blind_loss is not None and self.reached > _BLIND * self.blind_loss

    @property
    def stability(self) -> Stability:
        """How far the searches agree, and whether the ranks are distinguishable from noise.

        >>> result.stability.sentence()  # doctest: +SKIP
        """
        return stability([search.components for search in self.searches], self.options)

    @property
    def ranks(self) -> RankPattern:
        """The ranks under the options of the run."""
        return allocate(self.components, self.options)

    def under(self, options: RankOptions) -> "SearchResult":
        """The same search, whose `ranks` are allocated by other options."""
        members = tuple(member.under(options) for member in self.members)
        return replace(self, options=options, members=members)

    def allocate(self, **changes: Any) -> RankPattern:
        """Ranks under other options (`RankOptions`), without a new search.

        An option that one rule alone reads implies it: a budget that is given is kept to.

        Raises:
            InputError: an option is unknown or out of range, or the budget is too small.

        >>> result.allocate(budget="uniform:2", importance="contribution")  # doctest: +SKIP
        """
        return allocate(self.components, self.options.changed(**changes))

    def lora_config(self, **settings: Any) -> LoraConfig:
        """A stock PEFT configuration with the ranks learned."""
        known = {"task_type": self.task_type, "architecture": self.architecture}
        return lora_config(self.ranks, **{**known, **settings})

    def save(self, folder: str | Path) -> None:
        """Write ranks.json, alphas.safetensors, metrics.jsonl and search/ into `folder`.

        Of several searches that are pooled, each goes whole into `search/0`, `search/1` and so on.
        """
        folder = Path(folder)
        (folder / "search").mkdir(parents=True, exist_ok=True)
        self.ranks.save(folder / "ranks.json")
        self.components.save(folder / "search" / "importance.safetensors")
        if self.start is not None and not self.members:
            self.start.save(folder / "search" / START)
        courses = {"trajectory": self.trajectory, "ranks_trajectory": self.ranks_trajectory}
        if self.importance_trajectory is not None:
            courses["importance_trajectory"] = self.importance_trajectory
        save_file(
            {"gates": self.components.gates, **courses},
            folder / "alphas.safetensors",
            metadata={"names": json.dumps(self.components.names)},
        )
        lines = (json.dumps(row) + "\n" for row in self.rows)
        (folder / "metrics.jsonl").write_text("".join(lines), encoding="utf-8")
        about = {
            "cost": asdict(self.cost),
            "ranks": self.options.model_dump(mode="json"),
            "task_type": self.task_type,
            "architecture": self.architecture,
            "fingerprint": self.fingerprint,
            "settled": self.settled,
            "blind_loss": self.blind_loss,
            "members": len(self.members),
        }
        (folder / "search" / "search.json").write_text(json.dumps(about, indent=2) + "\n", "utf-8")
        for index, member in enumerate(self.members):
            member.save(folder / "search" / str(index))

    @classmethod
    def load(cls, folder: str | Path) -> "SearchResult":
        """Read what `save` wrote.

        Args:
            folder: of a run or a search; or of one run of a study, which has the search that it
                read below it.

        Raises:
            InputError: `folder` holds no finished search.
        """
        folder = Path(folder)
        if not (folder / "search").exists() and len(below := [*folder.glob("*/*/search")]) == 1:
            folder = below[0].parent
        try:
            about = json.loads((folder / "search" / "search.json").read_text(encoding="utf-8"))
            lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            courses = load_file(folder / "alphas.safetensors")
            each = [folder / "search" / str(index) for index in range(about["members"])]
            trained = (each[0] if each else folder) / "search" / START
            return cls(
                components=Components.load(folder / "search" / "importance.safetensors"),
                trajectory=courses["trajectory"],
                ranks_trajectory=courses["ranks_trajectory"],
                importance_trajectory=courses.get("importance_trajectory"),
                rows=[json.loads(line) for line in lines],
                cost=Cost(**about["cost"]),
                options=RankOptions.model_validate(about["ranks"]),
                task_type=about["task_type"],
                architecture=about.get("architecture"),
                fingerprint=about["fingerprint"],
                settled=about["settled"],
                blind_loss=about.get("blind_loss"),
                members=tuple(cls.load(place) for place in each),
                start=Start.load(trained) if trained.is_file() else None,
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            missing = isinstance(error, FileNotFoundError) and Path(error.filename).name
            reason = f"{missing} is missing" if missing else f"{type(error).__name__}: {error}"
            raise InputError(
                f"{folder} holds no finished search ({reason}); give a folder that "
                "`autolora-meta run` or `search` has written"
            ) from None
