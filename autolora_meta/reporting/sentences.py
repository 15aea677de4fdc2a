"""Answer: the sentences of a study, the primary one first, the others by what they compare."""

from collections.abc import Sequence
from dataclasses import dataclass

from autolora_meta.statistics.paired import MIN_REPLICATES
from autolora_meta.studies.answers import answers, primary_words
from autolora_meta.studies.contrasts import Contrast
from autolora_meta.studies.table import StudyTable

_SHOWN = 3  # sentences of a kind in the answer; all of them follow below it


@dataclass(frozen=True)
class Group:
    """Contrasts that stand together.

    Args:
        heading: what they are, and how they are corrected.
        key: what they compare; empty of the primary ones.
        contrasts: primary, or all secondary ones of a key.
    """

    heading: str
    key: str
    contrasts: tuple[Contrast, ...]

    @property
    def sentences(self) -> list[str]:
        """What may be said, each once: arms with the same ranks are so in every metric."""
        return list(dict.fromkeys(contrast.sentence for contrast in self.contrasts))


def groups(table: StudyTable) -> list[Group]:
    """Return the primary contrasts of a study, then the secondary ones of each key."""
    found = [contrast for each in answers(table) for contrast in each]
    primary = tuple(contrast for contrast in found if contrast.primary)
    secondary = [contrast for contrast in found if not contrast.primary]
    made = []
    if primary:
        named = primary_words(table.asked, table.primary, primary[0].metric)
        family = _among(primary)
        made.append(
            Group(f"Primary comparison, named before the run: {named}{family}", "", primary)
        )
    keys = list(dict.fromkeys(contrast.key for contrast in secondary))
    for key in keys:
        of = f" of {key}" if len({contrast.key for contrast in found}) > 1 else ", all others"
        mine = tuple(contrast for contrast in secondary if contrast.key == key)
        made.append(Group(f"Secondary comparisons{of}{_among(mine)}", key, mine))
    return made


def _among(contrasts: Sequence[Contrast]) -> str:
    family = contrasts[0].family
    return f", corrected together for their number ({family}, by Holm)" if family > 1 else ""


def answer(table: StudyTable) -> str:
    """Return what is shown, the primary comparisons first; the first few of it where it is much.

    Where two questions ask for the same runs, the second time is not told.
    """
    once: dict[object, Contrast] = {}
    for group in groups(table):
        for contrast in group.contrasts:
            once.setdefault((contrast.metric, contrast.runs), contrast)
    contrasts = list(once.values())
    if not contrasts:
        return "There is nothing to compare."
    if len(contrasts) == 1:
        return f"{contrasts[0].sentence}."
    most = max(contrast.difference.n for contrast in contrasts)
    primary = [contrast for contrast in contrasts if contrast.primary]
    secondary = contrasts[len(primary) :]
    if most < MIN_REPLICATES and len(primary) != 1:
        return (
            f"No claim on any of {len(contrasts)} comparisons: {most} "
            f"replicate{'s' * (most > 1)}, and a claim needs at least {MIN_REPLICATES}."
        )
    if most < MIN_REPLICATES:
        return f"{primary[0].sentence}."
    if len(primary) == 1:
        return f"{primary[0].sentence}." + _shown(secondary, "secondary")
    return (_shown(primary, "primary") + _shown(secondary, "secondary")).lstrip()


def _shown(contrasts: Sequence[Contrast], kind: str) -> str:
    """Return what is shown by contrasts that are corrected together."""
    if not contrasts:
        return ""
    among = f"{len(contrasts)} {kind} comparison{'s' * (len(contrasts) > 1)}"
    held = [contrast.sentence for contrast in contrasts if contrast.holds]
    if not held:
        return f" None of {among} shows a difference."
    more = f" And {len(held) - _SHOWN} more, below." if len(held) > _SHOWN else ""
    rest = len(contrasts) - len(held)
    none = f" Of {among} {rest} show{'s' * (rest == 1)} no difference." if rest else ""
    return f" {kind.capitalize()}: {'. '.join(held[:_SHOWN])}.{more}{none}"
