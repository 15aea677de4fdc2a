"""Questions: what is asked of a finished table, and which answer was named before the run."""

from typing import Any

from pydantic import Field

from autolora_meta.config.compare import CompareOptions
from autolora_meta.foundation.options import Options

ARM, VARIANT, SEED = "arm", "variant", "seed"
EVERY = "all"  # of the metrics of interest


class Question(Options):
    """One question to the finished table: does a value differ from the baseline?"""

    key: str = Field(
        default=ARM,
        description="What is compared: arm, variant, or a key of `vary`; all else equal.",
    )
    baseline: Any = Field(description="The value of `key` that differences are taken from.")
    values: tuple[Any, ...] | None = Field(
        default=None, min_length=1, description="What is held against it; null: every other value."
    )
    metric: str | None = Field(
        default=None,
        description="Which metric; null: the main one of the task; `all`: each that "
        "compare.metrics names, or that the task compares.",
    )
    over: tuple[str, ...] = Field(
        default=(),
        description="Keys whose values are averaged within each seed, such as a key that names the "
        "data: one sentence for all of them, where otherwise each has its own.",
    )


class Primary(Options):
    """What a study is to show first of all, as it is named before the run."""

    question: int = Field(default=0, description="Which of the study's questions it is of.")
    arms: tuple[str, ...] | None = Field(
        default=None, description="The two arms that it compares; null: all that is compared."
    )
    chosen: str = Field(
        default="learned", description="The arm whose ranks are the study's (ranks.choose)."
    )


def questions_of(compare: CompareOptions, chosen: str = "learned") -> tuple[Question, ...]:
    """Return what a run asks: every arm against the baseline, and the chosen one against every arm.

    Args:
        compare: the arms.
        chosen: the arm whose ranks and adapter the run leaves.

    Raises:
        InputError: `compare.primary` names an arm that is not compared.
    """
    arms, baseline = compare.arms, compare.baseline
    primary = compare.contrast(chosen)
    if primary is None:  # one arm
        return ()
    others = None  # every other
    if compare.headroom:  # random patterns are measured together
        others = tuple(arm for arm in arms if arm != baseline)
    asked = [Question(baseline=baseline, values=others, metric=EVERY)]
    pairs = [(chosen, arm) for arm in arms if arm not in (chosen, baseline)]
    if baseline == chosen:
        pairs = []
    known = [{baseline, arm} for arm in arms] + [set(pair) for pair in pairs]
    if set(primary) not in known:
        pairs.append(primary)
    return (*asked, *(Question(baseline=b, values=(a,), metric=EVERY) for a, b in pairs))
