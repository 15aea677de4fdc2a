"""Every family ends as its record says, and as docs/limits.md says."""

from pathlib import Path

import pytest

from autolora_meta import RankPattern, RunConfig, retrain
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from tests.families import ALL, way
from tests.families.table import rows, settings_of
from tests.families.way import TASKS, arrival

# One of each kind, in every run of the tests.
FEW = ("roberta", "mixtral", "lfm2", "bart", "resnet, its convolutions", "wav2vec2")
EACH = [pytest.param(name, marks=() if name in FEW else (pytest.mark.families,)) for name in ALL]


@pytest.mark.filterwarnings("default")  # what transformers says of single families
@pytest.mark.parametrize("name", EACH)
def test_ranks_and_answers_of_a_family_come_back_from_disk(name: str, tmp_path: Path) -> None:
    family = ALL[name]
    arrived = arrival(family, tmp_path)
    assert arrived.layers == family.layers
    assert family.refused in arrived.refused
    assert bool(family.refused) == bool(arrived.refused)


def test_an_adapter_of_other_ranks_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned(config: RunConfig, ranks: RankPattern, prepared: Prepared) -> RetrainResult:
        first, *others = ranks.ranks
        return retrain(config, ranks.with_ranks([first % ranks.k + 1, *others]), prepared=prepared)

    monkeypatch.setattr(way, "retrain", turned)
    with pytest.raises(way.Wrong, match="ranks asked"):
        way.arrival(ALL["roberta"], tmp_path)


def test_the_table_says_what_the_records_say() -> None:
    table = rows()
    assert list(table) == list(ALL)
    for name, family in ALL.items():
        row = table[name]
        assert (row.task, row.settings) == (TASKS[family.task], settings_of(family)), name
        assert row.layers == family.layers, name
        assert row.verdict.startswith("refused: " if family.refused else "works"), name
        assert family.refused in row.verdict, name
