"""A search that goes on where it was: to the same bytes, or not at all."""

from torch import nn

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.foundation import processes
from autolora_meta.foundation.checkpoints import (
    Checkpoints,
    machine,
    naming_what_is_kept,
    refuse_other,
    tell_elsewhere,
)
from autolora_meta.foundation.content_hash import base_hash, content_hash
from autolora_meta.foundation.interrupts import waiting
from autolora_meta.foundation.options import hashed
from autolora_meta.foundation.progress import Say
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.foundation.version import __version__
from autolora_meta.pipeline.program import Program


def run_from_checkpoint(
    engine: SearchEngine,
    program: Program,
    base: nn.Module,
    checkpoints: Checkpoints,
    *,
    ends: bool,
    say: Say,
) -> None:
    """Run a search from its last checkpoint, or from its start, and save it on the way.

    It is saved when a checkpoint is due; when Ctrl-C or SIGTERM ends the process; and at the end,
    if `ends` says that more work follows.

    Args:
        engine: built as it was for the checkpoint. The rows so far are observed again.
        program: what it was built from.
        base: the wrapped model.
        checkpoints: of this search alone.
        ends: save the end of it, too.
        say: told from where it goes on.

    Raises:
        InputError: the checkpoint is of another search, or what it reads has changed.
        NotFinite: a number is none; the message names the last checkpoint.
    """
    known = {"configuration": _search_hash(program), "base": base_hash(base)}
    if (found := processes.agreed(checkpoints.latest)) is not None:
        step, state = found
        refuse_other(checkpoints, "search", state["known"], known)
        engine.load_state_dict(state["engine"])
        now = {"batches": _batches_hash(engine)}
        refuse_other(checkpoints, "search", state["known"], now)
        tell_elsewhere(state["where"], machine(engine.device))
        say(
            f"goes on at step {step} of {engine.train_iters} (a checkpoint in {checkpoints.folder})"
        )
        engine.observe_again()

    def save() -> None:
        about = known | {"batches": _batches_hash(engine)}
        where = machine(engine.device)
        state = {"known": about, "where": where, "engine": engine.state_dict()}
        if processes.leads():
            checkpoints.save(engine.global_step, state)

    with waiting() as stop, naming_what_is_kept(checkpoints):

        def between() -> None:
            asked, due = processes.anywhere(stop.asked, checkpoints.due(engine.global_step))
            if asked or due:
                save()
                stop.now()
            if asked and processes.count() > 1:  # of another process, too
                raise KeyboardInterrupt

        engine.run(between)
    if ends:
        save()


def _search_hash(program: Program) -> str:
    if program.fingerprint is not None:
        return program.fingerprint
    sections = [hashed(one) for one in (program.lora, program.options)]
    ranks = hashed(program.ranks)
    about = [*sections, ranks, program.head, program.seed, program.selection, __version__]
    return content_hash(about)


def _batches_hash(engine: SearchEngine) -> str:
    """Return a hash of the batches that come next."""
    with replay(RandomState.snapshot()):
        return content_hash([problem.batches.peek() for problem in engine.problems])
