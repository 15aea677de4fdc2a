"""Searches that share every pass end where each ends alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from autolora_meta.bilevel.problem import LoraProblem
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError, NotFinite, OutOfMemory
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.hypergradients.products import AutogradProducts
from autolora_meta.hypergradients.vectors import scale
from autolora_meta.pipeline import search_together as together_module
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.search import search
from autolora_meta.pipeline.search_together import Replica, search_together
from tests.pipeline.test_going_on import EACH_STEP, Killed, kill, stopping
from tests.pipeline.tiny_search import changed
from tests.tiny import tiny_bert

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def still(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The tiny configuration, without dropout."""
    base = tiny_bert(tmp_path_factory.mktemp("still"), dropout=0.0)
    return changed(config, f"model.name={base}", "lora.dropout=0")


@pytest.fixture
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def prepared(config: RunConfig, seed: int) -> Prepared:
    found = prepare(config, seed)
    found.model.to(dtype=torch.get_default_dtype())  # type: ignore[call-overload]
    return found


def together(config: RunConfig, **how: Any) -> list[SearchResult]:
    found = search_together([Replica(config, s, prepared(config, s)) for s in SEEDS], **how)
    assert all(isinstance(one, SearchResult) for one in found)
    return found  # type: ignore[return-value]


def apart(one: SearchResult, other: SearchResult) -> float:
    """The largest difference in gates, on the whole way, and in what was trained."""
    pairs = [(one.trajectory, other.trajectory)]
    pairs += [
        (getattr(one.components, n), getattr(other.components, n)) for n in ("norm_u", "singular")
    ]
    pairs += [(one.start.head[n], other.start.head[n]) for n in one.start.head]  # type: ignore[union-attr]
    return max(float((a - b).abs().max()) for a, b in pairs)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("method", "near"),
    [("first_order", 1e-13), ("one_step", 1e-13), ("darts", 1e-9), ("sama", 1e-9)],
)
@pytest.mark.parametrize("schedule", ["look_ahead", "alternating"])
def test_each_method_ends_where_each_search_ends_alone(
    still: RunConfig, method: str, near: float, schedule: str
) -> None:
    config = changed(still, f"search.hypergradient={method}", f"search.schedule={schedule}")
    for seed, found in zip(SEEDS, together(config), strict=True):
        alone = search(config, seed=seed, prepared=prepared(config, seed))
        assert apart(found, alone) < near
        assert torch.equal(found.ranks_trajectory, alone.ranks_trajectory)
        assert found.cost == alone.cost and found.fingerprint == alone.fingerprint
        assert [list(row) for row in found.rows] == [list(row) for row in alone.rows]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("selection", "changes"),
    [
        ("frozen", ()),
        ("random", ()),
        ("plain", ()),
        ("learned", ("search.gates={per: layer, constraint: softmax}",)),
        ("learned", ("search.inner_steps=2", "search.gates.constraint=softmax")),
        (
            "learned",
            (
                "search.hypergradient={method: darts, scheme: forward, weight: balanced}",
                "search.inner.name=sgd",
            ),
        ),
    ],
)
def test_each_kind_of_search_ends_where_it_ends_alone(
    still: RunConfig, selection: Any, changes: tuple[str, ...]
) -> None:
    config = changed(still, *changes)
    for seed, found in zip(SEEDS, together(config, selection=selection), strict=True):
        alone = search(config, seed=seed, selection=selection, prepared=prepared(config, seed))
        assert apart(found, alone) < (1e-5 if "forward" in str(changes) else 1e-9)
        assert len(found.rows) == len(alone.rows)


@pytest.mark.usefixtures("float64")
def test_each_reads_a_plain_search_of_its_own_as_it_does_alone(
    still: RunConfig, tmp_path: Path
) -> None:
    config = changed(still, "ranks.importance=layered")
    told: list[int] = []
    found = together(config, observe=lambda number, row: told.append(number), checkpoints=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "learned"}
    assert sorted(told) == [seed for seed in SEEDS for _ in range(3)]
    for seed, one in zip(SEEDS, found, strict=True):
        alone = search(config, seed=seed, prepared=prepared(config, seed))
        assert apart(one, alone) < 1e-9
        assert one.components.spectrum is not None and alone.components.spectrum is not None
        torch.testing.assert_close(one.components.spectrum, alone.components.spectrum)
        assert one.options == alone.options and one.cost == alone.cost and one.ranks == alone.ranks


@pytest.mark.usefixtures("float64")
def test_a_search_that_settles_stays_while_others_go_on(still: RunConfig) -> None:
    config = changed(
        still, "search.patience=3", "search.outer_steps=25", "search.outer.learning_rate=0.4"
    )
    alone = [search(config, seed=s, prepared=prepared(config, s)) for s in SEEDS]
    assert len({len(one.rows) for one in alone}) > 1, "the test needs different ends"
    for found, own in zip(together(config), alone, strict=True):
        assert len(found.rows) == len(own.rows) and found.settled == own.settled
        assert found.cost == own.cost and apart(found, own) < 1e-7


def test_a_search_that_is_no_longer_finite_is_left_behind(still: RunConfig) -> None:
    replicas = [Replica(still, s, prepared(still, s)) for s in SEEDS]
    with torch.no_grad():
        replicas[1].prepared.model.classifier.weight.fill_(torch.inf)  # type: ignore[union-attr]
    first, lost, last = search_together(replicas)
    assert isinstance(lost, NotFinite) and "inner step 1 " in str(lost)
    for found, seed in ((first, 0), (last, 2)):
        assert isinstance(found, SearchResult)
        assert apart(found, search(still, seed=seed)) < 1e-4


