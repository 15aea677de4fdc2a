"""Where the search beats plain LoRA: python -m benchmarks.planted_map [--json FILE].

Planted ranks over rows x noise x spectrum. Each cell compares the shipped settings with the same
search with alpha frozen, under the same read-out, paired over seeds.
"""

import argparse
from pathlib import Path

from autolora_meta.reporting.markdown import table
from autolora_meta.statistics.paired import PairedDifference, paired_difference
from autolora_meta.verification.planted import Regime
from benchmarks.planted_ranks import Row, Setting, run, seeds
from benchmarks.planted_table import means

ROWS, NOISES = (64, 128, 256, 1024), (0.1, 0.3, 1.0)
SPECTRA = {"equal": {}, "decaying": {"strength": 1.5, "decay": 0.35, "floor": 0.3}}
SETTINGS = (Setting("learned"), Setting("frozen", selection="frozen"))
READ_OUTS = ("product", "singular", "contribution")


def cells() -> list[Regime]:
    """Return one regime for each cell, with as many validation rows as training rows."""
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


SCORES = ("spearman", "excess_loss_ratio")
Pair = tuple[list[float], list[float]]  # of learned and of frozen, seed by seed


def pairs(rows: list[Row], importance: str) -> dict[tuple[str, str, str], dict[str, Pair]]:
    """Return (spectrum, rows, noise) -> score -> its values in both arms, under one read-out."""
    found = {(key[0], key[1], *key[-2:]): scores for key, scores in means(rows).items()}
    cell: dict[tuple[str, str, str], dict[str, Pair]] = {}
    for regime in cells():
        arms = [
            found.get((regime.name, arm, importance, "budget")) for arm in ("learned", "frozen")
        ]
        if None not in arms:
            spectrum, count, noise = regime.name.split()
            cell[spectrum, count, noise] = {s: tuple(a[s] for a in arms) for s in SCORES}  # type: ignore
    return cell


def summary(rows: list[Row]) -> str:
    """Return the scores of both arms, and learned minus frozen with its interval, cell by cell."""
    body = []
    for importance in READ_OUTS:
        for cell, scores in pairs(rows, importance).items():
            parts: list[object] = [*cell, importance]
            for learned, frozen in scores.values():
                d = paired_difference(learned, frozen)
                parts += [f"{sum(arm) / d.n:.2f}" for arm in (learned, frozen)]
                parts.append(_interval(d, 2))
            body.append(parts)
    head = ["spectrum", "rows", "noise", "importance"]
    head += ["Spearman", "frozen", "difference", "excess", "frozen", "difference"]
    return table(head, body)


def margins(rows: list[Row], importance: str) -> str:
    """Return learned minus frozen over all cells, and over those of one noise, size or spectrum."""
    found = pairs(rows, importance)
    body = []
    for axis, name in ((None, "all"), (2, "noise"), (1, "rows"), (0, "spectrum")):
        for value in dict.fromkeys("" if axis is None else cell[axis] for cell in found):
            chosen = [s for cell, s in found.items() if axis is None or cell[axis] == value]
            parts: list[object] = [f"{name} {value}".strip()]
            for score in SCORES:
                both = zip(*(cell[score] for cell in chosen), strict=True)
                learned, frozen = ([v for values in arm for v in values] for arm in both)
                d = paired_difference(learned, frozen)
                parts.append(_interval(d, 3))
            body.append([*parts, d.n])
    return table([importance, "Spearman, difference", "excess, difference", "problems"], body)


def _interval(d: PairedDifference, digits: int) -> str:
    mark = " *" if d.conclusive else ""
    return f"{d.mean:+.{digits}f} ({d.low:+.{digits}f} to {d.high:+.{digits}f}){mark}"


def main() -> None:
    """Measure, print the map, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a list of rows to FILE")
    parser.add_argument(
        "--seeds", type=seeds, default="0:6", metavar="A:B", help="problems A to B - 1"
    )
    given = parser.parse_args()
    rows = run(cells(), given.seeds, SETTINGS, given.json)
    print(summary(rows), margins(rows, "product"), "*: the interval leaves out 0", sep="\n\n")


if __name__ == "__main__":
    main()
