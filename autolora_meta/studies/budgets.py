"""Budgets of auto: where the choice of a study stands, and the runs by what it says."""

from pathlib import Path

from autolora_meta.allocators.budget_choice import BudgetChoice
from autolora_meta.config.run import RunConfig
from autolora_meta.studies.plan import Choice, Planned


def choice_file(folder: Path, choice: Choice) -> Path:
    """Return the file that a choice is kept in.

    Args:
        folder: of the study.
        choice: of a run (`Planned.choice`).
    """
    return folder / "budgets" / f"{choice.key}.json"


def choice_of(folder: Path, run: Planned) -> BudgetChoice | None:
    """Return how the budget of a run was chosen; None: it is given, or not chosen yet.

    Raises:
        InputError: the file of the choice is damaged.
    """
    file = choice_file(folder, run.choice) if run.choice else None
    return BudgetChoice.load(file) if file and file.is_file() else None


def decided(config: RunConfig, choice: BudgetChoice | None) -> RunConfig:
    """Return a configuration at the budget that was chosen for it, if one was."""
    return config.at_budget(choice.budget) if choice else config
