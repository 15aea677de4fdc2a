"""Candidates are judged on rows that their adapters did not see."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from datasets import Dataset, DatasetDict

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import Apart, InputError
from autolora_meta.finetuning.lora import layer_costs
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.pipeline import cross_fit as of_candidates
from autolora_meta.pipeline.cross_fit import Candidate, CrossFit, cross_fit
from autolora_meta.pipeline.folds import dealt, fitted_rows, folds_of
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.ranks.pattern import RankPattern
from tests.pipeline.tiny_search import changed
from tests.tiny import tiny_bert, tiny_csv


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    place = tmp_path_factory.mktemp("cross-fit")
    return RunConfig.load(
        {
            "name": "tiny",
            "model": {"name": str(tiny_bert(place / "model", dropout=0.0))},
            "data": {
                "source": str(tiny_csv(place / "rows.csv", 90)),
                "train_rows": 20,
                "validation_rows": 17,
            },
            "lora": {"k": 3, "targets": ["query", "value"]},
            "retrain": {"steps": 5, "batch_size": 8, "learning_rate": 0.02, "eval_batch_size": 4},
            "runtime": {"device": "cpu", "stack": 9},
        }
    )


@pytest.fixture(scope="module")
def prepared(config: RunConfig) -> Prepared:
    given = prepare(config)
    given.model.double()
    return given


def candidates(config: RunConfig, prepared: Prepared) -> list[Candidate]:
    names = target_layers(prepared.model, config.lora.targets)
    costs = layer_costs(prepared.model, names)
    patterns = [RankPattern(names, ranks, costs, 3, 2.0) for ranks in ((1, 1, 1, 1), (0, 3, 0, 2))]
    shorter = config.retrain.model_copy(update={"steps": 3, "weight_decay": 0.5})
    return [
        Candidate("even", patterns[0], config.retrain),
        Candidate("odd", patterns[1], config.retrain),
        Candidate("short", patterns[1], shorter),
    ]


def scored(config: RunConfig, prepared: Prepared, **given: object) -> CrossFit:
    return cross_fit(config, prepared, 0, candidates(config, prepared), folds=3, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(config: RunConfig, prepared: Prepared) -> CrossFit:
    return scored(config, prepared)


def test_one_pass_gives_what_one_at_a_time_gives(
    config: RunConfig, prepared: Prepared, whole: CrossFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert whole.losses.shape == (3, 37) and bool(torch.isfinite(whole.losses).all())
    assert len({round(float(own.mean()), 6) for own in whole.losses}) == 3
    # three folds of 13, 12 and 12 rows in batches of 4
    assert whole.cost.backwards == 3 * (5 + 5 + 3)
    assert whole.cost.forwards == whole.cost.backwards + 3 * (4 + 3 + 3)
    fold = folds_of(prepared, 0, 3)[1]
    alone = scored(changed(config, "runtime.stack=off"), prepared, rows=fold)
    by_four = scored(changed(config, "runtime.stack=2"), prepared, rows=fold)

    def refuse(*given: object, **more: object) -> None:
        raise Apart("rows see each other")

    monkeypatch.setattr(of_candidates, "retrain_together", refuse)
    apart = scored(config, prepared, rows=fold)
    for found in (alone, by_four, apart):
        assert torch.allclose(found.losses[:, fold], whole.losses[:, fold], rtol=0, atol=1e-9)
        assert found.cost == alone.cost
        assert int(torch.isnan(found.losses).sum()) == 3 * (37 - 12)
    assert torch.equal(apart.losses.nan_to_num(), alone.losses.nan_to_num())
    assert alone.cost.backwards == 5 + 5 + 3  # folds without rows to score are not retrained


def test_rows_of_a_fold_are_not_trained_on(
    config: RunConfig, prepared: Prepared, whole: CrossFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, folds = fitted_rows(prepared), folds_of(prepared, 0, 3)
    planted = folds[1][0]
    # The wrong label of one row moves its own loss, and those of the rows of other folds.
    labels = [
        (label + 1) % 3 if i == planted else label for i, label in enumerate(fitted["labels"])
    ]
    wrong = fitted.remove_columns("labels").add_column("labels", labels)  # type: ignore[call-arg]
    cut = DatasetDict({**prepared.rows, "train": wrong, "validation": wrong.select([])})
    monkeypatch.setattr(of_candidates, "folds_of", lambda *given: folds)
    after = scored(config, replace(prepared, rows=cut)).losses
    moved = ~torch.isclose(after, whole.losses, rtol=0, atol=1e-12)
    others = [i for i in folds[1] if i != planted]
    assert not moved[:, others].any()
    assert moved[:, [planted, *folds[0], *folds[2]]].all()


def test_test_rows_are_not_touched(config: RunConfig, prepared: Prepared, whole: CrossFit) -> None:
    nothing = Dataset.from_dict({name: [] for name in prepared.rows["test"].column_names})
    without = replace(prepared, rows=DatasetDict({**prepared.rows, "test": nothing}))
    assert torch.equal(scored(config, without).losses, whole.losses)


def test_a_candidate_that_diverges_has_infinite_losses_and_harms_none(
    config: RunConfig, prepared: Prepared
) -> None:
    wild = {"learning_rate": 1e30, "weight_decay": 1e30, "warmup": 0.0}
    given = candidates(config, prepared)[:2]
    lost = replace(given[0], options=config.retrain.model_copy(update=wild))
    for stack in ("off", "3"):
        own = changed(config, f"runtime.stack={stack}")
        losses = cross_fit(own, prepared, 0, [lost, given[1]], folds=2).losses
        assert bool((losses[0] == math.inf).all()) and bool(torch.isfinite(losses[1]).all())


def test_folds_share_rows_classes_and_groups_out() -> None:
    labels = [0] * 10 + [1] * 7 + [2] * 3
    folds = dealt(labels, range(20), seed=1, count=3)
    assert sorted(i for fold in folds for i in fold) == [*range(20)]
    assert sorted(map(len, folds)) == [6, 7, 7]
    for label, count in Counter(labels).items():
        shares = [sum(labels[i] == label for i in fold) for fold in folds]
        assert sum(shares) == count and max(shares) - min(shares) <= 1
    assert folds == dealt(labels, range(20), seed=1, count=3)
    assert folds != dealt(labels, range(20), seed=2, count=3)
    texts = [i // 3 for i in range(20)]
    together = dealt([0] * 20, texts, seed=0, count=4)
    assert (
        len({(text, f) for f, fold in enumerate(together) for text in (texts[i] for i in fold)})
        == 7
    )
    with pytest.raises(InputError, match="7 groups that stay together, cannot be dealt into 8"):
        dealt([0] * 20, texts, seed=0, count=8)
