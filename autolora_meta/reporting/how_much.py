"""How much rank at all: the choice of a budget of auto, in words and as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from autolora_meta.allocators.budget_choice import BudgetChoice, Tried
from autolora_meta.foundation.cost import plain_steps
from autolora_meta.reporting.document import Picture, Section, Table
from autolora_meta.studies.budgets import choice_of
from autolora_meta.studies.labels import words
from autolora_meta.studies.ledger import STUDY
from autolora_meta.studies.options import read_study
from autolora_meta.studies.plan import plan
from autolora_meta.studies.questions import ARM

HEADER = ("budget", "parameters", "loss", "above the best", "standard error", "")
NAME = "budget"  # of the figures


class Told(NamedTuple):
    """A choice and the setting that it was made for, "" where there is one alone."""

    setting: str
    choice: BudgetChoice


def choices(folder: Path) -> list[Told]:
    """Return the choices of a run or a study, in the order of its plan; none where it has none.

    Raises:
        InputError: a file of one is damaged.
    """
    if not (folder / "budgets").is_dir():
        return []
    found: dict[str, Told] = {}
    for run in plan(read_study(folder / STUDY)):
        if run.choice and run.choice.key not in found and (choice := choice_of(folder, run)):
            settings = {key: value for key, value in run.settings.items() if key != ARM}
            found[run.choice.key] = Told(words(settings) if settings else "", choice)
    return [*found.values()]


def figure_names(told: Sequence[Told]) -> list[str]:
    """Return the names of the figures of choices."""
    return [NAME] if len(told) == 1 else [f"{NAME}-{number}" for number in range(1, 1 + len(told))]


def sentences(choice: BudgetChoice) -> list[str]:
    """Return what was chosen, by what, and who paid for it."""
    taken, best = choice.tried[choice.chosen], choice.tried[choice.best]
    said = f"Of {len(choice.tried)} budgets {taken.name} is chosen, {taken.parameters:,} parameters"
    if taken is best:
        said += ": it has the lowest loss, and no smaller one is within one standard error of it."
    else:
        said += (
            f" ({taken.parameters / best.parameters:.0%} of those of {best.name}, which has the "
            f"lowest loss): it is the smallest within one standard error, {taken.difference:.4f} "
            f"above at a standard error of {taken.standard_error:.4f}."
        )
    if choice.chosen == len(choice.tried) - 1:
        said += (
            " It is the largest of them: every layer has the largest rank that it may have, so "
            "that arms cannot differ, and a larger lora.k may do better still."
        )
    return [
        said,
        f"Each of the {choice.rows:,} training and validation rows of seed {choice.seed} was "
        "scored by adapters that did not see it; test rows were not touched. One choice serves all "
        "arms and replicates.",
        f"It cost {plain_steps(choice.spent.cost):,.0f} plain steps, counted for learned alone: "
        "the other arms get the budget for nothing.",
    ]


def rows(choice: BudgetChoice) -> list[list[str]]:
    """Return the cells of the table, a row for each budget, as `HEADER` says."""
    return [
        [one.name, f"{one.parameters:,}", *_figures(one), _mark(choice, number)]
        for number, one in enumerate(choice.tried)
    ]


def _figures(one: Tried) -> list[str]:
    each = (one.loss, one.difference, one.standard_error)
    return ["no number" if figure is None else f"{figure:.4f}" for figure in each]


def _mark(choice: BudgetChoice, number: int) -> str:
    marks = {"chosen": choice.chosen, "lowest loss": choice.best}
    return ", ".join(name for name, place in marks.items() if place == number)


def sections(folder: Path) -> list[Section]:
    """Return a section for each choice of the page; none where the budget was given."""
    told, found = choices(folder), list[Section]()
    for (setting, choice), name in zip(told, figure_names(told), strict=True):
        caption = (
            "The loss at each budget above that of the best, with one standard error, paired over "
            "rows, against the number of adapter parameters; the choice is filled."
        )
        file = folder / "figures" / f"{name}.svg"
        found.append(
            Section(
                f"How much rank: {setting}" if setting else "How much rank",
                words=sentences(choice),
                pictures=[Picture.read(file, caption)] if file.is_file() else [],
                tables=[Table("Budgets, rising", HEADER, rows(choice))],
            )
        )
    return found
