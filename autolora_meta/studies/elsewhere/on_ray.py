"""Jobs by Ray, as an executor of `concurrent.futures`."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from autolora_meta.errors import InputError
from autolora_meta.studies.elsewhere.answer import answer, settle
from autolora_meta.studies.elsewhere.open_futures import OpenFutures
from autolora_meta.studies.elsewhere.package import package
from autolora_meta.studies.executor import ProcessDied


class RayExecutor(OpenFutures):
    """Gives each call to Ray as a task of its own.

    Ray is that of `ray.init(...)`; where it was not called, Ray does it. A task whose process dies
    ends with `ProcessDied`, and is not tried again unless `max_retries` says so.

    >>> ray.init("auto")                                                  # doctest: +SKIP
    >>> table = study.run(RayExecutor(num_cpus=1, num_gpus=0.25))         # doctest: +SKIP

    Args:
        options: of each task, as `ray.remote` takes them.

    Raises:
        InputError: Ray is not installed, or does not know an option.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._ray = package("ray", "ray")
        try:
            self._task = self._ray.remote(answer).options(**({"max_retries": 0} | options))
        except (TypeError, ValueError) as error:
            raise InputError(f"Ray does not take these options of a task: {error}") from error

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Give Ray a call; a future that is cancelled interrupts it."""
        reference = self._task.remote(call, *arguments, **named)
        future = self._opened()
        future.add_done_callback(lambda one: one.cancelled() and self._ray.cancel(reference))
        reference.future().add_done_callback(lambda ended: settle(future, self._told(ended)))
        return future

    def _told(self, ended: Future[Any]) -> Any:
        """Return the answer of a task, or why there is none."""
        error = ended.exception()
        if error is None:
            return ended.result()
        if isinstance(error, self._ray.exceptions.RayTaskError):  # before the call could begin
            return getattr(error, "cause", None) or RuntimeError(str(error))
        return ProcessDied(f"{ProcessDied.said}: Ray says {type(error).__name__}")
