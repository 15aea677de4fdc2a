import torch

from autolora_meta.hypergradients.vectors import (
    add_scaled,
    assign,
    dot,
    filled,
    flatten,
    norm,
    unflatten,
)


def test_arithmetic_agrees_with_flat_tensors():
    x = [torch.randn(2, 3, dtype=torch.float64), torch.randn(4, dtype=torch.float64)]
    y = [torch.randn_like(part) for part in x]
    torch.testing.assert_close(dot(x, y), float(flatten(x) @ flatten(y)))
    torch.testing.assert_close(norm(x), float(flatten(x).norm()))
    torch.testing.assert_close(flatten(add_scaled(x, 0.3, y)), flatten(x) + 0.3 * flatten(y))
    for part, again in zip(x, unflatten(flatten(x), x), strict=True):
        assert torch.equal(part, again)


def test_a_gradient_that_autograd_does_not_give_counts_as_zero():
    x = [torch.ones(2), torch.ones(3)]
    assert torch.equal(filled([None, x[1]], x)[0], torch.zeros(2))


def test_a_long_bf16_sum_keeps_its_digits():
    x = [torch.ones(10_000, dtype=torch.bfloat16)]
    assert dot(x, x) == 10_000


def test_assigned_values_are_copies_without_a_graph():
    w, value = torch.zeros(2, requires_grad=True), torch.ones(2, requires_grad=True)
    assign([w], [2 * value])
    assert w.tolist() == [2.0, 2.0] and w.is_leaf
    with torch.no_grad():
        value.zero_()
    assert w.tolist() == [2.0, 2.0]
