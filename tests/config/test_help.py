"""Help of options: every one has it, in one form."""

from collections.abc import Iterator

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.options import Options, section_at
from autolora_meta.studies.options import StudyOptions


def helps(options: type[Options], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, field in options.model_fields.items():
        yield prefix + name, field.description or ""
        if section := section_at(options, [name]):
            yield from helps(section, f"{prefix}{name}.")


def test_every_option_has_help_that_begins_with_a_capital_and_ends_with_a_full_stop() -> None:
    found = dict([*helps(RunConfig), *helps(StudyOptions)])
    assert len(found) > 80
    assert [
        key for key, text in found.items() if not (text[:1].isupper() and text[-1:] == ".")
    ] == []
