"""Families of models: one record each, and their way through the product."""

from tests.families.decoders import DECODERS
from tests.families.encoder_decoders import ENCODER_DECODERS
from tests.families.encoders import ENCODERS
from tests.families.family import Family
from tests.families.mixtures import MIXTURES
from tests.families.pictures import PICTURES
from tests.families.recurrent import RECURRENT
from tests.families.sounds import SOUNDS

KINDS: dict[str, dict[str, Family]] = {
    "Encoders": ENCODERS,
    "Decoders": DECODERS,
    "Mixtures of experts": MIXTURES,
    "State-space models and hybrids": RECURRENT,
    "Encoder-decoders": ENCODER_DECODERS,
    "Pictures": PICTURES,
    "Sounds": SOUNDS,
}
ALL = {name: family for kind in KINDS.values() for name, family in kind.items()}
# The few that every run of the tests goes through.
FAMILIES = {name: family for name, family in ALL.items() if family.default}
