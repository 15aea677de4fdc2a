"""A search that reads a plain one waits for it, and a study runs each of them once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.studies.stub_work import calls, study


def test_the_plain_search_runs_once_and_before_the_one_that_reads_it(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    vary = {"ranks.importance": ["product", "layered"]}
    arms = ["learned", "shuffled", "frozen", "spectrum"]
    made = study(tmp_path, vary=vary, arms=arms, seeds=[0])
    table = made.run(executor)  # the stub asserts that what it reads is there
    assert not table.failed and set(calls.values()) == {1}
    searches = {selection: key for run in made.planned for selection, key in run.searches.items()}
    assert set(searches) == {"learned", "frozen", "plain"}
    anew = study(tmp_path / "anew", vary=vary, arms=arms, seeds=[0])
    jobs = {job.key: job for job in anew.jobs(anew.planned)}
    plain = {run.searches["plain"] for run in made.planned if "plain" in run.searches}
    reads = [job for job in jobs.values() if job.needs & plain and job.key not in made.every]
    assert len(reads) == 1 and len(reads[0].arguments) == 5  # gates per layer, under `layered`
