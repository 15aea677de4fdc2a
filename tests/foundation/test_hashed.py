"""A new option changes no hash where nobody sets it."""

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.options import hashed

LATER = {
    "model": {"quantization", "device_map"},
    "search": {"accumulate", "gradient_checkpointing", "epochs"},
    "retrain": {"accumulate", "gradient_checkpointing", "epochs"},
}


def test_later_options_are_left_out_at_their_default_alone() -> None:
    config = RunConfig.load("quickstart")
    found, whole = hashed(config, {*LATER}), config.model_dump(mode="json", include={*LATER})
    for section, names in LATER.items():
        assert whole[section].keys() - found[section].keys() == names
        assert found[section].items() <= whole[section].items()
    other = RunConfig.load("quickstart", "search.accumulate=2", "retrain.epochs=3")
    assert hashed(other, {"search"}) == {"search": found["search"] | {"accumulate": 2}}
    assert hashed(other)["retrain"]["epochs"] == 3
