"""How many adapters a study trained in one pass, in a sentence."""

from collections import Counter

from autolora_meta.studies.runs import Runs


def trained_at_once(found: Runs) -> str | None:
    """Return how many adapters were trained at a time; None where that is not known.

    Args:
        found: the runs of a study.
    """
    sizes = {row["id"]: row["stack"] for row in found.finished if "stack" in row}
    counts = Counter(sizes.values())
    if not counts:
        return None
    if counts.keys() == {1}:
        return "The adapters were retrained one at a time."
    most = max(counts)
    alone = f", {counts[1]} of {len(sizes)} by themselves" if counts[1] else ""
    return f"Up to {most} adapters were retrained in one pass{alone}, and share its seconds."
