"""Headroom on the page: the sentence that stands first, and a section of its own."""

from collections.abc import Sequence
from pathlib import Path

from autolora_meta.reporting.document import Section, Table
from autolora_meta.reporting.sections import pictures
from autolora_meta.studies.headroom import Measured


def first_words(room: Measured | None) -> list[str]:
    """Return what is said before all else: that nothing is to be won, where that is so.

    Where a run compares nothing else, its verdict comes first whatever it is.
    """
    return [f"{room.verdict}."] if room is not None and (room.found.nil or room.alone) else []


def around(room: Measured | None, warned: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the first words that stand before the warnings of a run, and those that stand after.

    Where nothing was learned, that nothing differs says nothing of ranks: the warning comes first.
    """
    words = first_words(room)
    blind = any(said.startswith("Nothing was learned") for said in warned)
    return ([], words) if blind else (words, [])


def headroom_sections(room: Measured | None, folder: Path) -> list[Section]:
    """Return what random patterns show; empty where none were retrained."""
    if room is None:
        return []
    gain = room.uniform - room.losses  # (n, R)
    caption = (
        f"{room.called.title}: what random patterns gain over uniform ranks, beside what one "
        "pattern varies over replicates."
    )
    header = ["pattern", "mean gain over uniform", *(f"seed {seed}" for seed in room.seeds)]
    rows = [
        [arm, f"{each.mean():.4g}", *(f"{x:.4g}" for x in each)]
        for arm, each in zip(room.arms, gain, strict=True)
    ]
    unit = f", in {room.called.unit}" if room.called.unit else ""
    table = Table(
        f"Gain of each pattern over uniform ranks in the same replicate{unit}", header, rows
    )
    return [
        Section(
            "Headroom: what ranks can change here",
            points=[f"{said}." for said in (room.verdict, *room.sentences)],
            pictures=pictures(folder, {"headroom": caption}),
            folded=[table],
        )
    ]
