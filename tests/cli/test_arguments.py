"""How a command ends."""

from typing import Any

import pytest
import typer

from autolora_meta.cli.arguments import end_with


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        (["InputError: a budget is too small"], 1),
        (["InputError: a budget", "NotFinite: the loss is nan"], 3),
        (["what it needs failed: OutOfMemory: cpu has too little memory"], 3),
    ],
)
def test_a_run_whose_jobs_failed_says_how(errors: list[str], status: int) -> None:
    failed: list[dict[str, Any]] = [{"error": error} for error in errors]
    with pytest.raises(typer.Exit) as ended:
        end_with(failed)
    assert ended.value.exit_code == status


def test_a_run_without_failures_ends_well() -> None:
    end_with([])
