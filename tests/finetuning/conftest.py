"""A tiny local model and encoded rows, made once for all tests of this folder."""

from pathlib import Path

import pytest
from datasets import DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autolora_meta.finetuning.data import LABEL, TEXT, TEXT_PAIR, DataOptions, load_rows
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.lora import layer_costs
from autolora_meta.finetuning.models import ModelOptions, load_model
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainOptions
from autolora_meta.finetuning.stacked_jobs import Job
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.finetuning.tasks import Task, TaskOptions, task_class
from autolora_meta.ranks.pattern import RankPattern
from tests.finetuning.stacked_cases import Make
from tests.tiny import tiny_bert, tiny_csv


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetDict:
    source = tiny_csv(tmp_path_factory.mktemp("data") / "rows.csv", 240)
    return load_rows(DataOptions(source=str(source)), (TEXT, TEXT_PAIR, LABEL), seed=0)


@pytest.fixture(scope="session")
def task(rows: DatasetDict) -> Task:
    options = TaskOptions()
    return task_class(options.type).build(options, rows, base=None, dataset=None)


@pytest.fixture(scope="session")
def tokenizer(folder: Path, task: Task) -> PreTrainedTokenizerBase:
    loaded = load_model(ModelOptions(name=str(folder)), task, seed=0)[1]
    assert isinstance(loaded, PreTrainedTokenizerBase)
    return loaded


@pytest.fixture(scope="session")
def encoded(rows: DatasetDict, task: Task, tokenizer: PreTrainedTokenizerBase) -> DatasetDict:
    return DatasetDict({split: task.encode(part, tokenizer) for split, part in rows.items()})


@pytest.fixture
def model(folder: Path, task: Task) -> PreTrainedModel:
    """A fresh one for each test, since it is wrapped in place."""
    return load_model(ModelOptions(name=str(folder)), task, seed=0)[0]


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("still"), dropout=0.0)


@pytest.fixture
def make(still: Path, task: Task, encoded: DatasetDict) -> Make:
    """Make a job whose head and base are of its seed and in float64."""

    def job(
        ranks: tuple[int, ...] = (1, 0, 2, 4), *, seed: int = 0, rows: int = 70, **options: object
    ) -> Job:
        model, tokenizer = load_model(ModelOptions(name=str(still)), task, seed)
        model.double()
        few = DatasetDict(
            {n: part.select(range(min(rows, len(part)))) for n, part in encoded.items()}
        )
        head, collate = head_modules(model), task.collator(tokenizer)
        names = target_layers(model, "default")
        pattern = RankPattern(names, ranks, layer_costs(model, names), k=4, scale=2.0)
        settings = RetrainOptions.model_validate({"steps": 20, "learning_rate": 1e-2} | options)
        return Job(Prepared(model, tokenizer, task, few, head, collate), pattern, settings, seed)

    return job
