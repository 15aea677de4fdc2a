"""Ranks from paths on disk: runs, adapters made elsewhere, rank patterns; and bad input."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.draw import draw_ranks
from autolora_meta.reporting.ranked import labels, read_ranked
from tests.end_to_end import Tiny, command, contents


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.v_proj, self.up_proj = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up_proj(self.q_proj(x) + self.v_proj(x))


class _Model(nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Block() for _ in range(blocks))


def _adapter(
    folder: Path, rank_pattern: Mapping[str, int], targets: list[str], blocks: int = 2
) -> Path:
    """A PEFT adapter of rank 4 but where the pattern says otherwise."""
    config = LoraConfig(r=4, target_modules=targets, rank_pattern=dict(rank_pattern))
    with quiet_peft():
        get_peft_model(_Model(blocks), config).save_pretrained(str(folder))  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mixed ranks by regular expressions, as other tools write them."""
    pattern = {r"layers\.10\.q_proj": 7, "v_proj": 2, r"layers\.1\.up_proj": 1}
    place = tmp_path_factory.mktemp("adapters") / "mixed"
    return _adapter(place, pattern, ["q_proj", "v_proj", "up_proj"], blocks=11)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _adapter(tmp_path_factory.mktemp("adapters") / "plain", {}, ["q_proj", "v_proj"])


def test_ranks_of_an_adapter_are_the_shapes_of_its_factors(mixed: Path, plain: Path) -> None:
    pattern = read_ranked(mixed).pattern
    assert len(pattern) == 33
    assert pattern.names[3:5] == ("layers.1.q_proj", "layers.1.up_proj")  # 2 comes before 10
    assert [name for name in pattern.names if "up" in name][-1] == "layers.10.up_proj"
    assert pattern["layers.10.q_proj"] == 7 and pattern["layers.1.q_proj"] == 4
    assert pattern["layers.1.up_proj"] == 1 and pattern["layers.10.up_proj"] == 4
    assert {rank for name, rank in pattern if "v_proj" in name} == {2}
    assert pattern.costs[:3] == (16, 24, 16)
    uniform = read_ranked(plain)
    assert set(uniform.pattern.ranks) == {4} and uniform.searches == (uniform.pattern,)


def test_adapters_are_plotted_alone_and_side_by_side(
    mixed: Path, plain: Path, tmp_path: Path
) -> None:
    said = command("plot", mixed, "--output", tmp_path / "one.svg")
    assert said.status == 0, said.err
    assert said.out == f"written to {tmp_path / 'one.svg'}\n"
    files = draw_ranks([mixed, plain], tmp_path / "both.pdf", "ranks")
    assert files == [tmp_path / "both.pdf"]
    assert (tmp_path / "both.pdf").read_bytes().startswith(b"%PDF")
    files = draw_ranks([plain, plain], tmp_path / "deep" / "all")
    assert {file.name for file in files} == {
        f"{name}.{kind}"
        for name in ("ranks", "spread", "stability")
        for kind in ("png", "svg", "pdf")
    }
    assert all(file.stat().st_size > 1000 for file in files)


def test_a_run_has_a_search_for_each_replicate(tiny: Tiny, tmp_path: Path) -> None:
    ranked = read_ranked(tiny.run)
    assert len(ranked.searches) == 2 and ranked.searches[0] == ranked.pattern
    before = contents(tiny.run)
    for figure in ("spread", "mean", "stability", "over-time"):
        output = tmp_path / f"{figure}.png"
        said = command("plot", tiny.run, "--figure", figure, "--output", output)
        assert said.status == 0, said.err
        assert output.read_bytes().startswith(b"\x89PNG")
    said = command(
        "plot", tiny.run, tiny.run / "adapter", tiny.run / "ranks.json", "-o", tmp_path / "s.svg"
    )
    assert said.status == 0, said.err
    assert "4 rank patterns" in (tmp_path / "s.svg").read_text()
    assert contents(tiny.run) == before


def test_titles_are_told_apart(tmp_path: Path) -> None:
    pattern = RankPattern(("layer.0.q",), (2,), (8,), k=2, scale=1.0)
    places = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        places.append(tmp_path / folder / "ranks.json")
        pattern.save(places[-1])
    assert labels([read_ranked(place) for place in places]) == ["ranks (1)", "ranks (2)"]


def test_what_cannot_be_drawn_is_explained_and_nothing_is_written(
    mixed: Path, tiny: Tiny, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "rows.csv").write_text("text,label\n")
    taken = tmp_path / "taken.png"
    taken.write_text("mine")
    new = tmp_path / "new.png"
    for arguments, message in (
        ((tmp_path / "empty", "-o", new), "holds no ranks; give the folder of a run"),
        ((tmp_path / "missing", "-o", new), "holds no ranks"),
        ((tmp_path / "rows.csv", "-o", new), "is not a rank pattern"),
        ((mixed, "-o", taken), "finished work is not overwritten"),
        ((mixed, "-o", tmp_path / "new.jpg"), "ends with .jpg; figures are written as .png, .svg"),
        ((mixed, "-o", taken / "new.png"), "is a file; give a folder"),
        ((mixed,), "no run with figures of its own; say where the figures go with --output"),
        ((mixed, mixed), "say where the figure goes: --output"),
        ((mixed, tiny.run, "-o", new), "different models"),
        (
            (mixed, "--figure", "spred", "-o", new),
            "unknown figure 'spred' (did you mean 'spread'?)",
        ),
        ((mixed, "--figure", "stability", "-o", new), "at least two searches"),
        ((mixed, "--figure", "over-time", "-o", new), "those of one search"),
    ):
        said = command("plot", *arguments)
        assert said.status == 2, arguments
        assert said.err.startswith("error: ") and message in said.err, said.err
    assert taken.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "rows.csv", "taken.png"}


def test_adapters_that_have_no_rank_for_each_layer_are_refused(mixed: Path, tmp_path: Path) -> None:
    config = json.loads((mixed / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(InputError, match="IA3"):
        read_ranked(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.bin").write_bytes(b"a pickle")
    with pytest.raises(InputError, match="safetensors"):
        read_ranked(tmp_path)