def test_a_search_that_is_not_finite_hides_no_missing_derivative_of_others(
    still: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = AutogradProducts.mixed
    monkeypatch.setattr(AutogradProducts, "mixed", lambda own, x: scale(3.0, mixed(own, x)))
    config = changed(still, "search.hypergradient=one_step")
    replicas = [Replica(config, s, prepared(config, s)) for s in SEEDS]
    with torch.no_grad():
        replicas[1].prepared.model.classifier.weight.fill_(torch.inf)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="needs a double backward"):
        search_together(replicas)


def test_all_searches_of_all_replicates_share_the_pass(still: RunConfig) -> None:
    config = changed(still, "search.seeds=2")
    rows: list[tuple[int, int]] = []
    found = together(config, observe=lambda number, row: rows.append((number, row["search"])))
    assert set(rows) == {(number, index) for number in range(3) for index in range(2)}
    for seed, one in zip(SEEDS, found, strict=True):
        alone = search(config, seed=seed)
        assert len(one.members) == 2 and one.ranks == alone.ranks
        assert torch.allclose(one.components.singular, alone.components.singular, atol=1e-4)


def test_searches_that_were_killed_go_on_to_the_same_bytes(
    config: RunConfig, tmp_path: Path
) -> None:
    config = changed(config, "search.patience=3", "search.outer_steps=8", *EACH_STEP)
    stop = stopping(9, kill)
    with pytest.raises(Killed):
        together(config, observe=lambda number, row: stop(row), checkpoints=tmp_path)
    said: list[str] = []
    again = together(config, checkpoints=tmp_path, say=said.append)
    assert said and "goes on at step" in said[0]
    for found, whole in zip(again, together(config), strict=True):
        assert apart(found, whole) == 0 and found.rows == whole.rows and found.cost == whole.cost


def test_seeds_of_one_replicate_share_a_pass_where_the_runtime_lets_them(
    still: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    run = together_module.run_together

    def counting(programs: Any, **how: Any) -> Any:
        passes.append(len(programs))
        return run(programs, **how)

    monkeypatch.setattr(together_module, "run_together", counting)
    config = changed(still, "search.seeds=3")
    alone, two = search(config), search(changed(config, "runtime.stack=2"))
    assert passes == [2, 1]
    assert len(two.members) == 3 and two.ranks == alone.ranks
    assert torch.allclose(two.components.singular, alone.components.singular, atol=1e-4)
    cg = ("search.seeds=2", "search.hypergradient=cg", "runtime.stack=2")
    assert len(search(changed(still, *cg)).members) == 2 and passes == [2, 1]


def test_searches_for_which_memory_does_not_suffice_run_in_halves(
    still: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, passes = LoraProblem.training_step_exec, list[int]()

    def small(problem: LoraProblem, batch: Any) -> Iterator[torch.Tensor]:
        # In the second step, when batches have moved on.
        if (problem.members or 1) > 2 and problem.cost.forwards > 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        passes.append(problem.members or 1)
        return step(problem, batch)

    monkeypatch.setattr(LoraProblem, "training_step_exec", small)
    rows: list[int] = []
    found = together(still, observe=lambda number, row: rows.append(number))
    assert list(dict.fromkeys(passes)) == [3, 2, 1] and set(rows) == {0, 1, 2}
    for seed, one in zip(SEEDS, found, strict=True):
        assert apart(one, search(still, seed=seed)) < 1e-4


def test_a_search_that_is_too_large_alone_costs_no_other_its_result(
    still: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = together_module.run_together

    def small(programs: Any, **how: Any) -> Any:
        if any(program.seed == 1 for program in programs):
            raise MemoryError
        return run(programs, **how)

    monkeypatch.setattr(together_module, "run_together", small)
    replicas = [Replica(still, s, prepared(still, s)) for s in SEEDS]
    first, large, last = search_together(replicas)
    assert isinstance(first, SearchResult) and isinstance(last, SearchResult)
    assert isinstance(large, OutOfMemory) and "search.batch_size (now 8)" in str(large)


def test_at_most_so_many_searches_share_a_pass(
    still: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, passes = together_module.run_together, list[int]()

    def counting(programs: Any, **how: Any) -> Any:
        passes.append(len(programs))
        return run(programs, **how)

    monkeypatch.setattr(together_module, "run_together", counting)
    together(changed(still, "search.seeds=2"), most=4)
    assert passes == [4, 2]


def test_checkpoints_of_other_searches_are_refused(config: RunConfig, tmp_path: Path) -> None:
    config = changed(config, *EACH_STEP)
    stop = stopping(4, kill)
    with pytest.raises(Killed):
        together(config, observe=lambda number, row: stop(row), checkpoints=tmp_path)
    fewer = [Replica(config, s, prepare(config, s)) for s in SEEDS[:2]]
    with pytest.raises(InputError, match="another configuration"):
        search_together(fewer, checkpoints=tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("search.hypergradient=cg", "cg solves a system for each search"),
        ("search.sensitivity_batches=1", "sensitivity is measured one component at a time"),
    ],
)
def test_what_one_pass_cannot_serve_is_refused(still: RunConfig, changes: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        together(changed(still, changes))


def test_searches_with_other_options_are_refused(still: RunConfig) -> None:
    other = changed(still, "search.batch_size=4")
    replicas = [Replica(c, 0, prepare(c, 0)) for c in (still, other)]
    with pytest.raises(InputError, match="different search cannot share a pass"):
        search_together(replicas)


@pytest.mark.gpu
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", ["first_order", "darts", "one_step", "sama"])
def test_searches_share_a_pass_on_a_gpu(still: RunConfig, method: str) -> None:
    config = changed(still, f"search.hypergradient={method}", "runtime.device=cuda")
    for seed, found in zip(SEEDS, together(config), strict=True):
        assert apart(found, search(config, seed=seed, prepared=prepared(config, seed))) < 1e-6
