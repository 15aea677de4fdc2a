"""Search together: several replicates in; the result of each out, from one pass over the base."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from autolora_meta.bilevel.options import Selection
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import Apart, NotFinite, WorkFailed
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.shared_base import same_base
from autolora_meta.foundation import processes
from autolora_meta.foundation.checkpoints import Checkpoints
from autolora_meta.foundation.device import threads
from autolora_meta.foundation.halving import in_one_or_halves
from autolora_meta.foundation.progress import Progress, Row, Say, Share, Silent
from autolora_meta.pipeline.memory import failed, naming_what_to_lower
from autolora_meta.pipeline.program import program_of, search_seeds
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.together import run_together, why_apart

_LOG = logging.getLogger("autolora_meta")
MOST = 128  # adapters in one pass of an accelerator: more of them gain nothing


def shares(config: RunConfig, selection: Selection) -> int:
    """Return how many searches may share a pass, as `runtime.stack` says: 1 where none can.

    auto: as many as there are on an accelerator; on a CPU one, since nothing is measured here.
    """
    stack = config.runtime.stack
    if (
        stack == "off"
        or processes.launched() > 1
        or why_apart(config.search, selection) is not None
    ):
        return 1
    if stack == "auto":
        return 1 if config.runtime.resolved_device == "cpu" else MOST
    return stack


class Replica(NamedTuple):
    """One replicate among those that are searched together.

    Args:
        config: of its run.
        seed: of the replicate.
        prepared: its model and rows.
        plain: a plain search of it that ran before; its spectrum is put beside what is found.
            Where `ranks.importance` reads one and none is given, plain searches run first.
    """

    config: RunConfig
    seed: int
    prepared: Prepared
    plain: SearchResult | None = None


def search_together(
    replicas: Sequence[Replica],
    *,
    selection: Selection = "learned",
    progress: Progress | None = None,
    observe: Callable[[int, Row], None] = lambda number, row: None,
    checkpoints: str | Path | None = None,
    say: Say = _LOG.info,
    most: int | None = None,
) -> list[SearchResult | WorkFailed]:
    """Do what `search` does for each of several replicates, all in one pass over the base.

    Each gets the factors, head and rows of its own search. Without dropout it ends where that ends,
    to rounding; dropout masks are drawn for all of them together. With `search.seeds` above 1 all
    searches of all replicates share the pass. Searches for which memory does not suffice run in two
    halves, one after the other, and a warning says so.

    >>> replicas = [Replica(config, seed, prepare(config, seed)) for seed in range(8)]
    ... # doctest: +SKIP
    >>> results = search_together(replicas)  # doctest: +SKIP

    Args:
        replicas: of one base; their configurations may differ in how ranks are read.
        selection: of the gates, as of `search`.
        progress: told after each inner step of all.
        observe: given the number of the replicate, and a row as `search` gives it.
        checkpoints: a folder where all are saved, as of `search`.
        say: told from where they go on.
        most: searches in one pass; None: all of them.

    Returns:
        The result of each replicate, or why it has none: a number in it is no longer finite, or
        memory did not suffice for it alone.

    Raises:
        Apart: the searches or the model cannot be had in one pass.
        InputError: as of `search`.
        OutOfMemory: memory did not suffice for one; says what to lower.
    """
    config = replicas[0].config
    _refuse_unlike(replicas)
    if selection != "plain" and any(
        one.config.ranks.read_plain and one.plain is None for one in replicas
    ):
        more = {"progress": progress, "say": say, "most": most}
        return _after_plain(replicas, selection, observe, checkpoints, more)
    each = config.search.seeds
    every = [
        (one, seed, spectrum)
        for one in replicas
        for seed, spectrum in zip(
            search_seeds(one.seed, each), spectra(one.plain, each), strict=True
        )
    ]
    numbers, step = range(len(every)), most or len(every)
    follow = progress or Silent()

    def tell(number: int, row: Row) -> None:
        own = {key: value for key, value in row.items() if key != "search"}
        observe(number // each, own if each == 1 else {"search": number % each, **own})

    def run(part: Sequence[int], kept: Checkpoints | None) -> list[SearchResult | NotFinite]:
        # Anew: a pass that memory failed has moved the batches of its programs on.
        programs = [
            program_of(one.config, one.prepared, seed, selection, spectrum)
            for one, seed, spectrum in (every[number] for number in part)
        ]
        return run_together(
            programs,
            progress=Share(follow, len(part) * config.search.work(selection)),
            observe=lambda row: tell(part[int(row["search"])], row),
            checkpoints=kept,
            say=say,
        )

    device = config.runtime.resolved_device
    kept = config.runtime.kept_in(checkpoints)
    found: list[SearchResult | Exception] = []
    with threads(config.runtime.threads), naming_what_to_lower(config, "search"):
        follow.start(f"{len(every)} searches", len(every) * config.search.work(selection))
        try:
            for part in (numbers[first : first + step] for first in numbers[::step]):
                below = kept and kept.below(f"from-{part[0]}") if step < len(every) else kept
                found += in_one_or_halves(part, run, below, device, "searches")
        finally:
            follow.close()
    ends = [found[first : first + each] for first in numbers[::each]]
    return [_pooled(own, one.config) for own, one in zip(ends, replicas, strict=True)]


def _after_plain(
    replicas: Sequence[Replica],
    selection: Selection,
    observe: Callable[[int, Row], None],
    checkpoints: str | Path | None,
    more: Mapping[str, Any],
) -> list[SearchResult | WorkFailed]:
    """Search together after plain searches of the same replicates, as `search` does for one."""
    below = (lambda name: Path(checkpoints) / name) if checkpoints else lambda name: None
    before = search_together(replicas, selection="plain", checkpoints=below("plain"), **more)
    ready = [
        (number, one._replace(plain=plain), plain)
        for number, (one, plain) in enumerate(zip(replicas, before, strict=True))
        if isinstance(plain, SearchResult)
    ]
    if not ready:
        return before
    found = search_together(
        [one for _, one, _ in ready],
        selection=selection,
        observe=lambda place, row: observe(ready[place][0], row),
        checkpoints=below(selection),
        **more,
    )
    ends = dict(enumerate(before))
    for (number, _, plain), end in zip(ready, found, strict=True):
        ends[number] = end.after(plain) if isinstance(end, SearchResult) else end
    return [*ends.values()]


def spectra(plain: SearchResult | None, count: int) -> list[Tensor | None]:
    """Return the spectrum that a plain search left for each of so many seeds, or None for each."""
    if plain is None:
        return [None] * count
    return [one.components.singular for one in plain.searches]


def _pooled(
    found: Sequence[SearchResult | Exception], config: RunConfig
) -> SearchResult | WorkFailed:
    """Return the searches of one replicate as one, or why one of them has no result."""
    for one in found:
        if isinstance(one, Exception):
            return failed(one, config, "search")
    members = [one for one in found if isinstance(one, SearchResult)]
    return SearchResult.pooled(members) if len(members) > 1 else members[0]


def _refuse_unlike(replicas: Sequence[Replica]) -> None:
    sections = ("model", "task", "lora", "search")
    first = replicas[0].config
    for config, _, prepared, _ in replicas:
        unlike = [name for name in sections if getattr(config, name) != getattr(first, name)]
        if unlike:
            raise Apart(
                f"searches of different {', '.join(unlike)} cannot share a pass; search each apart"
            )
        if not same_base(replicas[0].prepared, prepared):
            raise Apart("searches of different bases cannot share a pass; search each apart")
        if not prepared.padding_hidden:
            raise Apart(
                "the model reads padding, and rows of other searches would change how much there "
                "is; search one at a time"
            )
