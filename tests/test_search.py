"""The search from a configuration, and from a person's own model, data and loss."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from transformers import AutoModel, BertConfig, BertForSequenceClassification

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.foundation.progress import Silent
from autolora_meta.pipeline.check import check
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.retrain import retrain
from autolora_meta.pipeline.search import search
from autolora_meta.pipeline.search_model import search_model
from autolora_meta.ranks.rules import RankOptions
from autolora_meta.reporting.course import search_words
from tests.tiny import tiny_bert, tiny_csv, tiny_tokenizer

FEW = {"outer_steps": 3, "warmup_steps": 2, "outer": {"learning_rate": 0.1}}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    place = tmp_path_factory.mktemp("search")
    return RunConfig.load(
        {
            "name": "tiny",
            "model": {"name": str(tiny_bert(place / "model"))},
            "data": {"source": str(tiny_csv(place / "rows.csv")), "train_rows": 32},
            "lora": {"k": 3, "targets": ["query", "value"], "dropout": 0.1},
            "search": {**FEW, "batch_size": 8, "outer_batch_size": 8},
            "ranks": {"budget": "uniform:1"},
            "runtime": {"device": "cpu"},
        }
    )


@pytest.fixture(scope="module")
def result(config: RunConfig) -> SearchResult:
    return search(config)


class Counting(Silent):
    """Progress that writes down the threads of each step."""

    def __init__(self, threads: list[int]) -> None:
        self.threads = threads

    def step(self, loss: float | None = None, work: float = 1.0) -> None:
        self.threads.append(torch.get_num_threads())


def files(result: SearchResult, folder: Path) -> dict[str, bytes]:
    result.save(folder)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


# -- from a configuration -------------------------------------------------------------------------


def test_one_seed_gives_the_same_bytes_and_another_seed_others(
    config: RunConfig, result: SearchResult, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    torch.rand(7)  # what the caller drew before does not matter
    first = files(result, tmp_path / "first")
    assert set(first) == {
        "ranks.json",
        "alphas.safetensors",
        "metrics.jsonl",
        "search/importance.safetensors",
        "search/start.safetensors",
        "search/search.json",
    }
    assert files(search(config), tmp_path / "again") == first
    other = files(search(config, seed=1), tmp_path / "other")
    for name in ("alphas.safetensors", "metrics.jsonl", "search/importance.safetensors"):
        assert other[name] != first[name]


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


def changed(config: RunConfig, *changes: str) -> RunConfig:
    return RunConfig.load(config.model_dump(mode="json"), *changes)


@pytest.fixture(scope="module")
def three(config: RunConfig) -> SearchResult:
    return search(changed(config, "search.seeds=3"))


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
    wide = loaded.under(RankOptions.model_validate({"budget": "uniform:2"}))
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


def test_the_ranks_are_followed_while_they_are_learned(
    config: RunConfig, result: SearchResult
) -> None:
    assert result.ranks_trajectory.shape == (1 + 3, 4)
    assert tuple(result.ranks_trajectory[-1].tolist()) == result.ranks.ranks
    moved = result.ranks_trajectory.diff(dim=0).abs().sum(1) / 2
    assert [row["ranks_moved"] for row in result.rows] == moved.tolist()
    scores = result.components.scores(result.options.importance).sum(dim=-1).float()
    assert result.importance_trajectory is not None
    assert result.importance_trajectory.shape == (1 + 3, 4)
    assert torch.equal(result.importance_trajectory[-1], scores)
    frozen = search(config, selection="frozen")
    assert frozen.ranks_trajectory.shape == (1 + 2 + 3, 4)
    assert not result.settled


def test_sensitivity_is_measured_when_it_is_asked_for(
    config: RunConfig, result: SearchResult, tmp_path: Path
) -> None:
    asked = changed(config, "ranks.importance=sensitivity")
    with pytest.raises(InputError, match=r"set search.sensitivity_batches to 1 or more.* 12 comp"):
        check(asked)
    with pytest.raises(InputError, match="was not measured"):
        result.allocate(importance="sensitivity")
    measured = search(changed(asked, "search.sensitivity_batches=2"))
    assert measured.cost.forwards == result.cost.forwards + 2 * (4 * 3 + 1)
    assert torch.equal(measured.trajectory, result.trajectory)  # it comes after the search
    scores = measured.components.scores("sensitivity")
    assert scores.shape == (4, 3) and scores.unique().numel() > 6
    assert measured.ranks.total_rank == 4
    measured.save(tmp_path)
    assert SearchResult.load(tmp_path).ranks == measured.ranks


def test_random_gradients_are_a_search_of_their_own(
    config: RunConfig, result: SearchResult
) -> None:
    found = search(config, selection="random")
    assert found.trajectory.shape == result.trajectory.shape
    assert not torch.equal(found.trajectory[-1], result.trajectory[-1])
    assert found.cost.forwards == result.cost.forwards - 3 * 3  # no pass for the hypergradient
    assert torch.equal(search(config, selection="random").trajectory, found.trajectory)
    assert found.fingerprint != result.fingerprint


def test_the_gates_move_and_every_outer_step_has_its_row(
    config: RunConfig, result: SearchResult
) -> None:
    assert result.trajectory.shape == (1 + 3, 4, 3)
    assert torch.equal(result.trajectory[0], torch.ones(4, 3))
    assert all((a != b).any() for a, b in pairwise(result.trajectory))
    assert [row["outer_step"] for row in result.rows] == [1, 2, 3]
    frozen = search(config, selection="frozen")
    assert torch.equal(frozen.components.gates, torch.ones(4, 3).to(frozen.components.gates))


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


def test_torch_has_as_many_threads_as_asked_for_and_as_before_afterwards(
    config: RunConfig, result: SearchResult
) -> None:
    assert torch.get_num_threads() == 1
    config = RunConfig.load(config.model_dump(mode="json"), "runtime.threads=2", "retrain.steps=1")
    during = []
    search(config, observe=lambda row: during.append(torch.get_num_threads()))
    retrain(config, result.ranks, progress=Counting(during))
    assert len(during) == 3 + 1 and set(during) == {2}
    assert torch.get_num_threads() == 1


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


# -- from a person's own objects ------------------------------------------------------------------


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 3))


def bert() -> nn.Module:
    settings = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    vocabulary = len(tiny_tokenizer())
    return BertForSequenceClassification(
        BertConfig(vocab_size=vocabulary, intermediate_size=12, num_labels=3, **settings)  # type: ignore[arg-type]
    )


def rows_of(shape: tuple[int, ...], seed: int) -> DataLoader:
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (12,), generator=draw)
    return DataLoader(TensorDataset(torch.randn(12, *shape, generator=draw), y), 4, shuffle=True)


def texts(shape: tuple[int, ...], seed: int) -> list[dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 15, (3, 4, *shape), generator=draw)
    labels = torch.randint(0, 3, (3, 4), generator=draw)
    return [{"input_ids": x, "labels": y} for x, y in zip(ids, labels, strict=True)]


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def own_loss(model: nn.Module, batch: Any) -> Tensor:
    return model(**batch).loss


OWN = {
    "MLP": (mlp, rows_of, (8,), cross_entropy, {"targets": ["0"], "head": ["3"]}),
    "ConvNet": (ConvNet, rows_of, (1, 5, 5), cross_entropy, {"targets": ["conv"]}),
    "BERT": (bert, texts, (5,), own_loss, {"targets": "all-linear"}),
}


def look(model: nn.Module) -> dict[str, Any]:
    """All that must be as it was."""
    return {
        "values": {name: value.tolist() for name, value in model.state_dict().items()},
        "parameters": [(n, id(p), p.requires_grad) for n, p in model.named_parameters()],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "modules": [(n, type(m), m.training) for n, m in model.named_modules()],
        "hooks": sum(
            len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
            for m in model.modules()
        ),
        "attributes": sorted(vars(model)),
    }


@pytest.fixture(params=OWN)
def own(request: pytest.FixtureRequest) -> Iterator[tuple[nn.Module, Callable[..., SearchResult]]]:
    build, batches, shape, loss, settings = OWN[request.param]
    torch.manual_seed(0)
    model = build()
    first, *_, last = model.parameters()
    first.requires_grad_(False)  # a person's own choices
    last.grad = torch.ones_like(last)
    next(model.children()).eval()

    def run(**changes: Any) -> SearchResult:
        given = {"loss": loss, "lora": {"k": 2}, "options": FEW, **settings, **changes}
        return search_model(model, batches(shape, 1), batches(shape, 2), **given)

    yield model, run


def test_a_model_of_ones_own_comes_back_as_it_was(
    own: tuple[nn.Module, Callable[..., SearchResult]],
) -> None:
    model, run = own
    before, random = look(model), torch.get_rng_state()
    result = run()
    assert look(model) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert all(name in dict(model.named_modules()) for name in result.ranks.names)
    assert (result.trajectory[-1] != 1).any()
    again = run()
    assert torch.equal(again.trajectory, result.trajectory) and again.ranks == result.ranks


def test_several_searches_and_sensitivity_leave_a_model_of_ones_own_as_it_was(
    own: tuple[nn.Module, Callable[..., SearchResult]],
) -> None:
    model, run = own
    before, random = look(model), torch.get_rng_state()
    result = run(options={**FEW, "seeds": 3, "sensitivity_batches": 1})
    assert look(model) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert len(result.searches) == 3
    assert result.allocate(importance="sensitivity").names == result.ranks.names


@pytest.mark.parametrize("place", [1, 4, 9])
def test_it_comes_back_also_when_the_loss_raises(
    own: tuple[nn.Module, Callable[..., SearchResult]], place: int
) -> None:
    model, run = own
    before, random = look(model), torch.get_rng_state()
    seen = []

    def failing(model: nn.Module, batch: Any) -> Tensor:
        seen.append(batch)
        if len(seen) == place:
            raise ZeroDivisionError("a bug of one's own")
        return cross_entropy(model, batch) if isinstance(batch, list) else own_loss(model, batch)

    with pytest.raises(ZeroDivisionError):
        run(loss=failing)
    assert look(model) == before
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ["5"]}, "no layer is called '5'"),
        ({"targets": ["1"]}, "1 is Tanh; allowed kinds: nn.Linear"),
        ({"targets": ["0", "3"], "lora": {"k": 4}, "head": []}, "3 can hold rank 3 at most"),
        ({"lora": {"k": 0}}, "lora has a mistake:\n  - k: should be greater than or equal to 1"),
        ({"options": {"outer_step": 3}}, "did you mean 'outer_steps'"),
        ({"options": {"problem": "other"}}, "unknown problem 'other'; allowed: autolora"),
        ({"options": {"hypergradient": "drats"}}, "did you mean 'darts'"),
        ({"ranks": {"max_rank": 9}}, "max_rank 9 is above k = 2"),
        ({"budget": 7}, "cheapest component costs 16"),
        ({"budget": "unifrm:1"}, "'unifrm:1' is not a budget"),
        ({"loss": lambda model, batch: model(batch[0])}, r"loss.*given shape \(4, 3\)"),
        ({"loss": lambda model, batch: 0.5}, "loss.*given float"),
        ({"device": "tpu"}, "'tpu' is not a device"),
        ({"train": []}, "no batch came"),
        ({"train": iter([1])}, "give a DataLoader or a list"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    model = mlp()
    before = look(model)
    settings: dict[str, Any] = {
        "train": rows_of((8,), 1),
        "validation": rows_of((8,), 2),
        "loss": cross_entropy,
        "targets": ["0"],
        "lora": {"k": 2},
        "options": FEW,
    }
    with pytest.raises(InputError, match=message):
        search_model(model, **(settings | changes))
    assert look(model) == before


def test_a_keyword_of_the_other_search_is_refused_by_the_name_that_was_called(
    config: RunConfig,
) -> None:
    with pytest.raises(TypeError, match=r"^search\(\) got an unexpected keyword argument 'budget'"):
        search(config, budget=7)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^search_model\(\) got an unexpected .* 'prepared'"):
        search_model(mlp(), [1], [2], loss=own_loss, prepared=None)  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"given Sequential.*search_model\(model, train, val"):
        search(mlp())  # type: ignore[arg-type]


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


def test_a_search_over_a_bare_encoder(config: RunConfig) -> None:
    encoder = AutoModel.from_pretrained(config.model.name)

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return model(input_ids=batch["input_ids"]).last_hidden_state.square().mean()

    result = search_model(
        encoder,
        texts((5,), 1),
        texts((5,), 2),
        loss=loss,
        targets="default",
        lora={"k": 2},
        options=FEW,
    )
    assert {name.rsplit(".", 1)[-1] for name in result.ranks.names} == {"query", "value"}
    with quiet_peft():
        assert get_peft_model(encoder, result.lora_config()).peft_config


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
