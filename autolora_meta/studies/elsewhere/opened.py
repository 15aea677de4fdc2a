"""Executors by name, as the command line asks for them."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from autolora_meta.config.overlay import setting
from autolora_meta.errors import InputError, unknown
from autolora_meta.studies.elsewhere.on_ray import RayExecutor
from autolora_meta.studies.elsewhere.on_submitit import SubmititExecutor
from autolora_meta.studies.elsewhere.package import package

LOCAL = "local"
_MINUTES = 240  # that submitit gives a job, where nothing else is said; its own default is 2 to 5
_AT_START = ("_max_num_timeout", "_max_pickle_size_gb", "_python")  # what AutoExecutor takes itself


@contextmanager
def opened(name: str, options: Sequence[str], folder: Path) -> Iterator[Executor | None]:
    """Connect to what runs a study, and let go of it after the body.

    Args:
        name: `local`, or one of `OPENERS`.
        options: `key=value` each, of that executor.
        folder: of the study.

    Yields:
        The executor; None for `local`: processes of this machine, as `runtime` says.

    Raises:
        InputError: there is no such executor or option, its package is not installed, or it cannot
            be reached.
    """
    if name != LOCAL and name not in OPENERS:
        raise InputError(unknown("executor", name, [LOCAL, *OPENERS]))
    given: dict[str, Any] = {}
    for option in options:
        given |= setting(option)
    if name == LOCAL:
        if given:
            raise InputError(
                f"executor 'local' has no options, given {', '.join(options)}; runtime.workers "
                "and runtime.threads say how many processes and threads it has"
            )
        yield None
        return
    with OPENERS[name](folder, **given) as executor:
        yield executor


@contextmanager
def _dask(folder: Path, /, **options: Any) -> Iterator[Executor]:
    """dask's `Client` with these options; without an address its workers are of this machine."""
    distributed = package("distributed", "dask")
    address = options.get("address") or os.environ.get("DASK_SCHEDULER_ADDRESS")
    if not address and "scheduler_file" not in options:
        options = {"threads_per_worker": 1, "dashboard_address": None} | options
    with _refusing("dask"):
        client = distributed.Client(**options)
    with client, client.get_executor() as executor:
        yield executor


@contextmanager
def _ray(folder: Path, /, address: str | None = None, **options: Any) -> Iterator[Executor]:
    """Ray at an address, or on this machine; the other options are those of each task."""
    ray = package("ray", "ray")
    with _refusing("ray"):
        ray.init(address)
    try:
        with RayExecutor(**options) as executor:
            yield executor
    finally:
        ray.shutdown()


@contextmanager
def _submitit(
    folder: Path,
    /,
    cluster: str | None = None,
    most: int | None = None,
    logs: str | None = None,
    **options: Any,
) -> Iterator[Executor]:
    """submitit's `AutoExecutor`: `cluster`, the folder for its files, and its parameters."""
    submitit = package("submitit", "submitit")
    above = Path(logs) if logs else folder.absolute().parent / ".submitit"
    above.mkdir(parents=True, exist_ok=True)
    # New, and of this user alone: submitit unpickles what it finds under the number of a job.
    place = Path(mkdtemp(prefix=f"{folder.name}-", dir=above))
    at_start = {key: options.pop(key) for key in [*options] if key.endswith(_AT_START)}
    died = False
    try:
        with _refusing("submitit"):
            jobs = submitit.AutoExecutor(place, cluster=cluster, **at_start)
            jobs.update_parameters(**({"name": folder.name, "timeout_min": _MINUTES} | options))
        if jobs.cluster == "local" and most is None:  # it begins all at once
            most = os.cpu_count()
        with SubmititExecutor(jobs, most=most) as executor:
            try:
                yield executor
            finally:
                died = executor.died
    finally:
        if not died:  # else its log is in there
            rmtree(place, ignore_errors=True)


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Say in a sentence why the body could not open an executor."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each package has kinds of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"executor '{name}' cannot be opened ({reason}); mend or leave out what "
            "--executor-option says"
        ) from error


OPENERS: dict[str, Callable[..., AbstractContextManager[Executor]]] = {
    "dask": _dask,
    "ray": _ray,
    "submitit": _submitit,
}
