"""Out of memory: what to lower, in order, with the numbers of this run."""

from collections.abc import Iterator
from contextlib import contextmanager

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import OutOfMemory, WorkFailed
from autolora_meta.foundation.memory import lacked

_LENGTHLESS = ("image-classification",)


@contextmanager
def naming_what_to_lower(config: RunConfig, *sections: str) -> Iterator[None]:
    """Turn a lack of memory in the body into a sentence that says what to lower.

    Args:
        config: of the run.
        sections: what the body does: `search`, `retrain`, or both.

    Raises:
        OutOfMemory: the host or the device has too little memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not lacked(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise OutOfMemory(
            f"{config.runtime.resolved_device} has too little memory for this {sections[0]} "
            f"({reason[:200]}); {what_to_lower(config, *sections)}"
        ) from None


def failed(error: Exception, config: RunConfig, *sections: str) -> WorkFailed:
    """Return why one among several failed, and where memory lacked what to lower.

    Args:
        error: a `WorkFailed`, or how memory failed it.
        config: of its run.
        sections: as of `naming_what_to_lower`.
    """
    try:
        with naming_what_to_lower(config, *sections):
            raise error
    except WorkFailed as known:
        return known


def what_to_lower(config: RunConfig, *sections: str) -> str:
    """Return what to lower, in order: first what changes no result, then what changes little.

    Args:
        config: of the run.
        sections: what is done: `search`, `retrain`, or both.

    >>> what_to_lower(RunConfig.load("quickstart"), "retrain")
    'lower retrain.batch_size (now 16), retrain.eval_batch_size (now 64), task.max_length (now 24), in this order; slower, but with the same gradients: retrain.gradient_checkpointing=true, or a larger retrain.accumulate (now 1) for the rows that a smaller batch lacks'
    """  # noqa: E501
    search, retrain = config.search, config.retrain
    sizes: list[tuple[str, int]] = []
    if "search" in sections:
        sizes += [("search.batch_size", search.batch_size)]
        sizes += [("search.outer_batch_size", search.outer_batch_size)]
    if "retrain" in sections:
        sizes += [("retrain.batch_size", retrain.batch_size)]
        sizes += [("retrain.eval_batch_size", retrain.eval_batch_size)]
    if config.task.type not in _LENGTHLESS:
        sizes += [("task.max_length", config.task.max_length)]
    if "search" in sections:
        sizes += [("lora.k", config.lora.k)]
    said = [f"{key} (now {value})" for key, value in sizes if value > 1]
    words = f"lower {', '.join(said)}, in this order" if said else "take a smaller model"
    words += _with_the_same_gradients(config, sections)
    method = search.hypergradient
    if "search" in sections and method.record.needs_double_backward:
        words += (
            f"; or set search.hypergradient=darts, which needs no double backward (now "
            f"{method.method})"
        )
    return words


def _with_the_same_gradients(config: RunConfig, sections: tuple[str, ...]) -> str:
    """Return what saves memory in exchange for time alone, where it is not done yet."""
    own = {name: getattr(config, name) for name in ("search", "retrain") if name in sections}
    unset = [name for name, section in own.items() if not section.gradient_checkpointing]
    large = [name for name, section in own.items() if section.batch_size > 1]
    ways = [" and ".join(f"{name}.gradient_checkpointing=true" for name in unset)] * bool(unset)
    if large:
        names = " and ".join(f"{name}.accumulate (now {own[name].accumulate})" for name in large)
        ways.append(f"a larger {names} for the rows that a smaller batch lacks")
    return f"; slower, but with the same gradients: {', or '.join(ways)}" if ways else ""


def if_killed(config: RunConfig, *sections: str) -> str:
    """Return what to do where the process of a job was killed, most often for its memory."""
    workers, stack = config.runtime.workers, config.runtime.stack
    now = "one for each core" if workers == 0 else str(workers)
    fewer = f"set runtime.workers=1 (now {now}), or " if workers != 1 else ""
    fewer += f"set runtime.stack=off (now {stack}), or " if stack not in ("off", 1) else ""
    return f"if that was for lack of memory, {fewer}{what_to_lower(config, *sections)}"
