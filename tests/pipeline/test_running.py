"""Several searches run as one: pooled, saved with their members, told as one work."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.progress import Silent
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.search import search
from autolora_meta.reporting.course import search_words
from tests.pipeline.tiny_search import changed, files


def test_several_searches_are_pooled_and_stay_whole(
    config: RunConfig, result: SearchResult, three: SearchResult
) -> None:
    first, *others = three.searches
    assert len(others) == 2 and result.searches == (result,)
    assert torch.equal(first.trajectory, result.trajectory)  # the replicate's own seed comes first
    assert len({str(member.trajectory) for member in three.searches}) == 3
    assert three.cost == result.cost + result.cost + result.cost
    singular = torch.stack([member.components.scores("singular") for member in three.searches])
    shares = singular / singular.mean(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(three.components.scores("singular"), shares.mean(0))
    assert three.ranks.total_rank == 4
    assert three.stability.count == 3 and "over 3 searches" in three.stability.sentence()
    assert "One search cannot show" in result.stability.sentence()
    assert "over 3 searches" in search_words(three)
    ended = replace(first, settled=True)
    assert not SearchResult.pooled([ended, *others]).settled  # one is not all
    assert SearchResult.pooled([ended, ended]).settled


def test_pooled_searches_are_saved_and_loaded_with_their_members(
    config: RunConfig, three: SearchResult, tmp_path: Path
) -> None:
    before = files(three, tmp_path / "run")
    assert {f"search/{i}/search/importance.safetensors" for i in range(3)} <= set(before)
    loaded = SearchResult.load(tmp_path / "run")
    assert loaded.ranks == three.ranks and loaded.stability == three.stability
    assert [member.rows for member in loaded.searches] == [m.rows for m in three.searches]
    assert files(loaded, tmp_path / "again") == before
    wide = loaded.under(loaded.options.changed(budget="uniform:2"))
    assert {member.ranks.total_rank for member in wide.searches} == {8} == {wide.ranks.total_rank}
    (tmp_path / "run" / "search" / "1" / "ranks.json").unlink()  # nothing reads it
    (tmp_path / "run" / "search" / "1" / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match=r"holds no finished search"):
        SearchResult.load(tmp_path / "run")


def test_progress_and_rows_cover_all_searches(config: RunConfig) -> None:
    class Told(Silent):
        def __init__(self) -> None:
            self.started: list[float] = []
            self.done, self.closed = 0.0, 0

        def start(self, label: str, total: float) -> None:
            self.started.append(total)

        def step(self, loss: float | None = None, work: float = 1.0) -> None:
            self.done += work

        def close(self) -> None:
            self.closed += 1

    told, rows = Told(), []
    options = ["search.seeds=2", "search.patience=1", "search.sensitivity_batches=1"]
    config = changed(config, *options, "ranks.budget=uniform:3")  # full, so that no rank can move
    found = search(config, progress=told, observe=rows.append)
    assert told.started == [2 * config.search.work()] == [pytest.approx(told.done)]
    assert told.closed == 1
    assert [row["search"] for row in rows] == [0, 1]
    assert found.settled and all(len(member.rows) == 1 for member in found.searches)
    assert "Search 1 ended early, at step 3: its ranks had settled." in search_words(found)
