"""States in files: what is read is what was written, and nothing else is read."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch

from autolora_meta.errors import InputError
from autolora_meta.foundation.state_files import read_state, write_state

STATE = {
    "weights": [torch.randn(2, 3), torch.zeros(0), torch.ones(2, dtype=torch.bfloat16)],
    "random": torch.arange(5, dtype=torch.uint8),
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}, 1: {}}, "betas": (0.9, 0.999)},
    "loss": [0.1, float("inf"), None, True, "said"],
}


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        assert isinstance(other, dict) and list(one) == list(other)
        return all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        assert isinstance(other, list | tuple)
        pairs = zip(one, other, strict=True)
        return type(one) is type(other) and all(same(*pair) for pair in pairs)
    return one == other


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    file = write_state(tmp_path, "step", STATE)
    assert same(read_state(file), STATE)
    assert write_state(tmp_path, "step", STATE) == file and [*tmp_path.iterdir()] == [file]


def test_every_flipped_bit_and_every_cut_is_found(tmp_path: Path) -> None:
    file = write_state(tmp_path, "step", STATE)
    content = file.read_bytes()
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        file.write_bytes(damaged)
        with pytest.raises(InputError, match="is damaged"):
            read_state(file)
    file.write_bytes(content[:-1])
    with pytest.raises(InputError, match="is damaged"):
        read_state(file)


def test_objects_are_neither_written_nor_read(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a state holds"):
        write_state(tmp_path, "step", {"object": Path()})
    assert not [*tmp_path.iterdir()]
    planted = write_state(tmp_path, "step", {})
    content = pickle.dumps(print)
    file = planted.with_name(f"step-{hashlib.sha256(content).hexdigest()[:16]}.safetensors")
    file.write_bytes(content)
    with pytest.raises(InputError, match="holds no state"):
        read_state(file)
