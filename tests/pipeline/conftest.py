"""One tiny search, and three pooled, for all tests of the pipeline."""

import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.search import search
from tests.pipeline.tiny_search import FEW, changed
from tests.tiny import tiny_bert, tiny_csv


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    place = tmp_path_factory.mktemp("search")
    return RunConfig.load(
        {
            "name": "tiny",
            "model": {"name": str(tiny_bert(place / "model"))},
            "data": {"source": str(tiny_csv(place / "rows.csv")), "train_rows": 32},
            "lora": {"k": 3, "targets": ["query", "value"], "dropout": 0.1},
            "search": {**FEW, "batch_size": 8, "outer_batch_size": 8},
            "ranks": {"budget": "uniform:1", "importance": "product"},
            "runtime": {"device": "cpu"},
        }
    )


@pytest.fixture(scope="session")
def result(config: RunConfig) -> SearchResult:
    return search(config)


@pytest.fixture(scope="session")
def three(config: RunConfig) -> SearchResult:
    return search(changed(config, "search.seeds=3"))
