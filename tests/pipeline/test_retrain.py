"""Ranks retrained from Python, from scratch and from what the search trained."""

from pathlib import Path
from typing import Any

import pytest
import torch

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.retrain import retrain


def test_ranks_are_retrained_from_python_as_from_the_configuration(
    config: RunConfig, result: SearchResult
) -> None:
    config = RunConfig.load(config.model_dump(mode="json"), "retrain.steps=2")
    one, again, other = (retrain(config, result.ranks, seed=seed) for seed in (None, 0, 1))
    assert one.parameters == result.ranks.parameters
    assert one.metrics == again.metrics != other.metrics
    rows = prepare(config).rows
    assert rows["test"].to_list() == prepare(config, 0).rows["test"].to_list()
    assert rows["test"].to_list() != prepare(config, 1).rows["test"].to_list()


def test_a_retraining_goes_on_from_what_the_search_trained(
    config: RunConfig, result: SearchResult, tmp_path: Path
) -> None:
    # at rank k and a rate of almost 0 nothing is cut and nothing moves: the search's own model
    whole = result.allocate(budget="uniform:3")
    given = config.model_dump(mode="json")
    still = RunConfig.load(given, "retrain={steps: 1, learning_rate: 1e-9, start: search}")
    result.save(tmp_path)
    for start in (result.start, SearchResult.load(tmp_path).start):
        assert start is not None
        model = retrain(still, whole, start=start).model
        head = {n: p for n, p in model.named_parameters() if "modules_to_save" in n}
        assert head.keys() == start.head.keys() and len(head) > 0
        for name, value in start.head.items():
            torch.testing.assert_close(head[name].detach(), value, atol=1e-6, rtol=0)
        layers: list[Any] = [model.get_base_model().get_submodule(name) for name in whole.names]
        deltas = torch.stack([layer.get_delta_weight("default") for layer in layers])
        expected = result.components.singular.float()
        singular = torch.linalg.svdvals(deltas)[:, :3]
        torch.testing.assert_close(singular, expected, atol=1e-5, rtol=1e-3)
    with pytest.raises(InputError, match="no start was given; give start=result"):
        retrain(still, whole)
    with pytest.raises(InputError, match="seed 0, whose training rows may be test rows of seed 1"):
        retrain(still, whole, seed=1, start=result.start)
