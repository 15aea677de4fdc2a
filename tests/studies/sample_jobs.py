"""Jobs that need each other, some of which fail, and how they are to end by any executor."""

import operator
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager

from autolora_meta.studies.executor import Ended, Job, run_jobs

# Functions of the standard library: a fresh process imports nothing of ours to run them.
DIVIDE = [
    Job("six", operator.mul, (2, 3)),
    Job("none", operator.truediv, (1, 0)),
    Job("half", operator.truediv, (1, 2), needs=frozenset({"six"})),
    Job("in vain", operator.neg, (1,), needs=frozenset({"six", "none"})),
    Job("so too", operator.neg, (1,), needs=frozenset({"in vain", "done before"})),
]


def no_pool() -> AbstractContextManager[Executor]:
    raise AssertionError("an executor was given")


def ended(jobs: list[Job], executor: Executor | None, pool: Callable = no_pool) -> dict[str, Ended]:
    outcomes = {outcome.job.key: outcome for outcome in run_jobs(jobs, executor, pool)}
    assert outcomes.keys() == {job.key for job in jobs}
    return outcomes


def holds(outcomes: dict[str, Ended]) -> None:
    assert (outcomes["six"].value, outcomes["half"].value) == (6, 0.5)
    assert outcomes["none"].error == "ZeroDivisionError: division by zero"
    assert isinstance(outcomes["none"].failure, ZeroDivisionError)
    for key in ("in vain", "so too"):
        assert not outcomes[key].ran and "division by zero" in (outcomes[key].error or "")
