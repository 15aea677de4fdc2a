"""What each arm picked of `compare.tune`, in words."""

from collections import Counter

from autolora_meta.studies.labels import words
from autolora_meta.studies.table import StudyTable


def picked(table: StudyTable) -> list[str]:
    """Return a line for each arm and setting: what was picked, and in how many of its runs."""
    found: dict[str, Counter[str]] = {}
    for row in table.finished:
        if row.get("tuned"):
            arm = ", ".join(filter(None, [words(row["settings"]), row["arm"]]))
            found.setdefault(arm, Counter())[row["tuned"]] += 1
    return [
        f"{arm} picked {', '.join(f'{what} in {n}' for what, n in each.most_common())} of "
        f"{each.total()} runs (compare.tune)"
        for arm, each in found.items()
    ]
