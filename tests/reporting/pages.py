"""A study with names that try to be HTML, made by hand: nothing is trained."""

from pathlib import Path

from autolora_meta.reporting.figures import draw_all
from autolora_meta.studies.options import StudyOptions
from autolora_meta.studies.schema import pattern_of
from autolora_meta.studies.table import StudyTable

EVIL = "<script>window.evil = 1</script>"
BUDGETS = {"uniform:1": 1000, "uniform:2": 2000}


def ranks(seed: int, arm: str) -> dict[str, int]:
    """The ranks of a run: layer -> rank."""
    return {"h.0.q": seed % 3, "h.1.q": 2 if arm == "learned" else 1}


def study_table(seeds: int = 4) -> StudyTable:
    """Two sources by two budgets by two arms; `learned` gains 0.1 of accuracy, near enough."""
    rows = [
        {
            "settings": {"data.source": source, "ranks.budget": budget},
            **{"arm": arm, "seed": seed, "id": f"{len(source)}-{size}-{arm}-{seed}"},
            "status": "finished",
            "metrics": {
                "accuracy": 0.5
                + (0.1 + 1e-4 * seed) * (arm == "learned")
                + 0.01 * seed
                + size / 1e5
            },
            **{
                "compared": ["accuracy"],
                "parameters": size,
                "pattern": pattern_of(ranks(seed, arm)),
            },
            "cost": 70 + 150 * (arm == "learned") + seed,
        }
        for source in ("cola", EVIL)
        for budget, size in BUDGETS.items()
        for arm in ("learned", "uniform")
        for seed in range(seeds)
    ]
    rows[1]["metrics"] = {"accuracy": 0.6}
    rows[-1] = {key: rows[-1][key] for key in ("settings", "arm", "seed", "id")}
    rows[-1] |= {"status": "failed", "error": f"InputError: {EVIL}"}
    asked = study_options()
    keys = ("data.source", "ranks.budget", "arm")
    about = asked.asked(), asked.primary(), asked.question
    return StudyTable("mine", keys, tuple(rows), *about)


def study_options() -> StudyOptions:
    """That study."""
    return StudyOptions.model_validate(
        {
            "name": "mine",
            "question": f"Which? {EVIL}",
            "base": "quickstart",
            "vary": {"data.source": ["cola", EVIL], "ranks.budget": list(BUDGETS)},
            "arms": ["learned", "uniform"],
            "seeds": 4,
            "contrasts": [
                {"key": "arm", "baseline": "uniform"},
                {"key": "arm", "baseline": "uniform", "over": ["data.source"]},
            ],
        }
    )


def study_folder(folder: Path) -> Path:
    """The folder of that study, with its figures."""
    folder.mkdir()
    (folder / "study.yaml").write_text(study_options().to_yaml(), encoding="utf-8")
    study_table().save(folder / "table.json")
    draw_all(folder)
    return folder
