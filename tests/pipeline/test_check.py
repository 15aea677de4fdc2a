"""What a search would work on, and what is refused before it runs."""

import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.pipeline.check import check


def test_the_plan_says_what_would_be_worked_on(config: RunConfig) -> None:
    plan = check(config)
    assert len(plan.names) == 4 and set(plan.costs) == {32}
    assert any("columns read: text = text" in line for line in plan.said)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["lora.k=17"], "lora.k is 17, and .*query can hold rank 16 at most"),
        (["ranks.budget=1"], "budget of 1 parameters is too small.*costs 32"),
        (["ranks.budget=total-rank:3", "ranks.min_rank=1"], "too small for min_rank 1"),
        (["lora.targets=[qurey]"], "no layer is called 'qurey' .did you mean 'query'"),
        (["lora.targets=[word_embeddings]"], "word_embeddings is nn.Embedding"),
        (["lora.targets=[classifier]"], "no layer is called 'classifier'"),
        (["search.batch_size=33"], "a batch of 33 rows cannot be drawn from 32"),
        (["data.label=lable"], "unknown column 'lable' .did you mean 'label'"),
        (["data.train_rows=1000"], "120 rows are there, too few"),
        (["model.name=./nowhere"], "model.name './nowhere' is not a folder"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    config: RunConfig, changes: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check(RunConfig.load(config.model_dump(mode="json"), *changes))
