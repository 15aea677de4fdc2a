"""Sentences about paired differences: nothing is claimed that is not shown."""

import math

import pytest
from scipy import stats

from autolora_meta.statistics.claims import sentence, shown
from autolora_meta.statistics.paired import (
    PairedDifference,
    paired_difference,
    replicates_needed,
)


def test_nothing_is_said_to_beat_that_is_not_shown_after_the_correction() -> None:
    d = _difference(4.13, 2.14)  # 2.0 to 6.3: alone it is shown
    assert shown(d) and shown(d, 0.04) and not shown(d, 0.06)

    def said(d: PairedDifference, p: float | None) -> str:
        return sentence(d, "learned", "uniform", "accuracy", unit="points", p_corrected=p)

    plain = "learned beats uniform by 4.1 points of accuracy (95% interval 2.0 to 6.3, 5 replicates"
    assert (said(d, None), said(d, 0.04)) == (f"{plain})", f"{plain}, p = 0.04 corrected)")
    assert said(d, 0.06) == (
        "No difference between learned and uniform is shown (+4.1 points of accuracy, "
        "5 replicates, p = 0.06 corrected; 95% interval 2.0 to 6.3)"
    )
    assert "is worse" not in said(d.scaled(-1), 0.06)
    assert not shown(_difference(1.2, 5.7), 0.04)


def _difference(mean: float, half: float, n: int = 5) -> PairedDifference:
    sd = half * math.sqrt(n) / float(stats.t.ppf(0.975, n - 1))
    return PairedDifference(mean, mean - half, mean + half, sd, n, 0.95)


@pytest.mark.parametrize(
    ("difference", "better", "unit", "said"),
    [
        (
            _difference(4.13, 2.14),
            "higher",
            "points",
            "learned beats shuffled by 4.1 points of accuracy "
            "(95% interval 2.0 to 6.3, 5 replicates)",
        ),
        (
            _difference(-0.125, 0.046),
            "lower",
            "",
            "learned beats shuffled by 0.125 of accuracy "
            "(95% interval 0.079 to 0.171, 5 replicates)",
        ),
        (
            _difference(-4.13, 2.14),
            "higher",
            "points",
            "learned is worse than shuffled by 4.1 points of accuracy "
            "(95% interval 2.0 to 6.3, 5 replicates)",
        ),
        (
            _difference(0.0320, 0.0318),  # rounded to two figures the interval would touch 0
            "higher",
            "",
            "learned beats shuffled by 0.0320 of accuracy "
            "(95% interval 0.0002 to 0.0638, 5 replicates)",
        ),
    ],
)
def test_sentence_of_a_difference(
    difference: PairedDifference, better: str, unit: str, said: str
) -> None:
    given = sentence(difference, "learned", "shuffled", "accuracy", better, unit)  # type: ignore[arg-type]
    assert given == said


def test_sentence_without_a_verdict_says_what_it_would_take() -> None:
    d = _difference(1.2, 5.7)
    said = sentence(d, "learned", "uniform", "accuracy", unit="points")
    assert said.startswith(
        "No difference between learned and uniform is shown (+1.2 points of accuracy, "
        f"5 replicates, p = {d.p_test:.2g}; 95% interval -4.5 to 6.9; about "
    )
    assert f"about {replicates_needed(d.sd, 1.2):,} replicates would be needed" in said
    hardly = sentence(_difference(0.01, 5.7), "learned", "uniform", "accuracy", unit="points")
    assert "more than 1,000 replicates would be needed" in hardly


def test_another_unit_keeps_the_verdict() -> None:
    d = paired_difference([0.5, 0.6, 0.7], [0.4, 0.51, 0.59])
    points, turned = d.scaled(100), d.scaled(-1)
    assert (points.mean, points.low) == pytest.approx((100 * d.mean, 100 * d.low))
    assert turned.low == -d.high
    assert turned.high == -d.low
    assert turned.sd == d.sd
    assert d.conclusive and points.conclusive and turned.conclusive
