"""SearchResult: what a search learned, in memory and on disk, and the ranks that follow."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, NotRequired

import torch
from peft import LoraConfig
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from typing_extensions import TypedDict

from autolora_meta.config.fingerprint import refuse_other_config
from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.finetuning.start import Start
from autolora_meta.foundation import manifest
from autolora_meta.foundation.cost import Cost, StoredCost
from autolora_meta.foundation.json_files import AS_IT_STANDS, Count, Figure, read_json, read_rows
from autolora_meta.foundation.places import replace_bytes, replace_text
from autolora_meta.foundation.progress import Row
from autolora_meta.foundation.reading import refuse_special
from autolora_meta.foundation.version import __version__
from autolora_meta.ranks.components import Components
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import RankOptions, allocate
from autolora_meta.statistics.stability import Stability, stability

START = "start.safetensors"  # in `search`, beside the importance
_AGAIN = "search again"
_FILES = (
    "ranks.json",
    "alphas.safetensors",
    "metrics.jsonl",
    "search/importance.safetensors",
    "search/search.json",
)
_BLIND = 0.97  # three standard errors below 1 at 20 outer steps of 32 rows of two classes


class _Figures(TypedDict):
    """A line of metrics.jsonl: its place, and figures, which need not be finite."""

    step: Count
    outer_step: NotRequired[Count]
    inner_loss: NotRequired[float | None]
    outer_loss: NotRequired[float]
    direct_norm: NotRequired[float | None]
    implicit_norm: NotRequired[float | None]
    iterations: NotRequired[Count | None]
    stopped: NotRequired[str]


_Row = Annotated[_Figures, AS_IT_STANDS]


class _Stored(TypedDict):
    """What search.json holds."""

    cost: StoredCost
    ranks: dict[str, Any]  # read as `RankOptions`
    task_type: str | None
    architecture: NotRequired[str | None]
    fingerprint: str | None
    version: NotRequired[str]
    settled: bool
    blind_loss: NotRequired[Figure | None]
    members: Count


@dataclass(frozen=True)
class SearchResult:
    """What a search learned, and all that later allocations need.

    Args:
        components: at the end of the search; those of several searches are pooled.
        trajectory: gates at the start and after each outer step. (T, L, k)
        ranks_trajectory: ranks at the same times, under the options that the search ran with; with
            frozen gates, after each step. (T, L)
        rows: figures of each outer step.
        cost: forward, backward and double backward passes of the search.
        options: how `ranks` are allocated.
        seconds: wall time.
        task_type: PEFT's name for the task, for `lora_config`.
        architecture: `model_type` of a transformers model, for `lora_config`.
        fingerprint: of the configuration (`config.fingerprint`).
        settled: whether the search ended early, its ranks unchanged for `search.patience` outer
            steps; of pooled searches, whether each did.
        members: the pooled searches, one by one; trajectories and rows are then those of the first.
        importance_trajectory: importance of each layer, summed over its components, at the times of
            `ranks_trajectory`; with singular values in place of sensitivity, which is measured at
            the end. None in results of older versions. (T, L)
        blind_loss: validation loss of the best answer that ignores its input; None if the task does
            not say, and in results of older versions.
        start: updates and head that the search trained, for a retraining to go on from; of pooled
            searches, those of the first. None in results of older versions.
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
        """Pool the importance of several searches of the same layers.

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
        """The pooled searches, or this one alone."""
        return self.members or (self,)

    @property
    def reached(self) -> float:
        """Mean validation loss over the second half of the outer steps; nan with frozen gates."""
        losses = [row["outer_loss"] for row in self.rows if "outer_loss" in row]
        return statistics.fmean(losses[len(losses) // 2 :]) if losses else math.nan

    @property
    def blind(self) -> bool:
        """Whether the search has learned next to nothing, so that its ranks say little."""
        return self.blind_loss is not None and self.reached > _BLIND * self.blind_loss

    @property
    def stability(self) -> Stability:
        """Agreement of the searches: whether the ranks are distinguishable from noise.

        >>> result.stability.sentence()  # doctest: +SKIP
        """
        return stability([search.components for search in self.searches], self.options)

    @property
    def ranks(self) -> RankPattern:
        """Ranks under the options of the run."""
        return allocate(self.components, self.options)

    def with_spectrum(self, plain: "SearchResult") -> "SearchResult":
        """Return the same search with the spectrum that a plain search of the same layers trained.

        Args:
            plain: with as many pooled searches. Its cost is not added.
        """
        if not self.members:
            spectrum = plain.components.singular
            return replace(self, components=replace(self.components, spectrum=spectrum))
        pairs = zip(self.members, plain.searches, strict=True)
        members = tuple(one.with_spectrum(other) for one, other in pairs)
        pooled = Components.pooled([one.components for one in members])
        return replace(self, components=pooled, members=members)

    def after(self, plain: "SearchResult") -> "SearchResult":
        """Return the same search with the cost of a plain one that ran for it."""
        seconds = self.seconds + plain.seconds
        return replace(self, cost=self.cost + plain.cost, seconds=seconds)

    def under(self, options: RankOptions) -> "SearchResult":
        """Return the same search with other options for `ranks`."""
        members = tuple(member.under(options) for member in self.members)
        return replace(self, options=options, members=members)

    def allocate(self, **changes: Any) -> RankPattern:
        """Return ranks under other options (`RankOptions`), without a new search.

        An option that only one rule reads implies that rule: a given budget is kept.

        Raises:
            InputError: an option is unknown or out of range, or the budget is too small.

        >>> result.allocate(budget="uniform:2", importance="contribution")  # doctest: +SKIP
        """
        return allocate(self.components, self.options.changed(**changes))

    def lora_config(self, **settings: Any) -> LoraConfig:
        """Return a stock PEFT configuration with the learned ranks."""
        known = {"task_type": self.task_type, "architecture": self.architecture}
        return lora_config(self.ranks, **{**known, **settings})

    def save(self, folder: str | Path) -> None:
        """Write ranks.json, alphas.safetensors, metrics.jsonl and search/ into `folder`.

        The last file is search.json, so that a search that has it is whole; then the manifest is
        written, by which `load` finds damage. Pooled searches go into `search/0`, `search/1` and so
        on.
        """
        folder = Path(folder)
        (folder / "search").mkdir(parents=True, exist_ok=True)
        with manifest.sealing(folder, *_FILES, f"search/{START}"):
            self._write(folder)

    def _write(self, folder: Path) -> None:
        self.ranks.save(folder / "ranks.json")
        self.components.save(folder / "search" / "importance.safetensors")
        if self.start is not None and not self.members:
            self.start.save(folder / "search" / START)
        courses = {"trajectory": self.trajectory, "ranks_trajectory": self.ranks_trajectory}
        if self.importance_trajectory is not None:
            courses["importance_trajectory"] = self.importance_trajectory
        names = {"names": json.dumps(self.components.names)}
        alphas = save({"gates": self.components.gates, **courses}, metadata=names)
        replace_bytes(folder / "alphas.safetensors", alphas)
        lines = (json.dumps(row) + "\n" for row in self.rows)
        replace_text(folder / "metrics.jsonl", "".join(lines))
        for index, member in enumerate(self.members):
            member.save(folder / "search" / str(index))
        about = {
            "cost": asdict(self.cost),
            "ranks": self.options.model_dump(mode="json"),
            "task_type": self.task_type,
            "architecture": self.architecture,
            "fingerprint": self.fingerprint,
            "version": __version__,
            "settled": self.settled,
            "blind_loss": self.blind_loss,
            "members": len(self.members),
        }
        replace_text(folder / "search" / "search.json", json.dumps(about, indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> "SearchResult":
        """Read what `save` wrote.

        Args:
            folder: of a run or a search, or of one run of a study.

        Raises:
            InputError: `folder` holds no finished search, a file of it is damaged, or its files are
                not of one search.
        """
        folder = Path(folder)
        if not (folder / "search").exists():
            below = [place.parent for place in folder.glob("*/*/search")]
            below = [one for one in below if one.name != "plain"] or below  # which holds its part
            folder = below[0] if len(below) == 1 else folder
        try:
            # ranks.json is not read: the ranks follow from the components.
            started = (folder / "search" / START).is_file()  # a copy may lack it
            read = [*_FILES[1:], *([f"search/{START}"] if started else [])]
            manifest.refuse_damaged(folder, _AGAIN, *read)
            about = read_json(folder / "search" / "search.json", _Stored, again=_AGAIN)
            refuse_other_config(folder, about["fingerprint"], about.get("version"))
            refuse_special(folder / "alphas.safetensors")
            courses = load_file(folder / "alphas.safetensors")
            components = Components.load(folder / "search" / "importance.safetensors")
            if not torch.equal(courses["gates"], components.gates):
                raise InputError("alphas.safetensors and search/importance.safetensors differ")
            each = (folder / "search" / str(index) for index in range(about["members"]))
            first = folder / "search" / "0" if about["members"] else folder
            trained = first / "search" / START
            return cls(
                components=components,
                trajectory=courses["trajectory"],
                ranks_trajectory=courses["ranks_trajectory"],
                importance_trajectory=courses.get("importance_trajectory"),
                rows=read_rows(folder / "metrics.jsonl", _Row, again=_AGAIN),
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
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            missing = isinstance(error, FileNotFoundError) and Path(error.filename).name
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            reason = f"{missing} is missing" if missing else f"{kind}{error}"
            raise InputError(
                f"{folder} holds no finished search ({reason}); give a folder that "
                "`autolora-meta run` or `search` has written"
            ) from None
