"""RuntimeOptions: where and how a run works, none of which changes what it finds."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator

from autolora_meta.errors import unknown
from autolora_meta.foundation.checkpoints import Checkpoints, Every
from autolora_meta.foundation.device import ALLOWED, known_device, usable_device
from autolora_meta.foundation.options import Options
from autolora_meta.foundation.schema import suggesting
from autolora_meta.foundation.tracking import START


class RuntimeOptions(Options):
    """Device, processes, threads and trackers."""

    device: str = Field(default="auto", description=f"{ALLOWED[0].upper()}{ALLOWED[1:]}.")
    workers: int = Field(
        default=0,
        ge=0,
        description="Processes side by side; 0: one for each core of a CPU, one for a GPU.",
    )
    threads: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Threads of each process. Results are the same bytes for the same number.",
    )
    stack: Literal["auto", "off"] | PositiveInt = Field(
        default="auto",
        description="A number of at least 1, auto or off: most searches, or adapters that are "
        "retrained, in one pass over the base. "
        "auto: as many as fit on an accelerator; on a CPU several where a measured trial of a "
        "large study says that it pays. off: one at a time.",
    )
    checkpoint_minutes: float | None = Field(
        default=5.0,
        gt=0,
        description="Minutes of a search or a retraining from one checkpoint to the next, from "
        "which it goes on after a kill; null: not by time.",
    )
    checkpoint_steps: int | None = Field(
        default=None,
        ge=1,
        description="The same in outer steps of a search and steps of a retraining; null: not by "
        "steps.",
    )
    report_to: tuple[str, ...] = Field(
        default=(),
        description=f"Trackers that get the figures of each search and retraining: "
        f"{', '.join(START)}. Each is an extra to install. metrics.jsonl is always written.",
        json_schema_extra=suggesting(lambda: START),
    )

    @property
    def checkpoints(self) -> Every:
        """How often long work is saved."""
        return Every(self.checkpoint_minutes, self.checkpoint_steps)

    def kept_in(self, folder: str | Path | None) -> Checkpoints | None:
        """Return the checkpoints of long work in a folder; of None: it is not saved."""
        return Checkpoints(Path(folder), self.checkpoints) if folder else None

    @property
    def resolved_device(self) -> str:
        """The device that the work runs on.

        Raises:
            InputError: this machine does not have it.
        """
        return usable_device(self.device)

    @field_validator("stack", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # which YAML reads where somebody writes off

    @field_validator("report_to")
    @classmethod
    def _known_tracker(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in START:
                raise ValueError(unknown("tracker", name, START))
        if len(set(value)) < len(value):
            raise ValueError(f"[{', '.join(value)}] names one twice; name each once")
        return value

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        return known_device(value)
