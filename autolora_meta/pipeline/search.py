"""Search: a configuration in; importance and ranks out."""

import logging
from collections.abc import Callable
from pathlib import Path

from autolora_meta.bilevel.formulation import formulation
from autolora_meta.bilevel.options import Selection
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import Apart, InputError, WorkFailed
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.foundation import processes
from autolora_meta.foundation.device import threads
from autolora_meta.foundation.progress import Progress, Row, Say
from autolora_meta.pipeline.beside import NOWHERE, prepared_beside
from autolora_meta.pipeline.epochs import in_steps
from autolora_meta.pipeline.memory import naming_what_to_lower
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.program import program_of, search_seeds
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.running import run_programs
from autolora_meta.pipeline.search_together import Replica, search_together, shares, spectra

_LOG = logging.getLogger("autolora_meta")


def search(
    config: RunConfig,
    *,
    seed: int | None = None,
    selection: Selection = "learned",
    prepared: Prepared | None = None,
    progress: Progress | None = None,
    observe: Callable[[Row], None] = lambda row: None,
    checkpoints: str | Path | None = None,
    say: Say = _LOG.info,
) -> SearchResult:
    """Learn how much each rank-1 component of each layer is worth.

    Where `ranks.importance` reads a plain search, too (`layered`), that one runs first.

    `search_model` does the same for a model and batches of your own. With `search.seeds` above 1
    several searches share a pass over the base where `runtime.stack` lets them.

    >>> result = search(RunConfig.load("quickstart"))  # doctest: +SKIP
    >>> result.ranks.ranks

    Args:
        config: of the run: model, data, task, `lora`, `search` and `ranks`.
        seed: of the replicate; None: `config.seed`.
        selection: of the gates: learned; frozen, which leaves them at their start; random, which
            moves them along noise; or plain: frozen, on training and validation rows.
        prepared: model and rows, if already loaded; they are left unchanged.
        progress: told after each inner step.
        observe: given one row of figures after each outer step; of a search that goes on, the rows
            of before come first.
        checkpoints: a folder where the search is saved as `config.runtime` says, at Ctrl-C and at
            SIGTERM. A call with the same arguments goes on from there, to the same bytes. Remove it
            once you have the result. None: nothing is saved.
        say: told from where the search goes on.

    Raises:
        InputError: the configuration cannot work on this model and data, or the checkpoints are of
            another search.
        OutOfMemory: memory did not suffice; says what to lower.
    """
    if not isinstance(config, RunConfig):
        raise InputError(
            f"search(config) takes a RunConfig; given {type(config).__name__}. For a model of your "
            "own: search_model(model, train, validation, loss=...)"
        )
    if config.ranks.to_choose:
        config.ranks.budget.refuse_auto()
    formulation(config.search.problem).refuse(config.search, "ranks")
    seed = config.seed if seed is None else seed
    with threads(config.runtime.threads), naming_what_to_lower(config, "search"):
        prepared = prepared or prepare(config, seed)
        config = in_steps(config, prepared)
        given = {"prepared": prepared, "progress": progress, "say": say}
        if selection == "plain" or not config.ranks.read_plain:
            alone = {"observe": observe, "checkpoints": checkpoints}
            return search_alone(config, seed, selection, **given, **alone)
        below = (lambda name: Path(checkpoints) / name) if checkpoints else lambda name: None
        before = {"checkpoints": below("plain"), "ends": True}
        plain = search_alone(config, seed, "plain", **given, **before)
        own = {"observe": observe, "checkpoints": below(selection)}
        found = search_alone(config, seed, selection, plain=plain, **given, **own)
    return found.after(plain)


def search_alone(
    config: RunConfig,
    seed: int,
    selection: Selection,
    *,
    prepared: Prepared,
    plain: SearchResult | None = None,
    progress: Progress | None = None,
    observe: Callable[[Row], None] = lambda row: None,
    checkpoints: str | Path | None = None,
    ends: bool = False,
    say: Say = _LOG.info,
) -> SearchResult:
    """Run one search, whatever `ranks.importance` reads beside it.

    Args:
        plain: a plain search of this seed that ran before, whose spectrum is read; without one that
            is asked for, ranks are read by singular values.
        ends: save the end in `checkpoints`, too, since more work follows.
        config, seed, selection, prepared, progress, observe, checkpoints, say: as of `search`.

    Raises:
        InputError, OutOfMemory: as of `search`.
    """
    seeds, most = search_seeds(seed, config.search.seeds), shares(config, selection)
    if min(len(seeds), most) > 1:
        try:
            (found,) = search_together(
                [Replica(config, seed, prepared, plain)],
                selection=selection,
                progress=progress,
                observe=lambda number, row: observe(row),
                checkpoints=checkpoints,
                say=say,
                most=most,
            )
            return _whole(found)
        except Apart as error:
            _LOG.warning("%d searches run one at a time: %s", len(seeds), error)
    programs = [
        program_of(config, prepared, one, selection, spectrum)
        for one, spectrum in zip(seeds, spectra(plain, len(seeds)), strict=True)
    ]
    kept = config.runtime.kept_in(checkpoints)
    with processes.together(_follow, config, seed, selection, plain, kept is not None, ends):
        return run_programs(
            programs, progress=progress, observe=observe, checkpoints=kept, ends=ends, say=say
        )


def _follow(
    config: RunConfig,
    seed: int,
    selection: Selection,
    plain: SearchResult | None,
    kept: bool,
    ends: bool,
) -> None:
    """Take the steps of a search with the first process, which alone keeps what comes of it."""
    with threads(config.runtime.threads), naming_what_to_lower(config, "search"):
        given = {"prepared": prepared_beside(config, seed), "plain": plain, "ends": ends}
        nowhere = NOWHERE if kept else None
        search_alone(config, seed, selection, checkpoints=nowhere, **given)


def _whole(found: SearchResult | WorkFailed) -> SearchResult:
    if isinstance(found, WorkFailed):
        raise found
    return found
