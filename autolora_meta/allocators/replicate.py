"""Replicate: one seed of a run, and what its arms share. Allocator: a way to choose ranks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from autolora_meta.bilevel.options import Selection
from autolora_meta.config.fingerprint import fingerprint
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import layer_costs
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.start import Start
from autolora_meta.finetuning.tasks import refuse_lacking
from autolora_meta.foundation import plugins
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.device import begin, threads
from autolora_meta.foundation.json_files import begin_rows
from autolora_meta.foundation.progress import Progress, Row
from autolora_meta.pipeline.memory import naming_what_to_lower
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.program import own_ranks, program_of
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.search import search_alone
from autolora_meta.ranks.budget import Budget
from autolora_meta.ranks.pattern import RankPattern


class Replicate:
    """One seed: its own split, search, shuffle and retraining.

    Args:
        config: the run's configuration.
        seed: of this replicate; `config.seed` is that of the first.
        folder: where finished searches are kept and found again; None: in memory only.
        checkpoints: where searches are saved while they run, each below its selection; None: they
            are not.
        progress: told after each step of long work.
        prepared: model and rows of this seed, if already loaded; they are left unchanged.
        plain: folder of a plain search of this seed, where that is not in `folder`.

    Attributes:
        cost: passes of allocators on it, without those of searches, whose results hold them.
    """

    def __init__(
        self,
        config: RunConfig,
        seed: int,
        *,
        folder: Path | None = None,
        checkpoints: Path | None = None,
        progress: Progress | None = None,
        prepared: Prepared | None = None,
        plain: Path | None = None,
    ) -> None:
        self.config, self.seed, self.folder, self.progress = config, seed, folder, progress
        self.checkpoints, self._given = checkpoints, prepared
        self.cost = Cost()
        self._searches: dict[Selection, SearchResult] = {}
        self._plain = plain

    @cached_property
    def prepared(self) -> Prepared:
        """Base model with its head, tokenizer, and encoded rows of this seed's split."""
        begin(self.config.runtime.resolved_device)  # before an allocator seeds what it draws
        prepared = self._given or prepare(self.config, self.seed)
        compared = self.config.compare.compared(prepared.task.compared)
        refuse_lacking(prepared.task, compared)
        return prepared

    @cached_property
    def layers(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Names and costs of the layers that may get a rank."""
        names = program_of(self.config, self.prepared, self.seed).targets().names
        return names, layer_costs(self.prepared.model, names)

    @property
    def budget(self) -> Budget:
        """What every arm may spend: the run's budget, or what the learned ranks cost.

        Raises:
            InputError: the rule gives every layer rank 0, so there is nothing to spend.
        """
        rule = self.config.ranks.rule
        if rule == "budget":
            return self.config.ranks.budget
        spent = self.search("learned").ranks.parameters
        if not spent:
            raise InputError(
                f"the rule {rule} gives every layer rank 0 (seed {self.seed}), so no arm has "
                "anything to spend; lower ranks.threshold, set ranks.min_rank to 1, or take the "
                "rule budget"
            )
        return Budget(spent)

    def search(self, selection: Selection) -> SearchResult:
        """Return the search of this seed as `ranks` reads it, and run it if it has not run yet.

        Where `ranks.importance` reads a plain search, too, its spectrum is put beside the
        components.

        Args:
            selection: of the gates: learned, frozen, random or plain.

        Raises:
            InputError: the folder holds the search of another configuration.
        """
        ranks, result = self.config.ranks, self.searched(selection)
        if selection == "plain":
            ranks = own_ranks(ranks)
        elif ranks.read_plain and result.components.spectrum is None:
            result = result.with_spectrum(self.searched("plain"))
        if result.options != ranks:  # other ranks need no other search
            result = self._searches[selection] = result.under(ranks)
            if (place := self._place(selection)) is not None:
                result.save(place)
        return result

    def searched(self, selection: Selection) -> SearchResult:
        """Return the search of this seed as it ran, and run it if it has not run yet.

        Args:
            selection: of the gates: learned, frozen, random or plain.

        Raises:
            InputError: the folder holds the search of another configuration.
        """
        if selection not in self._searches:
            self._searches[selection] = self._found(selection) or self._searched(selection)
        return self._searches[selection]

    def _place(self, selection: Selection) -> Path | None:
        folder = self._plain if selection == "plain" and self._plain else self.folder
        return folder / str(self.seed) / selection if folder else None

    def _found(self, selection: Selection) -> SearchResult | None:
        place = self._place(selection)
        if place is None or not (place / "search" / "search.json").is_file():
            return None
        result = SearchResult.load(place)
        if result.fingerprint != fingerprint(self.config, self.seed, selection):
            raise InputError(
                f"{place} holds a search of another configuration (model, data, task, lora, "
                "search, version and, with search.patience, ranks decide which); give another "
                "folder"
            )
        return result

    def _searched(self, selection: Selection) -> SearchResult:
        place = self._place(selection)
        config = self.config
        before = config.ranks.read_plain and selection != "plain"
        plain = self.searched("plain") if before else None
        with threads(config.runtime.threads), naming_what_to_lower(config, "search"):
            result = search_alone(
                config,
                self.seed,
                selection,
                prepared=self.prepared,
                plain=plain,
                progress=self.progress,
                observe=_rows_of(place),
                checkpoints=self.checkpoints and self.checkpoints / selection,
            )
        if place is not None:
            result.save(place)
        return result


def _rows_of(place: Path | None) -> Callable[[Row], None]:
    """Return a function that writes rows to metrics.jsonl at once; a killed search leaves them."""
    if place is None:
        return lambda row: None
    place.mkdir(parents=True, exist_ok=True)
    return begin_rows(place / "metrics.jsonl")


@dataclass(frozen=True)
class Allocator:
    """A way to choose ranks.

    Args:
        allocate: replicate -> ranks, at the replicate's budget.
        summary: one line for people.
        source: paper or reason.
        searches: searches that it reads, so that they can run first, side by side (`reads`). A
            study runs an arm without any once for all values of `ranks.importance` and
            `ranks.per`.
        work: configuration -> what else it runs, in plain steps.
        extra_steps: configuration -> retraining steps beyond those of the configuration.
        static: it trains nothing and does not read the section `search`, so that a study runs it
            once for all values of that section.
        by_metric: it chooses by the primary metric (`compare.primary`).
        scores: replicate -> a score for each component, (L, k), if ranks at every budget follow
            from these alone (`scored`). A study computes them once for all budgets. They do not
            depend on the sections `ranks` and `retrain`.
        begins: replicate -> ranks, and what was trained on the way to them. The retraining goes on
            from that, whatever `retrain.start` says. None: the arm gives ranks alone.
    """

    allocate: Callable[[Replicate], RankPattern]
    summary: str
    source: str
    searches: tuple[Selection, ...] = ()
    work: Callable[[RunConfig], float] = lambda config: 0.0
    extra_steps: Callable[[RunConfig], int] = lambda config: 0
    scores: Callable[[Replicate], Tensor] | None = None
    static: bool = False
    by_metric: bool = False
    begins: Callable[[Replicate], tuple[RankPattern, Start]] | None = None

    def reads(self, config: RunConfig) -> tuple[Selection, ...]:
        """Return the searches that it reads under a configuration.

        Where `ranks.importance` reads a plain search, too, that one is among them. Frozen gates say
        nothing beside it, so it takes their place.
        """
        if not self.searches or not config.ranks.read_plain:
            return self.searches
        own: list[Selection] = [each for each in self.searches if each not in ("frozen", "plain")]
        return (*own, "plain")

    def retrain_steps(self, config: RunConfig, spent: float = 0.0) -> int:
        """Return the number of steps that its ranks are retrained for.

        Args:
            config: of the run.
            spent: plain steps that choosing the ranks took, without searches; counts only with
                `compare.equal_cost`.
        """
        extra = self.extra_steps(config)
        if config.compare.equal_cost:
            left = config.learned_work - spent
            own = sum(map(config.search.total_work, self.reads(config)))
            extra = max(extra, int(left - own))
        return config.retrain.steps + extra

    def total_work(self, config: RunConfig) -> float:
        """Return what it runs beside its searches, retraining included, in plain steps."""
        own = self.work(config)
        return own + self.retrain_steps(config, own)


def allocator(name: str) -> Allocator:
    """Return the allocator registered as `name`, or the member of a family, such as `pattern:3`.

    Raises:
        InputError: there is none.
    """
    return plugins.allocator(name)
