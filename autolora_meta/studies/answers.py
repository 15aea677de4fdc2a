"""Answers: what a study asks of its table, the primary contrasts apart from all others."""

from dataclasses import dataclass

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.studies.contrasts import Contrast, corrected
from autolora_meta.studies.options import ARM, StudyOptions
from autolora_meta.studies.plan import value_label
from autolora_meta.studies.table import StudyTable


@dataclass(frozen=True)
class Primary:
    """What a study is to show first of all, as it is named before the run.

    Args:
        question: which of `StudyOptions.asked` it is of.
        arms: the two arms that it compares; None: all that the question compares.
    """

    question: int
    arms: frozenset[str] | None

    def includes(self, contrast: Contrast) -> bool:
        """Whether a contrast of the question is a primary one."""
        return self.arms is None or self.arms == {contrast.value, contrast.baseline}


def primary(options: StudyOptions) -> Primary:
    """The primary comparison of a study.

    It is that of `compare.primary`, by default of learned against the baseline, in the first
    question that asks for these arms. Where none does, it is the first question as a whole.

    Raises:
        InputError: `compare.primary` of the base names what no question asks for.
    """
    compare = RunConfig.load(*options.base).compare
    named, metric = compare.primary.contrast, compare.primary.metric
    arms = named or ("learned", compare.baseline)
    asked = options.asked()
    for number, one in enumerate(asked):
        fits = metric is None or one.metric in (None, metric)
        if one.key == ARM and one.baseline in arms and set(arms) <= set(options.arms) and fits:
            return Primary(number, frozenset(arms))
    if named is not None:
        raise InputError(
            f"compare.primary.contrast names {' and '.join(named)}, and no question of this study "
            f"compares them; its arms: {', '.join(options.arms)}; give `arms` both, and "
            "`contrasts`, where there are some, a question with `key: arm` and one of them as the "
            "baseline"
        )
    return Primary(0, None)


def answers(options: StudyOptions, table: StudyTable) -> list[list[Contrast]]:
    """The contrasts of each question of a study.

    The primary ones are corrected among themselves, over the points of the grid; one alone needs
    no correction. All others, of all questions, are secondary: one family of Holm's correction. So
    the probability that anything is claimed where nothing differs is at most 5% for either.
    """
    found = [
        table.compare(one.key, baseline=one.baseline, metric=one.metric, over=one.over)
        for one in options.asked()
    ]
    first = primary(options)
    places = [(q, i) for q, contrasts in enumerate(found) for i in range(len(contrasts))]
    mine = [(q, i) for q, i in places if q == first.question and first.includes(found[q][i])]
    others = [place for place in places if place not in mine]
    for family in (mine, others):
        judged = corrected([found[q][i] for q, i in family], primary=family is mine)
        for (q, i), contrast in zip(family, judged, strict=True):
            found[q][i] = contrast
    return found


def primary_words(options: StudyOptions) -> str:
    """What the primary comparison is, for people; empty where nothing is asked."""
    if not (asked := options.asked()):
        return ""
    first = primary(options)
    one = asked[first.question]
    against = value_label(one.baseline)
    metric = f" in {metric_called(one.metric).label}" if one.metric else " in the main metric"
    if first.arms is None:
        return f"{one.key} against {against}{metric}"
    (arm,) = first.arms - {one.baseline}
    return f"{arm} against {against}{metric}"
