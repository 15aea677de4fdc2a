"""`config --explain`: what a setting takes, its default, and its value in a configuration."""

import pytest

from autolora_meta.config.explain import explain
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError


def test_a_setting_is_told_with_its_value_in_a_configuration() -> None:
    config = RunConfig.load("quickstart", "search.outer.learning_rate=0.5")
    first, second, *rest = explain("search.outer.learning_rate", config).splitlines()
    assert first == "search.outer.learning_rate"
    assert second.strip() == "A number above 0. Default: 0.03. Here: 0.5."
    field = type(config.search.outer).model_fields["learning_rate"]
    assert " ".join(line.strip() for line in rest) == field.description
    assert "Here" not in explain("search.outer.learning_rate")


def test_a_section_is_told_with_all_of_its_keys() -> None:
    words = explain("search.outer", RunConfig.load("quickstart"))
    heads = [part.splitlines()[0] for part in words.split("\n\n")]
    keys = ("name", "momentum", "learning_rate", "weight_decay")
    assert heads == ["search.outer", *(f"search.outer.{key}" for key in keys)]


def test_what_a_configuration_does_not_read_is_said() -> None:
    config = RunConfig.load("quickstart", "search.hypergradient=cg")
    assert "Here: not read in this configuration." in explain("ranks.gap", config)
    assert "Here: not read" in explain("search.hypergradient.scheme", config)
    assert "Here: 10." in explain("search.hypergradient.iterations", config)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("serach.outer_steps", "search.outer_steps"),
        ("search.outer_step", "search.outer_steps"),
        ("outer_steps", "search.outer_steps"),
        ("retrain.learning_rte", "retrain.learning_rate"),
        ("search.hypergradient.iteration", "search.hypergradient.iterations"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(InputError, match=f"unknown key '{key}' .did you mean '{nearest}'"):
        explain(key)


def test_a_key_of_another_tool_is_answered_with_what_it_is_called_here() -> None:
    with pytest.raises(InputError, match=r"unknown key 'lora_alpha'; here it is lora\.scale"):
        explain("lora_alpha")
