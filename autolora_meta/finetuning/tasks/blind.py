"""Blind answers: test metrics that are no better than those of an answer without its input."""

from collections.abc import Iterable, Mapping
from typing import Any

from autolora_meta.finetuning.tasks.metrics import Evaluation

_NONE = 1e-9


def blind_answer(metrics: Mapping[str, float], blind_loss: float | None) -> str | None:
    """Return why these metrics show nothing learned, or None.

    Args:
        metrics: on the test rows; an `Evaluation` tells also of one answer to all rows.
        blind_loss: the least loss of an answer that ignores its input (`Task.blind_loss`); None:
            not known; 0: all rows have the same right answer.

    >>> blind_answer({"cross_entropy": 1.12, "matthews": 0.0}, 1.09)
    'cross-entropy 1.120, no better than the class shares (1.090); Matthews correlation 0 or less'
    """
    found = []
    if isinstance(metrics, Evaluation) and metrics.alike:
        found.append(metrics.alike)
    for name, label, what in (
        ("cross_entropy", "cross-entropy", "the class shares"),
        ("mean_squared_error", "mean squared error", "the mean of the labels"),
    ):
        value = metrics.get(name)
        if value is not None and blind_loss and value >= blind_loss:  # 0: one right answer
            found.append(f"{label} {value:.3f}, no better than {what} ({blind_loss:.3f})")
    for names, label in (
        (("matthews",), "Matthews correlation 0 or less"),
        (("pearson",), "correlation 0 or less"),
        (("entity_f1",), "no entity found"),
        (("bleu", "rouge_l"), "nothing of the references in what it writes"),
    ):
        values = [metrics[name] for name in names if name in metrics]
        if values and all(value < _NONE for value in values):
            found.append(label)
    return "; ".join(found) or None


def blind_arms(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the arms with blind answers.

    Args:
        rows: `arm` and `blind_answer` of each run.

    Returns:
        Arm -> number of blind `runs`, `of` how many, and the `reason` of the first.
    """
    answers: dict[str, list[str | None]] = {}
    for row in rows:
        answers.setdefault(row["arm"], []).append(row.get("blind_answer"))
    found = {}
    for arm, each in answers.items():
        if reasons := [reason for reason in each if reason]:
            found[arm] = {"runs": len(reasons), "of": len(each), "reason": reasons[0]}
    return found


def blind_arms_words(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a warning about the arms that have learned nothing, or ""."""
    if not found:
        return []
    alike: dict[str, list[str]] = {}
    for arm, one in found.items():
        alike.setdefault(f"in {one['runs']} of {one['of']} runs ({one['reason']})", []).append(arm)
    each = [f"{', '.join(arms)} {where}" for where, arms in alike.items()]
    return [
        f"Nothing was learned by {'; '.join(each)}: an answer that ignores its input does as well "
        "on the test rows. Differences between such arms mean nothing. Train for longer "
        "(retrain.steps), at another retrain.learning_rate, or on more rows."
    ]
