"""Where the search beats plain LoRA: python -m benchmarks.planted_map [--json FILE].

Planted ranks over rows x noise x spectrum: in each cell the shipped settings against the same
search with alpha frozen, read out the same way, paired over seeds.
"""

import argparse
from pathlib import Path

from autolora_meta.reporting.summary import table
from autolora_meta.statistics import PairedDifference, paired_difference
from autolora_meta.verification.planted import Regime
from benchmarks.planted_ranks import Row, Setting, run, seeds
from benchmarks.planted_table import means

ROWS, NOISES = (64, 128, 256, 1024), (0.1, 0.3, 1.0)
SPECTRA = {"equal": {}, "decaying": {"strength": 1.5, "decay": 0.35, "floor": 0.3}}
SETTINGS = (Setting("learned"), Setting("frozen", selection="frozen"))
READ_OUTS = ("product", "singular", "contribution")


def cells() -> list[Regime]:
    """One regime for each cell; rows are those of training, and as many of validation."""
    return [
        Regime(
            f"{spectrum} {rows} {noise:g}",
            f"{rows} + {rows} rows, noise {noise:g}, {spectrum} singular values",
            train_rows=rows,
            validation_rows=rows,
            noise=noise,
            **settings,
        )
        for spectrum, settings in SPECTRA.items()
        for rows in ROWS
        for noise in NOISES
    ]


def summary(rows: list[Row]) -> str:
    """Scores of both, and learned minus frozen with a 95% interval, cell by cell."""
    found = {(key[0], key[1], *key[-2:]): scores for key, scores in means(rows).items()}
    body = []
    for regime in cells():
        for importance in READ_OUTS:
            learned, frozen = (
                found.get((regime.name, arm, importance, "budget")) for arm in ("learned", "frozen")
            )
            if learned is None or frozen is None:
                continue
            parts: list[object] = [*regime.name.split(), importance]
            for score in ("spearman", "excess_loss_ratio"):
                d = paired_difference(learned[score], frozen[score])
                parts += [f"{sum(s[score]) / d.n:.2f}" for s in (learned, frozen)]
                parts.append(_interval(d))
            body.append(parts)
    head = ["spectrum", "rows", "noise", "importance"]
    head += ["Spearman", "frozen", "difference", "excess", "frozen", "difference"]
    return table(head, body)


def _interval(d: PairedDifference) -> str:
    mark = "*" if d.conclusive else ""
    return f"{d.mean:+.2f} ({d.low:+.2f} to {d.high:+.2f}){mark}"


def main() -> None:
    """Measure, print the map, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a list of rows to FILE")
    parser.add_argument(
        "--seeds", type=seeds, default="0:6", metavar="A:B", help="problems A to B - 1"
    )
    given = parser.parse_args()
    print(summary(run(cells(), given.seeds, SETTINGS, given.json)))
    print("\n*: the interval leaves out 0")


if __name__ == "__main__":
    main()
