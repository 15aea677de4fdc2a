"""Stubs in the place of work, but for tests that run the tiny model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from autolora_meta.studies import work
from autolora_meta.studies.table import StudyTable
from tests.end_to_end import Tiny
from tests.studies.stub_work import (
    calls,
    measure,
    no_trial,
    retrain,
    search,
    search_together,
    together,
)


@pytest.fixture(autouse=True)
def stubs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "tiny" not in request.fixturenames:
        monkeypatch.setattr(work, "search_once", search)
        monkeypatch.setattr(work, "measure_once", measure)
        monkeypatch.setattr(work, "retrain_once", retrain)
        monkeypatch.setattr(work, "retrain_together", together)
        monkeypatch.setattr(work, "search_together", search_together)
        monkeypatch.setattr(work, "try_stack", no_trial)
    calls.clear()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def table(tiny: Tiny) -> StudyTable:
    return StudyTable.load(tiny.run)
