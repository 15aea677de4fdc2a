"""A formulation of one's own, given to the engine: problems, and how they depend on each other."""

import torch
from autolora_meta.problems.autolora import Finetune, Validation
from torch import Tensor

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.bilevel.gating import Gates
from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.finetuning.batch_order import LoaderStream
from tests.bilevel.program import batches, loss, program

OPTIONS = {
    "gates": {"constraint": "free"},
    "outer": {"name": "sgd", "learning_rate": 0.1},
    "warmup_steps": 0,
    "outer_steps": 4,
}


class Sparse(Validation):
    """Validation whose loss also wants small gates."""

    penalty = 0.0

    def training_step(self, batch: object) -> Tensor:
        return super().training_step(batch) + self.penalty * self.module().square().sum()


def size_of_gates(penalty: float) -> float:
    options = SearchOptions.model_validate(OPTIONS)
    with program(**OPTIONS) as (model, gates, _):
        assert isinstance(gates, Gates)
        finetune = Finetune(
            "finetune",
            loss=loss,
            module=model,
            optimizer=options.inner.build_for(model),
            batches=LoaderStream(batches(1)),
            hypergradient=options.hypergradient,
        )
        sparse = Sparse(
            "validation",
            module=gates,
            optimizer=options.outer.build(gates.parameters()),
            batches=LoaderStream(batches(2)),
        )
        sparse.penalty = penalty
        engine = SearchEngine(
            [sparse, finetune],
            {"u2l": {sparse: [finetune]}, "l2u": {finetune: [sparse]}},
            gates=gates,
            options=options,
        )
        engine.run()
        assert len(engine.course.trajectory) == 5 and "direct_norm" in engine.course.rows[-1]
        with torch.no_grad():
            return float(gates().norm())


def test_another_outer_loss_moves_the_gates_elsewhere() -> None:
    assert size_of_gates(0.5) < 0.8 * size_of_gates(0.0)


def test_an_inner_problem_alone_trains_the_factors_and_leaves_the_gates() -> None:
    options = SearchOptions.model_validate(OPTIONS)
    with program(**OPTIONS) as (model, gates, _):
        gates.requires_grad_(False)
        finetune = Finetune(
            "finetune",
            loss=loss,
            module=model,
            optimizer=options.inner.build_for(model),
            batches=LoaderStream(batches(1)),
        )
        start = [p.detach().clone() for p in finetune.trainable_parameters()]
        before = gates.logits.detach().clone()
        engine = SearchEngine([finetune], {"u2l": {}, "l2u": {}}, gates=gates, options=options)
        engine.run()
        assert engine.outer_problem is None and torch.equal(gates.logits, before)
        moved = zip(start, finetune.trainable_parameters(), strict=True)
        assert not all(torch.equal(a, b) for a, b in moved)
