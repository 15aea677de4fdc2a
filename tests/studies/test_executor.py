"""Jobs by any executor: order, failures, a process that dies, dask."""

import operator
import os
import pickle
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection
from typing import Any

import psutil
import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.progress import Silent
from autolora_meta.studies.executor import Job, run_jobs
from autolora_meta.studies.pool import local_pool
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
