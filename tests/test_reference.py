"""Pages and schemas that are written from the records: current, and right about shipped files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from referencing import Registry, Resource

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.schema import schema
from autolora_meta.foundation.setting import settings
from autolora_meta.hypergradients.methods import METHODS
from autolora_meta.studies.file_schema import RUN, STUDY
from tests.reference import FILES, ROOT

CONFIGS = ROOT / "engine_configs"
SHIPPED = sorted(CONFIGS.rglob("*.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_what_is_written_from_the_records_is_current(name: str) -> None:
    written = (ROOT / name).read_text("utf-8")
    assert written == FILES[name](), f"{name} is old; make reference writes it anew"


@pytest.fixture(scope="module")
def validators() -> dict[str, Any]:
    """A validator for each shipped schema; that of a study reads the other beside it."""
    found = {
        name: json.loads((CONFIGS / "schema" / name).read_text("utf-8")) for name in (RUN, STUDY)
    }
    resources = [(name, Resource.from_contents(made)) for name, made in found.items()]
    registry: Any = Registry().with_resources(resources)
    for made in found.values():
        jsonschema.Draft7Validator.check_schema(made)
    return {name: jsonschema.Draft7Validator({"$ref": name}, registry=registry) for name in found}


def mistakes(validators: dict[str, Any], name: str, content: Any) -> list[str]:
    """Messages about a file's content."""
    return [error.message for error in validators[name].iter_errors(content)]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_shipped_file_names_its_schema_and_is_as_it_says(
    file: Path, validators: dict[str, Any]
) -> None:
    text = file.read_text("utf-8")
    (named,) = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", text, re.M)
    place = (file.parent / named).resolve()
    assert place.is_file() and place.parent == CONFIGS / "schema"
    assert place.name == (STUDY if file.parent.name == "studies" else RUN)
    content = yaml.safe_load(text)
    assert mistakes(validators, place.name, content) == []
    assert mistakes(validators, place.name, {**content, "serach": {}})


# What the records refuse, the schema refuses as well, and takes what they take.
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        (RUN, "search: {outer_steps: 3}", "search: {outer_step: 3}"),
        (RUN, "search: {outer_steps: 3}", "search: {outer_steps: 0}"),
        (RUN, "search: {hypergradient: cg}", "search: {hypergradient: gc}"),
        (
            RUN,
            "search: {hypergradient: {iterations: 3}}",
            "search: {hypergradient: {iteration: 3}}",
        ),
        (
            RUN,
            "search: {hypergradient: {method: cg, iterations: 3}}",
            "search: {hypergradient: {method: darts, iterations: 3}}",
        ),
        (RUN, "ranks: {budget: total-rank:7}", "ranks: {budget: uniform:0}"),
        (RUN, "data: {train_rows: 0.5}", "data: {train_rows: 1.5}"),
        (RUN, "data: {text: 1, evaluation: {name: b}}", "data: {text: true}"),
        (RUN, "compare: {tune: {retrain.warmup: [0, 0.1]}}", "compare: {tune: {lora.k: [2, 4]}}"),
        (RUN, "runtime: {report_to: [tensorboard]}", "runtime: {report_to: tensorboard}"),
        (STUDY, "{name: a, base: quickstart}", "{name: a}"),
        (STUDY, "{name: a, base: [cg, {lora: {k: 2}}]}", "{name: a, base: {lora: {r: 2}}}"),
        (STUDY, "{name: a, base: b, seeds: 3}", "{name: a, base: b, seeds: 0}"),
        (
            STUDY,
            "{name: a, base: b, vary: {search.hypergradient: [cg], lora.k: [2]}}",
            "{name: a, base: b, vary: {lora.k: [0]}}",
        ),
        (
            STUDY,
            "{name: a, base: b, vary: {data.source.train: [x.csv]}}",
            "{name: a, base: b, vary: {lora.kk: [2]}}",
        ),
        (STUDY, "{name: a, base: b, smoke: {seeds: 1}}", "{name: a, base: b, smoke: {seed: 1}}"),
    ],
)
def test_the_schema_takes_what_is_right_and_refuses_what_is_wrong(
    name: str, right: str, wrong: str, validators: dict[str, Any]
) -> None:
    assert mistakes(validators, name, yaml.safe_load(right)) == []
    assert mistakes(validators, name, yaml.safe_load(wrong)) != []


def test_the_page_of_settings_has_each_with_its_default_as_a_run_has_it() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
    told = dict(re.findall(r"^###? (\S+)\n\n\*.* Default: `(.*)`\.\*$", page, re.M))
    values = RunConfig.load({"name": "mine", "model": {}, "data": {}}).model_dump(mode="json")
    found = dict(flat(values))
    assert len(found) > 80
    assert {key: json.loads(told[key]) for key in found if key != "name"} == {
        key: value for key, value in found.items() if key != "name"
    }
    for method in METHODS.values():
        for option in method.option_names:
            assert f"### search.hypergradient.{option}\n" in page


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key -> value, of a configuration written out."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def test_every_setting_says_what_it_takes() -> None:
    for setting in settings(schema(RunConfig)):
        assert setting.description and "any value" not in setting.allowed, setting.key
