"""Verify: accuracy rows on three small problems and, if asked for, on a model of your own."""

from collections.abc import Callable, Sequence

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.randomness import seed_everything
from autolora_meta.verification.betty_rows import NAMES, betty_accuracy
from autolora_meta.verification.case import Case
from autolora_meta.verification.measure import AccuracyRow, accuracy
from autolora_meta.verification.model import model_case, under_bf16
from autolora_meta.verification.quadratic import quadratic
from autolora_meta.verification.ridge import ridge
from autolora_meta.verification.transformer import transformer

CONDITIONS = (10.0, 1e3)
DROPOUTS = (0.0, 0.1)


def verify(
    config: RunConfig | None = None, say: Callable[[str], None] = lambda text: None
) -> list[AccuracyRow]:
    """Compare every hypergradient method with its own defining formula.

    Args:
        config: a configuration whose model and data are measured too, in float32 and under bf16
            autocast; None: the small problems in float64 alone, which take a few seconds.
        say: told which case is measured.

    Returns:
        A row for each method, betty's included, on each problem.

    Example:
        >>> rows = verify(RunConfig.load("quickstart"))           # doctest: +SKIP
        >>> max(row.relative_error for row in rows if row.method == "one_step")  # doctest: +SKIP
    """
    rows: list[AccuracyRow] = []

    def measure(label: str, case: Case, betty: Sequence[str] = NAMES) -> None:
        say(label)
        rows.extend([*accuracy(case), *betty_accuracy(case, betty)])

    seed_everything(0)
    measure("ridge regression", ridge()[0])
    for condition in CONDITIONS:
        measure(f"quadratic, condition {condition:g}", quadratic(condition))
    for dropout in DROPOUTS:
        with transformer(dropout) as case:
            measure(f"transformer, dropout {dropout:g}", case)
    if config is not None:
        with model_case(config) as case:
            measure("your model, float32", case)
            measure("your model, bf16 autocast", under_bf16(case), ("darts",))
    return rows
