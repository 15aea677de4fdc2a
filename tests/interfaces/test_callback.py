"""A search inside of a stock Trainer: right gradients, a stock model at all times, ranks."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import TrainerCallback

from autolora_meta import RankPattern, RankSearchCallback
from autolora_meta.bilevel.gating import GateOptions
from autolora_meta.errors import InputError
from autolora_meta.exporting.stored import read_adapter
from autolora_meta.foundation.cost import Cost
from autolora_meta.interfaces.folded_gates import FoldedGates
from tests.interfaces.models import adapted, batches, drawn, llama, loaded, logits, trainer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # transformers, of itself


def names_of(model: PeftModel) -> list[str]:
    base: Any = model.get_base_model()
    return [name for name, module in base.named_modules() if hasattr(module, "lora_A")]


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def weights(model: nn.Module) -> dict[str, list[Any]]:
    return {name: p.tolist() for name, p in model.named_parameters() if p.requires_grad}


def searching(place: Path, **changes: Any) -> tuple[Any, RankSearchCallback]:
    settings = {key: changes.pop(key) for key in list(changes) if key in ("model", "arguments")}
    theirs = trainer(settings.get("model") or adapted(), place, **settings.get("arguments", {}))
    given: dict[str, Any] = {"every": 2, "warmup_steps": 3, "say": lambda words: None}
    callback = RankSearchCallback(theirs, **{**given, **changes})
    theirs.add_callback(callback)
    return theirs, callback


@pytest.mark.parametrize("per", ["layer", "component"])
def test_the_gradient_of_the_gates_is_the_one_of_the_dense_weights(per: Any) -> None:
    """df / d gate_lj = c u_j^T (df / dW_l) v_j, with W_l + c B diag(gate) A as a dense weight."""
    model = adapted().double()
    drawn(model)
    names, (batch,) = names_of(model), batches(1, 3)

    def loss(of: nn.Module = model) -> torch.Tensor:
        return of(**batch).loss

    folded = FoldedGates(model, names, GateOptions(per=per), loss)
    draw = torch.Generator().manual_seed(9)
    folded.unfold()
    with torch.no_grad():
        folded.gates.logits.normal_(generator=draw)
    value, gradient = folded.gradient(loss)
    gates, factors = folded.gates().detach(), [(a.detach(), b.detach()) for a, b in folded.factors]

    dense = llama().double()
    weight = [dense.get_submodule(name).get_parameter("weight") for name in names]
    with torch.no_grad():
        for w, gate, (a, b) in zip(weight, gates, factors, strict=True):
            w += 2.0 * b @ torch.diag(gate) @ a
    expected = loss(dense)
    slopes, expected = torch.autograd.grad(expected, weight), expected.detach()
    each = torch.stack(
        [2.0 * ((b.mT @ g) * a).sum(1) for g, (a, b) in zip(slopes, factors, strict=True)]
    )
    each = each if per == "component" else each.sum(1, keepdim=True)
    assert gradient.dtype == torch.float64 and value == pytest.approx(float(expected), rel=1e-12)
    assert torch.allclose(gradient, each, rtol=1e-9, atol=1e-12)


def test_folding_keeps_the_function_and_unfolding_gives_every_bit_back() -> None:
    model = adapted()
    drawn(model)
    folded = FoldedGates(model, names_of(model), GateOptions(per="layer"), lambda: logits(model))
    folded.unfold()
    with torch.no_grad():
        folded.gates.logits.copy_(torch.linspace(-2, 1, 6)[:, None])  # a gate of 0 among them
    gated, before = logits(model), weights(model)
    folded.fold()
    assert torch.allclose(logits(model), gated, atol=1e-5)
    folded.unfold()
    assert weights(model) == before and torch.equal(logits(model), gated)
    folded.close()
    assert hooks(model) == 0
    assert torch.allclose(logits(model), gated, atol=1e-5)


def test_a_training_is_searched_and_leaves_a_stock_model(tmp_path: Path) -> None:
    said: list[str] = []
    model = adapted()
    attached = hooks(model)
    theirs, search = searching(
        tmp_path,
        model=model,
        budget="uniform:2",
        output=tmp_path / "found",
        say=said.append,
        outer={"learning_rate": 0.3},
        arguments={"save_strategy": "steps", "save_steps": 6},
    )
    theirs.train()
    assert hooks(model) == attached
    assert [row["step"] for row in search.rows] == [5, 7, 9, 11]
    assert search.rows[-1]["gate_max"] > 1.2
    assert search.cost == Cost(4, 4)
    assert "4 steps of the gates, 4 plain steps beside 12 of training" in said[0]
    # What was trained is what its checkpoint holds, though the gates had moved.
    assert torch.equal(logits(loaded(tmp_path / "checkpoint-12")), logits(model))
    ranks = search.ranks
    assert ranks is not None and RankPattern.load(tmp_path / "found" / "ranks.json") == ranks
    spent = sum(2 * cost for cost in ranks.costs)
    assert spent - min(ranks.costs) < ranks.parameters <= spent


def test_the_start_is_the_trained_update_cut_to_its_ranks(tmp_path: Path) -> None:
    theirs, search = searching(tmp_path, budget="uniform:1", output=tmp_path / "found")
    theirs.train()
    assert search.ranks is not None
    start = loaded(tmp_path / "found" / "start")
    assert dict(read_adapter(tmp_path / "found" / "start").pattern) == {
        name: rank for name, rank in search.ranks if rank
    }
    for name, rank in search.ranks:
        whole: Any = theirs.model.get_base_model().get_submodule(name)
        u, s, v = torch.linalg.svd(whole.get_delta_weight("default").double())
        best = (u[:, :rank] * s[:rank]) @ v[:rank]  # Eckart and Young
        cut: Any = start.get_base_model().get_submodule(name)
        assert hasattr(cut, "lora_A") == bool(rank)
        if rank:
            assert torch.allclose(cut.get_delta_weight("default").double(), best, atol=1e-6)


def test_gates_that_have_not_moved_change_no_bit_of_a_training(tmp_path: Path) -> None:
    alone = trainer(adapted(lora_dropout=0.2), tmp_path / "alone", gradient_accumulation_steps=2)
    alone.train()
    said: list[str] = []
    theirs, search = searching(
        tmp_path / "beside",
        model=adapted(lora_dropout=0.2),
        arguments={"gradient_accumulation_steps": 2},
        outer={"learning_rate": 1e-30},
        say=said.append,
    )
    theirs.train()
    assert len(search.rows) == 4
    assert isinstance(alone.model, PeftModel)
    assert weights(theirs.model) == weights(alone.model)
    late, _ = searching(tmp_path / "late", warmup_steps=99, say=said.append)
    late.train()
    assert "no gate has moved in 12 steps; lower warmup_steps (99)" in said[-1]


def test_a_training_that_was_stopped_gives_its_model_back_by_close(tmp_path: Path) -> None:
    class Stopping(TrainerCallback):
        def on_substep_end(self, *args: Any, **kwargs: Any) -> None:
            if args[1].global_step == 8:  # amid a step, while the gates act
                raise KeyboardInterrupt

    model = adapted()
    attached = hooks(model)
    theirs, search = searching(
        tmp_path,
        model=model,
        outer={"learning_rate": 0.3},
        arguments={"gradient_accumulation_steps": 2},
    )
    theirs.add_callback(Stopping())
    with pytest.raises(KeyboardInterrupt):
        theirs.train()
    acting = logits(model)
    assert hooks(model) > attached
    search.close()
    assert hooks(model) == attached and torch.allclose(logits(model), acting, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"every": 0}, "every is at least 1"),
        ({"ranks": {"importance": "alpha"}}, "reads singular values; leave importance out"),
        ({"gates": {"gate_sum": "one"}}, "gates of a training begin at 1"),
        ({"budget": "unifrm:1"}, "'unifrm:1' is not a budget"),
        ({"outer": {"learning_rat": 1}}, "did you mean 'learning_rate'"),
    ],
)
def test_wrong_options_are_refused_at_once(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        searching(tmp_path, **changes)


def test_what_cannot_be_searched_is_refused_when_the_training_begins(tmp_path: Path) -> None:
    theirs = trainer(adapted(), tmp_path)
    uneven: dict[str, Any] = {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"v_proj": 4}}
    cases: list[tuple[nn.Module, dict[str, Any], str]] = [
        (llama(), {}, "given LlamaForCausalLM"),
        (adapted(**uneven), {}, "from 2 to 4"),
        (adapted(), {"budget": 3}, "cheapest component"),
        (adapted(), {"validation": iter([1])}, "give a DataLoader or a list"),
    ]
    for model, changes, message in cases:
        theirs.model, attached = model, hooks(model)  # type: ignore[assignment]
        search = RankSearchCallback(theirs, **changes)
        with pytest.raises(InputError, match=message):
            search.on_train_begin(theirs.args, theirs.state, theirs.control)
        assert hooks(model) == attached
    theirs.eval_dataset = None
    theirs.add_callback(RankSearchCallback(theirs))
    with pytest.raises(InputError, match="the trainer has no eval_dataset"):
        theirs.train()
