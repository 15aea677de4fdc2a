"""What a search found: saved and loaded, allocated anew, exported to PEFT."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from transformers import BertForSequenceClassification

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.ranks.rules import RankOptions
from autolora_meta.reporting.course import search_words
from tests.pipeline.tiny_search import files


def test_what_is_saved_is_loaded_and_allocates_the_same(
    result: SearchResult, tmp_path: Path
) -> None:
    before = files(result, tmp_path / "run")
    loaded = SearchResult.load(tmp_path / "run")
    assert loaded.ranks == result.ranks
    assert torch.equal(loaded.trajectory, result.trajectory)
    assert loaded.rows == result.rows and loaded.cost == result.cost
    changes = {"budget": "total-rank:7", "importance": "singular"}
    assert loaded.allocate(**changes) == result.allocate(**changes)
    assert files(loaded, tmp_path / "again") == before


@pytest.mark.parametrize("damage", ["absent", "file", "cut", "emptied"])
def test_folders_that_hold_no_search(result: SearchResult, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "run"
    if damage == "file":
        folder.write_text("a file")
    elif damage != "absent":
        result.save(folder)
        victim = folder / ("alphas.safetensors" if damage == "cut" else "search/search.json")
        victim.write_bytes(b"{}" if damage == "emptied" else victim.read_bytes()[:40])
    with pytest.raises(InputError, match="holds no finished search"):
        SearchResult.load(folder)


def test_other_budgets_need_no_new_search(result: SearchResult) -> None:
    costs = set(result.components.costs)
    assert costs == {32}
    assert result.ranks.parameters == 4 * 32
    assert result.allocate(budget="uniform:2").parameters == 2 * 4 * 32
    assert result.allocate(budget=5 * 32 + 31).total_rank == 5
    assert result.allocate(budget="total-rank:6", min_rank=1, max_rank=2).total_rank == 6
    assert min(result.allocate(rule="threshold", importance="alpha").ranks) >= 1
    for budget, message in [
        (1, "budget of 1 parameters is too small.*cheapest component costs 32"),
        ("uniform", "'uniform' is not a budget"),
        (0.5, "0.5 is not allowed"),
    ]:
        with pytest.raises(InputError, match=message):
            result.allocate(budget=budget)
    with pytest.raises(InputError, match=r"unknown key 'budgt' \(did you mean 'budget'"):
        result.allocate(budgt=3)


def test_a_budget_that_is_given_is_kept_to_whatever_the_run_s_rule(result: SearchResult) -> None:
    by_threshold = replace(result, options=RankOptions(rule="threshold", importance="alpha"))
    assert by_threshold.allocate(budget="total-rank:5").total_rank == 5
    assert by_threshold.allocate(min_rank=1) == by_threshold.ranks
    with pytest.raises(InputError, match="budget total-rank:5 is given, and the rule threshold"):
        by_threshold.allocate(rule="threshold", budget="total-rank:5")


def test_a_search_that_has_learned_nothing_says_so(
    result: SearchResult, three: SearchResult, tmp_path: Path
) -> None:
    assert result.blind_loss == pytest.approx(math.log(3), rel=0.01)
    later = [row["outer_loss"] for row in result.rows][1:]
    assert result.reached == pytest.approx(sum(later) / 2)
    able = replace(result, blind_loss=2 * result.reached)
    unable = replace(result, blind_loss=result.reached)
    assert unable.blind and not able.blind and not replace(result, blind_loss=None).blind
    words = "The validation loss at the end of the search was"
    assert words in search_words(unable) and words not in search_words(able)
    unable.save(tmp_path)
    assert SearchResult.load(tmp_path).blind
    one_of = replace(three, members=(able, unable))
    assert "at the end of search 1 was" in search_words(one_of)
    assert "at the end of search 0 was" not in search_words(one_of)


def test_the_lora_config_makes_a_stock_peft_model_with_the_ranks_learned(
    config: RunConfig, result: SearchResult
) -> None:
    peft_config = result.lora_config(modules_to_save=["classifier"])
    assert peft_config.task_type == "SEQ_CLS"
    fresh = BertForSequenceClassification.from_pretrained(config.model.name, num_labels=3)
    with quiet_peft():
        model = get_peft_model(fresh, peft_config)
    trained = [p.numel() for n, p in model.named_parameters() if "lora_" in n and p.requires_grad]
    assert sum(trained) == result.ranks.parameters
    base: Any = model.get_base_model()
    for name, rank in result.ranks:
        layer = base.get_submodule(name)
        assert (layer.r["default"] if rank else hasattr(layer, "r")) == rank
        assert not rank or layer.scaling["default"] == config.lora.scale
