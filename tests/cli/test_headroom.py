"""`autolora-meta headroom` on a tiny model: no search, one sentence first, and it goes on."""

import json
from pathlib import Path

from autolora_meta.config.run import RunConfig
from autolora_meta.studies.headroom import headroom_study
from tests.end_to_end import Tiny, command


def test_headroom_says_first_whether_ranks_matter(tiny: Tiny, tmp_path: Path) -> None:
    overlays = [str(tiny.config), "compare.replicates=4", "retrain.steps=2"]
    said = command("headroom", *overlays, "--patterns", 4, "--runs", tmp_path)
    assert said.status == 0, said.err
    folder, out = tmp_path / "tiny-headroom", said.out
    assert "20 of 20 runs to do" in out and not (folder / "searches").exists()
    held = json.loads((folder / "headroom.json").read_text())
    assert sorted(held["patterns"]) == [f"pattern:{i}" for i in range(1, 5)]
    told = [part for part in (folder / "summary.md").read_text().split("\n\n") if part[0] == "*"]
    verdict = f"**{held['verdict']}.**"
    assert "of 4 random patterns" in verdict and f"{verdict}\n" in out
    # It comes first, unless nothing was learned: then that nothing differs says little.
    assert told[0] == verdict or (told[0].startswith("**Nothing was learned") and verdict in told)
    assert held["verdict"] in (folder / "report.html").read_text()
    assert (folder / "figures" / "headroom.svg").is_file()
    more = headroom_study(RunConfig.load(*overlays), 5, folder)
    assert {run.arm for run in more.left()} == {"pattern:5"}


def test_too_few_patterns_are_refused_before_anything_is_loaded(tiny: Tiny, tmp_path: Path) -> None:
    said = command("headroom", tiny.config, "--patterns", 2, "--runs", tmp_path)
    assert said.status == 2 and "at least 4" in said.err
    assert not list(tmp_path.iterdir())
