"""Components: measured against dense matrices, saved to bytes, refused when broken."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from autolora_meta.errors import InputError
from autolora_meta.ranks.components import Components
from autolora_meta.ranks.importance import IMPORTANCE

K = 3
SCALE = 2.0


def _factors(out: int, features: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    a = torch.randn(K, features, generator=draw, dtype=torch.float64)
    return a, torch.randn(out, K, generator=draw, dtype=torch.float64)


@pytest.fixture
def components() -> Components:
    factors = [_factors(7, 5, 0), _factors(6, 2, 1), _factors(2, 9, 2)]
    gates = torch.tensor([[2.0, 0.5, 0.5], [1.0, -1.5, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    names, rises = ["a", "b", "c"], torch.linspace(-1, 1, 9, dtype=torch.float64).view(3, K)
    spectrum = torch.tensor([[9.0, 1, 0], [4, 2, 1], [3, 3, 3]], dtype=torch.float64)
    return Components.from_factors(names, [12, 8, 11], SCALE, gates, factors, rises, spectrum)


def test_singular_values_are_those_of_the_dense_update(components: Components) -> None:
    for layer, (out, features) in enumerate([(7, 5), (6, 2), (2, 9)]):
        a, b = _factors(out, features, layer)
        update = SCALE * b @ components.gates[layer].diag() @ a
        dense = torch.linalg.svdvals(update)[:K]
        found = components.singular[layer]
        torch.testing.assert_close(found[: len(dense)], dense, rtol=1e-12, atol=1e-12)
        assert (found[len(dense) :] == 0).all()
        assert (found.diff() <= 0).all()


def test_contribution_is_the_norm_of_the_component(components: Components) -> None:
    a, b = _factors(6, 2, 1)
    update = [g * torch.outer(b[:, j], a[j]) for j, g in enumerate(components.gates[1])]
    norms = torch.stack([torch.linalg.matrix_norm(u) for u in update])
    torch.testing.assert_close(components.scores("contribution")[1], norms)


def test_product_is_the_geometric_mean_of_both_in_their_order(components: Components) -> None:
    found = components.scores("product")
    for layer in range(3):
        by_size = sorted(components.scores("contribution")[layer].tolist(), reverse=True)
        singular = components.singular[layer].tolist()
        expected = [(a * b) ** 0.5 for a, b in zip(by_size, singular, strict=True)]
        assert found[layer].tolist() == pytest.approx(expected)
    assert found[1].argmin() == 2 and found[1, 2] == 0  # a layer with two singular values


def test_alpha_is_the_size_of_the_gate(components: Components) -> None:
    assert components.scores("alpha")[1].tolist() == [1.0, 1.5, 0.0]


def test_layered_is_the_mean_gate_of_the_layer_times_the_plain_spectrum(
    components: Components,
) -> None:
    # mean |gate|: 1, 5/6, 1
    expected = [[9.0, 1.0, 0.0], [4 * 5 / 6, 2 * 5 / 6, 5 / 6], [3.0, 3.0, 3.0]]
    for found, row in zip(components.scores("layered").tolist(), expected, strict=True):
        assert found == pytest.approx(row)
    with pytest.raises(InputError, match=r"search again with ranks\.importance layered"):
        replace(components, spectrum=None).scores("layered")


def test_scale_moved_from_gate_to_factor_changes_alpha_alone() -> None:
    a, b = _factors(7, 5, 0)
    gates = torch.ones(1, K, dtype=torch.float64)
    factor = torch.tensor([0.2, 1.0, 5.0], dtype=torch.float64)
    before = Components.from_factors(["a"], [12], 1.0, gates, [(a, b)])
    after = Components.from_factors(["a"], [12], 1.0, gates * factor, [(a, b / factor)])
    for name in ("alpha", "contribution", "singular"):
        same = torch.allclose(before.scores(name), after.scores(name), rtol=1e-10)
        assert same == (name != "alpha")


def test_convolution_factors_are_flattened() -> None:
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(K, 4, 3, 3, generator=draw)
    b = torch.randn(6, K, 1, 1, generator=draw)
    gates = torch.ones(1, K)
    found = Components.from_factors(["conv"], [42], 1.0, gates, [(a, b)])
    dense = torch.linalg.svdvals(b.flatten(1).double() @ a.flatten(1).double())[:K]
    torch.testing.assert_close(found.singular[0], dense.float())
    assert found.gates.dtype == torch.float32


def test_unknown_importance_names_the_choices(components: Components) -> None:
    with pytest.raises(InputError, match=r"'singlar' \(did you mean 'singular'\?\)"):
        components.scores("singlar")


def test_save_and_load_give_back_the_same(components: Components, tmp_path: Path) -> None:
    components.save(tmp_path / "importance.safetensors")
    loaded = Components.load(tmp_path / "importance.safetensors")
    assert (loaded.names, loaded.costs, loaded.scale, loaded.k) == (
        ("a", "b", "c"),
        (12, 8, 11),
        SCALE,
        K,
    )
    for name in IMPORTANCE:
        assert torch.equal(loaded.scores(name), components.scores(name))


def test_components_are_saved_without_a_sensitivity_that_was_not_measured(
    components: Components, tmp_path: Path
) -> None:
    replace(components, sensitivity=None).save(tmp_path / "importance.safetensors")
    loaded = Components.load(tmp_path / "importance.safetensors")
    assert torch.equal(loaded.scores("singular"), components.scores("singular"))
    with pytest.raises(InputError, match=r"not measured.*search\.sensitivity_batches above 0"):
        loaded.scores("sensitivity")


def _of(gates: list[list[float]]) -> Components:
    one = torch.ones(len(gates), len(gates[0]))
    names = tuple(f"layer.{i}" for i in range(len(gates)))
    return Components(names, (5,) * len(gates), 1.0, torch.tensor(gates), one, one, one)


def test_searches_are_pooled_by_place_in_the_layer_and_none_outweighs_another() -> None:
    # The same scores, in another order within the layers and a hundred times as large.
    first, second = _of([[3.0, 1.0], [2.0, 2.0]]), _of([[100.0, 300.0], [200.0, 200.0]])
    pooled = Components.pooled([first, second])
    assert pooled.k == 2 and pooled.names == first.names
    assert pooled.scores("alpha").tolist() == [[1.5, 0.5], [1.0, 1.0]]  # over the mean, 2
    silent = Components.pooled([first, _of([[0.0, 0.0], [0.0, 0.0]])])
    assert silent.scores("alpha").tolist() == [[0.75, 0.25], [0.5, 0.5]]


def test_pooled_searches_are_kept_apart_on_disk(components: Components, tmp_path: Path) -> None:
    other = replace(components, gates=components.gates.flip(0), sensitivity=None)
    Components.pooled([components, other]).save(tmp_path / "pooled")
    loaded = Components.load(tmp_path / "pooled")
    assert len(loaded.searches) == 2 and components.searches == (components,)
    for found, given in zip(loaded.searches, (components, other), strict=True):
        assert torch.equal(found.scores("contribution"), given.scores("contribution"))
    assert loaded.sensitivity is None  # one of the two has none
    for others in ([], [components, _of([[1.0]])]):
        with pytest.raises(InputError, match="same layers, k and scale"):
            Components.pooled(others)


def test_saving_in_another_process_gives_the_same_bytes(
    components: Components, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    components.save(first)
    program = (
        "import sys; from autolora_meta.ranks.components import Components; "
        "Components.load(sys.argv[1]).save(sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", program, first, second], check=True)
    assert first.read_bytes() == second.read_bytes()


def test_files_that_hold_no_components_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(InputError, match="there is no file"):
        Components.load(path)
    path.write_text("no tensors")
    with pytest.raises(InputError, match="does not hold the components"):
        Components.load(path)
    save_file({"gates": torch.ones(1, 1)}, path)
    with pytest.raises(InputError, match="does not hold the components"):
        Components.load(path)
    one = torch.ones(2, 2)
    tensors = {n: one.clone() for n in ("gates", "norm_u", "norm_v", "singular")}
    head = json.dumps({"names": ["a"], "scale": 1.0})
    save_file({**tensors, "costs": torch.tensor([5])}, path, metadata={"components": head})
    with pytest.raises(InputError, match="1 names, 1 costs"):
        Components.load(path)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 5), (7, K)),
        ((K, 5), (7, 2)),
        ((K, 4, 3, 3), (6, K, 3, 3)),
    ],
)
def test_factors_of_another_k_are_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="layer 'x' does not have k = 3 components"):
        Components.from_factors(["x"], [1], 1.0, torch.ones(1, K), [(torch.ones(a), torch.ones(b))])
