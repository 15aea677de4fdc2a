"""What several processes cannot share out: refused before anything is loaded."""

from collections.abc import Iterable

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation import processes

_BATCHES = (
    ("search", "batch_size"),
    ("search", "outer_batch_size"),
    ("retrain", "batch_size"),
)


def refuse_undivided(
    configs: Iterable[RunConfig],
    sections: Iterable[str] = ("search", "retrain"),
    *,
    elsewhere: bool = False,
) -> None:
    """Refuse a run whose work the processes of a launcher cannot share out.

    Args:
        configs: of the run, or of all runs of a study.
        sections: what is done.
        elsewhere: an executor was asked for.

    Raises:
        InputError: a batch cannot be cut, or something else would divide the work as well.
    """
    if (count := processes.launched()) == 1:
        return
    wanted = set(sections)
    if elsewhere:
        raise InputError(
            f"--executor was given, and a launcher has started {count} processes that run the jobs "
            "together; leave out one of the two"
        )
    for config in configs:
        _refuse_batches(config, wanted, count)
        runtime = config.runtime
        if isinstance(runtime.stack, int) and runtime.stack > 1:
            raise InputError(
                f"runtime.stack is {runtime.stack}, and {count} processes share out the rows of "
                "one adapter at a time; set runtime.stack=off, or run it in one process"
            )
        if runtime.workers > 1:
            raise InputError(
                f"runtime.workers is {runtime.workers}, and a launcher has started {count} "
                "processes that do one job after another; leave runtime.workers at 0"
            )
        if runtime.resolved_device.startswith("cuda") and not processes.own_gpu():
            raise InputError(
                f"{count} processes were started, and not each has a GPU of its own; start one for "
                "each GPU, or set runtime.device=cpu"
            )
        if ":" in runtime.device:
            raise InputError(
                f"runtime.device is {runtime.device}, and each of {count} processes has a GPU of "
                "its own; set runtime.device=cuda (CUDA_VISIBLE_DEVICES says which)"
            )


def _refuse_batches(config: RunConfig, wanted: set[str], count: int) -> None:
    for section, key in _BATCHES:
        size = getattr(getattr(config, section), key)
        if section in wanted and size % count:
            near = max(1, round(size / count)) * count
            raise InputError(
                f"{section}.{key} is {size}, and {count} processes cannot share that out "
                f"evenly; set {section}.{key}={near}, or start another number of processes"
            )
    for section in wanted:
        if (passes := getattr(config, section).accumulate) > 1:
            raise InputError(
                f"{section}.accumulate is {passes}, and {count} processes share out each batch "
                f"already; set {section}.accumulate=1 and a batch size for all processes "
                "together, or run it in one process"
            )
