"""The plain search: frozen gates on all rows, and the spectrum that `layered` reads of it."""

from pathlib import Path

import pytest
import torch

from autolora_meta.allocators.replicate import Replicate, allocator
from autolora_meta.config.run import RunConfig
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.program import program_of
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.search import search
from autolora_meta.pipeline.search_model import search_model
from autolora_meta.verification.planted import plant
from tests.pipeline.tiny_search import FEW, changed


@pytest.fixture(scope="module")
def layered(config: RunConfig) -> RunConfig:
    return changed(config, "ranks.importance=layered", "search.gates.per=layer")


@pytest.fixture(scope="module")
def found(layered: RunConfig) -> SearchResult:
    return search(layered)


def test_it_trains_on_training_and_validation_rows_and_on_no_test_row(config: RunConfig) -> None:
    prepared = prepare(config, 0)
    program = program_of(config, prepared, 0, "plain")
    rows = {name: {tuple(ids) for ids in part["input_ids"]} for name, part in prepared.rows.items()}
    steps = 2 * (len(prepared.rows["train"]) + len(prepared.rows["validation"])) // 8
    seen = set()
    for _ in range(steps):
        seen |= {tuple(row["input_ids"]) for row in program.train.peek_rows()}
        program.train.skip()
    assert seen <= rows["train"] | rows["validation"]
    assert seen & rows["train"] and seen & rows["validation"] - rows["train"]


def test_it_has_no_decay_whatever_the_search_has(config: RunConfig) -> None:
    strong = changed(config, "search.inner.weight_decay=50")
    none = changed(config, "search.inner.weight_decay=0")
    plain, without = search(strong, selection="plain"), search(none, selection="plain")
    assert torch.equal(plain.components.singular, without.components.singular)
    shrunk = search(strong, selection="frozen").components.singular
    assert shrunk.sum() < plain.components.singular.sum()


def test_layered_reads_its_spectrum_and_counts_its_cost(
    layered: RunConfig, found: SearchResult
) -> None:
    plain = search(layered, selection="plain")
    assert torch.equal(plain.components.gates, torch.ones(4, 3))
    assert found.components.spectrum is not None
    assert torch.equal(found.components.spectrum, plain.components.singular)
    gates = found.components.gates
    assert (gates == gates[:, :1]).all() and (gates != 1).all()
    expected = gates[:, :1].double() * plain.components.singular.double()
    torch.testing.assert_close(found.components.scores("layered"), expected)
    other = search(changed(layered, "ranks.importance=product"))
    assert found.cost == other.cost + plain.cost
    assert torch.equal(other.components.gates, gates) and other.components.spectrum is None
    # The ranks are followed by the same read-out, from the first step on.
    assert tuple(found.ranks_trajectory[-1].tolist()) == found.ranks.ranks
    assert torch.equal(found.ranks_trajectory[0], torch.tensor(plain.ranks.ranks))


def test_searches_of_several_seeds_each_have_a_spectrum_of_their_own(layered: RunConfig) -> None:
    two = search(changed(layered, "search.seeds=2"))
    first, second = (one.components.spectrum for one in two.searches)
    assert first is not None and second is not None and not torch.equal(first, second)
    assert two.components.spectrum is not None
    assert torch.equal(two.components.spectrum, torch.stack([first, second]))


def test_a_saved_search_can_be_read_by_its_spectrum_again(
    found: SearchResult, tmp_path: Path
) -> None:
    found.save(tmp_path)
    again = SearchResult.load(tmp_path)
    assert again.ranks == found.ranks
    assert again.allocate(budget="uniform:2") == found.allocate(budget="uniform:2")


def test_frozen_gates_under_layered_are_the_plain_search(
    layered: RunConfig, tmp_path: Path
) -> None:
    replicate = Replicate(layered, 0, folder=tmp_path)
    frozen, spectrum = (allocator(name).allocate(replicate) for name in ("frozen", "spectrum"))
    assert frozen == spectrum == search(layered, selection="plain").ranks
    assert allocator("frozen").reads(layered) == ("plain",)
    assert allocator("learned").reads(layered) == ("learned", "plain")
    assert {path.name for path in (tmp_path / "0").iterdir()} == {"plain"}
    assert allocator("learned").allocate(replicate) == search(layered).ranks
    product = changed(layered, "ranks.importance=product")
    assert allocator("frozen").reads(product) == ("frozen",)


def test_a_search_of_another_importance_is_read_by_layered_without_a_new_search(
    layered: RunConfig, tmp_path: Path
) -> None:
    product = changed(layered, "ranks.importance=product")
    Replicate(product, 0, folder=tmp_path).search("learned")
    before = (tmp_path / "0" / "learned" / "alphas.safetensors").read_bytes()
    read = Replicate(layered, 0, folder=tmp_path).search("learned")
    assert read.ranks == search(layered).ranks
    assert (tmp_path / "0" / "learned" / "alphas.safetensors").read_bytes() == before


def test_a_model_of_your_own_is_trained_on_both_loaders() -> None:
    problem = plant("few", seed=3)

    def find(**more: object) -> SearchResult:
        given = (problem.model, problem.train, problem.validation)
        options = {**FEW, "outer_steps": 6, "gates": {"per": "layer"}}
        ranks = {"importance": "layered"}
        return search_model(
            *given,
            loss=problem.loss,
            budget=problem.budget,
            options=options,
            ranks=ranks,
            **more,  # type: ignore[arg-type]
        )

    found, plain = find(), find(selection="plain")
    assert found.components.spectrum is not None
    assert torch.equal(found.components.spectrum, plain.components.singular)
    swapped = search_model(
        problem.model,
        problem.train,
        [(x, torch.zeros_like(y)) for x, y in problem.validation],
        loss=problem.loss,
        options={**FEW, "outer_steps": 6},
        selection="plain",
    )
    assert not torch.equal(swapped.components.singular, plain.components.singular)
