"""The base of every wing's options: frozen, and closed to keys that nobody reads."""

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """A section of a run's configuration. Unknown keys are refused; fields carry their own help."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
