"""Jobs by any executor: order, failures, a process that dies, dask, bundles."""

import operator
import os
import pickle
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection
from typing import Any

import psutil
import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.progress import Silent
from autolora_meta.studies.executor import Job, ProcessDied, Together, run_jobs
from autolora_meta.studies.pool import local_pool
from tests.studies.halved_jobs import dies_for_13, each_half, half
from tests.studies.sample_jobs import DIVIDE, ended, holds, no_pool


def test_a_job_that_fails_stops_only_what_needs_it() -> None:
    with ThreadPoolExecutor(2) as threads:
        holds(ended(DIVIDE, threads))


class Awkward(Exception):
    """Holds what does not pickle."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.lock = threading.Lock()


def awkward() -> None:
    raise Awkward("3 and 4")


def test_an_error_that_no_other_process_could_read_keeps_its_words() -> None:
    with ThreadPoolExecutor(1) as one:
        outcome = ended([Job("awkward", awkward)], one)["awkward"]
    assert outcome.error == "RuntimeError: Awkward: 3 and 4"
    failure = pickle.loads(pickle.dumps(outcome.failure))
    assert "in awkward" in "".join(traceback.format_exception(failure))


def test_jobs_begin_in_their_order_and_after_what_they_need() -> None:
    begun: list[str] = []
    order = [Job("b", begun.append, ("b",), frozenset({"a"})), Job("a", begun.append, ("a",))]
    order += [Job("c", begun.append, ("c",))]
    with ThreadPoolExecutor(1) as one:
        ended(order, one)
    assert begun in (["a", "c", "b"], ["a", "b", "c"])


def test_a_process_that_dies_fails_alone() -> None:
    opened: list[int] = []

    @contextmanager
    def pool() -> Iterator[Executor]:
        opened.append(1)
        with ProcessPoolExecutor(2, get_context("spawn")) as processes:
            yield processes

    jobs = [
        Job("beside", time.sleep, (0.5,)),
        Job("dies", os._exit, (9,), if_killed="lower lora.k"),
        *DIVIDE,
        Job("after", operator.neg, (1,), needs=frozenset({"dies"})),
    ]
    outcomes = ended(jobs, None, pool)
    holds(outcomes)
    assert outcomes["beside"].error is None
    said = "its process died (killed, or out of memory); lower lora.k"
    assert outcomes["dies"].error == said
    assert "its process died" in (outcomes["after"].error or "")
    assert 2 <= len(opened) <= 3


def test_jobs_of_an_interrupted_study_are_called_off() -> None:
    with ThreadPoolExecutor(1) as one:
        jobs = [Job(str(i), time.sleep, (0.05,)) for i in range(100)]
        outcomes = run_jobs(jobs, one, no_pool)
        next(outcomes)
        before = time.perf_counter()
        outcomes.close()  # type: ignore[attr-defined]
    assert time.perf_counter() - before < 1


@pytest.mark.filterwarnings("default")  # what dask and its event loop warn of is theirs
def test_a_scheduler_and_workers_of_dask() -> None:
    distributed: Any = pytest.importorskip("distributed")
    cluster: Any = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0
    )
    with cluster, distributed.Client(cluster) as client, client.get_executor() as executor:
        holds(ended(DIVIDE, executor))
        processes = ended([Job(str(i), os.getpid) for i in range(4)], executor)
        assert os.getpid() not in {outcome.value for outcome in processes.values()}


def held_pool(told: Connection) -> None:
    """Opens a pool, tells which processes there are then, and waits to be killed."""
    with local_pool(RunConfig.load("quickstart"), Silent()) as workers:
        workers.submit(os.getpid).result()
        told.send([process.pid for process in active_children()])
        time.sleep(60)


def test_no_process_of_a_pool_outlives_the_one_that_opened_it() -> None:
    context = get_context("spawn")
    listens, tells = context.Pipe(duplex=False)
    opener = context.Process(target=held_pool, args=(tells,))
    opener.start()
    assert listens.poll(60)
    left = [psutil.Process(pid) for pid in listens.recv()]
    assert len(left) >= 2  # a worker, and the process that holds the queue
    opener.kill()
    opener.join()
    _, alive = psutil.wait_procs(left, timeout=20)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


# -- jobs that share a pass -----------------------------------------------------------------------


def halves(numbers: Sequence[object], call: Callable = each_half, **given: Any) -> list[Job]:
    return [
        Job(f"{n}", half, (n,), together=Together("halves", call, i, len(numbers)), **given)
        for i, n in enumerate(numbers)
    ]


def sizes(jobs: list[Job], executor: Executor | None, most: int, pool: Callable = no_pool) -> Any:
    """Key of each job -> with how many others it was done, or its error."""
    every = list(run_jobs(jobs, executor, pool, lambda job: most))
    assert sorted(one.job.key for one in every) == sorted(job.key for job in jobs)
    return {one.job.key: one.error or one.value[1] for one in every}


def test_jobs_that_may_share_a_pass_are_done_in_bundles_of_nearly_one_size() -> None:
    with ThreadPoolExecutor(2) as threads:
        assert set(sizes(halves(range(6)), threads, 1).values()) == {1}
        assert set(sizes(halves(range(6)), threads, 9).values()) == {6}
        shared = sizes(halves(range(10)), threads, 4)
        assert Counter(shared.values()) == {3: 6, 4: 4}
        # The bundles of a study that goes on, of which the first jobs have ended.
        left = sizes([job for job in halves(range(10)) if job.arguments[0] >= 4], threads, 4)
        assert left == {key: size for key, size in shared.items() if int(key) >= 4}


def test_a_bundle_waits_for_what_its_jobs_need_and_leaves_out_what_lacks_it() -> None:
    first, second, *others = halves(range(4))
    jobs = [
        replace(first, needs=frozenset({"slow"})),
        replace(second, needs=frozenset({"none"})),
        *others,
        Job("slow", time.sleep, (0.2,)),
        *DIVIDE,
    ]
    with ThreadPoolExecutor(4) as threads:
        outcomes = {one.job.key: one for one in run_jobs(jobs, threads, no_pool, lambda job: 4)}
    assert [outcomes[key].value for key in "023"] == [(0.0, 3), (1.0, 3), (1.5, 3)]
    assert "division by zero" in (outcomes["1"].error or "") and not outcomes["1"].ran
    assert [outcomes[key].more for key in "023"] == [True, True, False]


def test_a_job_that_fails_in_a_bundle_fails_alone() -> None:
    with ThreadPoolExecutor(1) as one:
        assert sizes(halves([1, "two", 3]), one, 3) == {
            "1": 3,
            "two": "TypeError: no number",
            "3": 3,
        }


def test_how_many_share_a_pass_may_be_known_later() -> None:
    known: list[int] = []
    jobs = [*halves(range(4)), Job("trial", operator.add, (1, 1))]
    with ThreadPoolExecutor(4) as threads:
        seen = {}
        for one in run_jobs(jobs, threads, no_pool, lambda job: known[0] if known else None):
            seen[one.job.key] = one.value
            if one.job.key == "trial":
                known.append(one.value)
    assert seen == {"trial": 2, "0": (0.0, 2), "1": (0.5, 2), "2": (1.0, 2), "3": (1.5, 2)}


def test_a_process_that_dies_costs_its_bundle_and_the_jobs_are_tried_by_themselves() -> None:
    @contextmanager
    def pool() -> Iterator[Executor]:
        with ProcessPoolExecutor(2, get_context("spawn")) as processes:
            yield processes

    jobs = halves([*range(11, 15), *range(20, 24)], dies_for_13)  # two workers: two bundles
    jobs[2] = replace(jobs[2], call=os._exit)
    said = sizes(jobs, None, 8, pool)
    died = "its process died (killed, or out of memory)"
    assert said == {"11": 1, "12": 1, "13": died, "14": 1} | {str(n): 4 for n in range(20, 24)}


def test_a_worker_elsewhere_that_dies_with_a_bundle_costs_the_one_at_fault() -> None:
    def dies(arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        raise ProcessDied("the worker is gone")

    jobs = halves(range(4), dies)
    jobs[2] = replace(jobs[2], call=dies, if_killed="set runtime.stack=off")
    with ThreadPoolExecutor(2) as threads:
        said = sizes(jobs, threads, 4)
    assert said == {"0": 1, "1": 1, "2": "the worker is gone; set runtime.stack=off", "3": 1}
