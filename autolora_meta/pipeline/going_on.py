"""A search that goes on where it was: to the same bytes, or not at all."""

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.errors import InputError
from autolora_meta.foundation.checkpoints import Checkpoints
from autolora_meta.foundation.interrupts import waiting
from autolora_meta.foundation.progress import Say
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.foundation.version import __version__
from autolora_meta.pipeline.program import Program

_LOG = logging.getLogger("autolora_meta")
_READ = 64  # numbers of each frozen tensor, by which the base is known again
_OTHERS = {
    "search": "they are of another configuration or version",
    "base": "the weights of the model are others now",
    "batches": "the rows are others now, or their order comes from a generator of its own",
}


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
    """
    known = {"search": _search_hash(program), "base": _base_hash(base)}
    where = {
        "device": str(engine.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if (found := checkpoints.latest()) is not None:
        step, state = found
        engine.load_state_dict(state["engine"])
        _refuse_other(checkpoints, state["known"], known | {"batches": _batches_hash(engine)})
        if state["where"] != where:
            _LOG.warning(
                "the search goes on with %s, and was begun with %s: its end is the same within "
                "rounding, not to the byte",
                *(", ".join(f"{k} {v}" for k, v in one.items()) for one in (where, state["where"])),
            )
        say(
            f"goes on at step {step} of {engine.train_iters} (a checkpoint in {checkpoints.folder})"
        )
        for row in engine.rows:
            engine.observe(row)

    def save() -> None:
        about = known | {"batches": _batches_hash(engine)}
        state = {"known": about, "where": where, "engine": engine.state_dict()}
        checkpoints.save(engine.global_step, state)

    with waiting() as end_if_asked:

        def between() -> None:
            if checkpoints.due(engine.global_step):
                save()
            end_if_asked(save)

        engine.run(between)
    if ends:
        save()


def _refuse_other(
    checkpoints: Checkpoints, held: Mapping[str, str], now: Mapping[str, str]
) -> None:
    for what, reason in _OTHERS.items():
        if held[what] != now[what]:
            raise InputError(
                f"the checkpoints in {checkpoints.folder} are not of this search: {reason}. Put "
                "back what was there, or begin anew (--restart; in Python, remove the folder)"
            )


def _search_hash(program: Program) -> str:
    if program.fingerprint is not None:
        return program.fingerprint
    sections = [one.model_dump(mode="json") for one in (program.lora, program.options)]
    ranks = program.ranks.model_dump(mode="json")
    about = [*sections, ranks, program.head, program.seed, program.selection, __version__]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _base_hash(model: nn.Module) -> str:
    """Return a hash of names, shapes and a few numbers of each frozen tensor."""
    found = hashlib.sha256()
    for name, weight in model.named_parameters():
        found.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        if not weight.requires_grad and weight.numel():
            flat = weight.detach().flatten()
            _add(found, flat[:: max(1, flat.numel() // _READ)])
    return found.hexdigest()


def _batches_hash(engine: SearchEngine) -> str:
    """Return a hash of the batches that come next."""
    found = hashlib.sha256()
    for problem in engine.problems:
        with replay(RandomState.snapshot()):
            _add(found, problem.batches.peek())
    return found.hexdigest()


def _add(found: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        found.update(str(tuple(value.shape)).encode())
        found.update(value.flatten().view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            found.update(str(key).encode())
            _add(found, value[key])
    elif isinstance(value, list | tuple):
        for one in value:
            _add(found, one)
    elif isinstance(value, str | int | float):
        found.update(repr(value).encode())
