"""One line of the soak's page."""

from dataclasses import dataclass, field


@dataclass
class Line:
    """What was tried, how often, and what went wrong.

    Args:
        what: "kill at a random moment".
        tried: how often.
        held: of these, how often the promise held.
        faults: a sentence for each that did not, with what is needed to do it again.
    """

    what: str
    tried: int = 0
    held: int = 0
    faults: list[str] = field(default_factory=list)

    def note(self, fault: str | None) -> None:
        """Count one try; a fault is kept, None says that the promise held."""
        self.tried += 1
        if fault is None:
            self.held += 1
        else:
            self.faults.append(fault)
