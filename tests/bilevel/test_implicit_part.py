"""The implicit part as betty's table of best-response Jacobians gives it."""

import torch
from betty.hypergradient import jvp_fn_mapping

from autolora_meta.bilevel.diagnostics import cosine
from autolora_meta.bilevel.implicit_part import implicit_part, register
from tests.bilevel.program import program


def test_betty_s_table_has_our_methods_with_the_sign_of_its_own() -> None:
    still = {"name": "sgd", "learning_rate": 1e-9}  # the points before and after a step agree
    settings = {"inner": still, "schedule": "alternating", "outer_steps": 1, "warmup_steps": 0}
    with program(hypergradient="darts", **settings) as (_, gates, engine):
        engine.run()
        inner, outer = engine.inner_problem, engine.outer_problem
        assert outer is not None
        v = [torch.ones_like(w) for w in inner.parameters()]
        ours = jvp_fn_mapping[inner.config.type](v, inner, outer, False)
        assert torch.equal(ours[0], implicit_part(inner, [gates.logits], v).vector[0])
        theirs = jvp_fn_mapping["darts"](v, inner, outer, False)
        assert (cosine(ours, theirs) or 0) > 0.99


def test_registering_again_changes_nothing() -> None:
    name = register()
    before = dict(jvp_fn_mapping)
    assert register() == name and jvp_fn_mapping == before
