"""`autolora-meta config`: what it prints of a setting, and how it ends."""

from typer.testing import CliRunner

from autolora_meta.cli.main import app
from tests.reference import ROOT


def test_a_setting_is_explained_and_an_unknown_one_ends_with_2() -> None:
    told = CliRunner().invoke(app, ["config", "quickstart", "lora.k=3", "--explain", "lora.k"])
    assert told.exit_code == 0 and "Default: 8. Here: 3." in told.output
    told = CliRunner().invoke(app, ["config", "--explain", "lora.kk"])
    assert told.exit_code == 2 and "did you mean 'lora.k'?" in told.output


def test_the_schema_that_is_printed_is_the_shipped_one() -> None:
    told = CliRunner().invoke(app, ["config", "--schema", "study"])
    assert told.output == (ROOT / "engine_configs/schema/study.json").read_text("utf-8")
    told = CliRunner().invoke(app, ["config", "quickstart", "--schema", "study"])
    assert told.exit_code == 2 and "give it alone" in told.output


def test_without_a_configuration_it_says_what_to_give() -> None:
    told = CliRunner().invoke(app, ["config"])
    assert told.exit_code == 2 and "give overlays, such as quickstart" in told.output
