"""Answers: what a study asks of its table, the primary contrasts apart from all others."""

from collections.abc import Sequence

from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.studies.contrasts import Contrast, contrasts, corrected
from autolora_meta.studies.labels import value_label
from autolora_meta.studies.questions import EVERY, Primary, Question
from autolora_meta.studies.runs import Runs


def answers(table: Runs) -> list[list[Contrast]]:
    """Return the contrasts of each question of a table.

    The primary ones are of one metric, that of the question or the main one. They are corrected
    among themselves, over the points of the grid; one alone needs no correction. All others, of all
    questions, are secondary: one family of Holm's correction. So the probability that anything is
    claimed where nothing differs is at most 5% for either.
    """
    found = [contrasts(table, one) for one in table.asked]
    places = [(q, i) for q, each in enumerate(found) for i in range(len(each))]
    mine = [(q, i) for q, i in places if q == table.primary.question and _first(table, found[q][i])]
    others = [place for place in places if place not in mine]
    for family in (mine, others):
        judged = corrected([found[q][i] for q, i in family], primary=family is mine)
        for (q, i), contrast in zip(family, judged, strict=True):
            found[q][i] = contrast
    return found


def _first(table: Runs, contrast: Contrast) -> bool:
    """Whether a contrast of the primary question is a primary one."""
    named, asked = table.primary.arms, table.asked[table.primary.question]
    metric = table.metrics[0] if asked.metric in (None, EVERY) else asked.metric
    arms = {contrast.value, contrast.baseline} if named else None
    return contrast.metric == metric and (named is None or set(named) == arms)


def primary_words(asked: Sequence[Question], primary: Primary, metric: str | None = None) -> str:
    """Return what the primary comparison is, for people; empty where nothing is asked.

    Args:
        asked: all questions.
        primary: which of them leads.
        metric: the main one, where it is known already.
    """
    if not asked:
        return ""
    one = asked[primary.question]
    metric = metric if one.metric in (None, EVERY) else one.metric
    where = metric_called(metric).label if metric else "the main metric"
    if primary.arms is None:
        return f"{one.key} against {value_label(one.baseline)} in {where}"
    baseline = one.baseline if one.baseline in primary.arms else primary.arms[1]
    (arm,) = set(primary.arms) - {baseline}
    return f"{arm} against {baseline} in {where}"
