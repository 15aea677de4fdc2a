"""What learned weights of rows did, beside their controls, in words and in a table."""

import statistics
from collections.abc import Sequence

from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.reporting.markdown import table
from autolora_meta.statistics.claims import sentence
from autolora_meta.statistics.paired import holm, paired_difference
from autolora_meta.studies.weighing import ARMS, WEIGHTED, Weighed


def weighed_words(found: Sequence[Weighed]) -> str:
    """Return a table of the arms, the claims that hold, and how well weights tell wrong labels.

    Claims are about the first metric, `weighted` minus each control, paired over replicates and
    corrected for their number after Holm.

    Args:
        found: at least one replicate.
    """
    parts = [_means(found), *_claims(found)]
    learned = [one["auc"] for one in found if one["auc"] is not None]
    start = [one["auc_of_start"] for one in found if one["auc_of_start"] is not None]
    if learned and start:
        parts.append(
            "Area under the curve of low weights against wrong labels (0.5 says nothing, 1 tells "
            f"all): {_mean(learned)}; of the weights that the search started from: {_mean(start)}."
        )
    steps = statistics.fmean(one["plain_steps"] for one in found)
    parts.append(f"Learning the weights took {steps:.0f} plain steps a replicate.")
    return "\n\n".join(parts)


def _means(found: Sequence[Weighed]) -> str:
    arms, metrics = list(found[0]["metrics"]), _metrics(found)
    rows = [
        [
            arm,
            *(_mean([one["metrics"][arm][metric] for one in found]) for metric in metrics),
            ARMS[arm],
        ]
        for arm in arms
    ]
    return table(["arm", *metrics, "trained on"], rows)


def _metrics(found: Sequence[Weighed]) -> list[str]:
    return list(found[0]["metrics"][WEIGHTED])


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def _claims(found: Sequence[Weighed]) -> list[str]:
    name = _metrics(found)[0]
    metric = metric_called(name)
    values = {arm: [one["metrics"][arm][name] for one in found] for arm in found[0]["metrics"]}
    controls = [arm for arm in values if arm != WEIGHTED]
    differences = [
        paired_difference(values[WEIGHTED], values[arm]).scaled(metric.factor) for arm in controls
    ]
    corrected = holm([difference.p_test for difference in differences])
    return [
        "\n".join(
            "- " + sentence(d, WEIGHTED, arm, metric.label, metric.better, metric.unit, p)
            for arm, d, p in zip(controls, differences, corrected, strict=True)
        )
    ]
