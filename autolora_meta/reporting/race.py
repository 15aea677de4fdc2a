"""The race: which way to choose ranks won on held-out rows, in words and as a table."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from autolora_meta.allocators.race import FILE, Outcome, Standing
from autolora_meta.reporting.document import Section, Table
from autolora_meta.studies.labels import words
from autolora_meta.studies.table import StudyTable

ARM = "race"
HEADER = ("candidate", "steps of its last round", "loss above uniform", "standard error")


def races(table: StudyTable, folder: Path) -> dict[str, list[tuple[int, Outcome]]]:
    """Return setting in words, "" of a study of one point -> seed and outcome of each race.

    Raises:
        InputError: a file of one is damaged.
    """
    found: dict[str, list[tuple[int, Outcome]]] = {}
    for row in table.rows:
        place = folder / "runs" / row["id"] / str(row["seed"]) / ARM
        if row["arm"] == ARM and row["status"] == "finished" and (place / FILE).is_file():
            outcome = Outcome.load(place)
            found.setdefault(words(row["settings"]), []).append((row["seed"], outcome))
    return found


def sentences(outcomes: Sequence[Outcome]) -> list[str]:
    """Return who won how often, and what uniform ranks as a winner mean."""
    count, wins = len(outcomes), Counter(outcome.winner for outcome in outcomes)
    if count == 1:
        said = [f"The race was won by the ranks of: {outcomes[0].winner}."]
    else:
        each = ", ".join(f"{name} {n}" for name, n in wins.most_common())
        said = [f"Winners of the {count} races, one a replicate: {each}."]
    if wins["uniform"]:
        said.append(
            "Uniform ranks win where no other candidate is better by one standard error on rows "
            "that its adapters did not see."
        )
    return said


def sections(table: StudyTable, folder: Path) -> list[Section]:
    """Return a section for the races of each setting; none where the arm was not compared."""
    return [
        Section(
            f"The race: {setting}" if setting else "The race",
            words=sentences([outcome for _, outcome in held]),
            folded=[
                Table(
                    f"Candidates, seed {seed}", HEADER, [_row(each) for each in outcome.standings]
                )
                for seed, outcome in held[:1]
            ],
        )
        for setting, held in races(table, folder).items()
    ]


def _row(each: Standing) -> list[str]:
    figures = (each.difference, each.standard_error)
    return [each.name, str(each.steps), *(f"{f:.4f}" if f == f else "no number" for f in figures)]
