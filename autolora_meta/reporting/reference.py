"""The page of every setting: docs/reference/settings.md, from the option records."""

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.schema import Node, schema
from autolora_meta.foundation.setting import Setting, settings
from autolora_meta.studies.options import StudyOptions

_HEAD = """# Every setting

`make reference` writes this page from the option records; the same is told on the command line by
`autolora-meta config --explain KEY`, with the value that it has in a configuration.

A configuration is made of overlays, applied left to right: shipped configs by name, YAML files by
path, and `key=value` with the dotted keys below. A later one is laid over an earlier one. What is
not allowed is refused before any work begins, with the nearest key.

An editor that knows YAML schemas completes and checks a file that names one at its head. This
prints the schema of a configuration, and `--schema study` that of a study:

```text
autolora-meta config --schema run > run.json
```

```yaml
# yaml-language-server: $schema=run.json
name: mine
model:
  name: models/my-encoder
data:
  source: reviews.csv
```
"""
_STUDY = """# Settings of a study

`make reference` writes this page from the option records. A study file holds what stands below; the
settings inside of `base`, `variants` and `vary` are [those of a configuration](settings.md). What
studies are for: [Studies](../studies.md).
"""


def settings_page() -> str:
    """Return every setting of a configuration as Markdown, a heading for each."""
    root = schema(RunConfig)
    default = RunConfig.load({"name": "mine", "model": {}, "data": {}})
    whole = f"## Every default as a file\n\n```yaml\n{default.to_yaml()}```\n"
    return "\n".join([_HEAD, *_entries(root), whole])


def study_page() -> str:
    """Return every setting of a study file as Markdown."""
    return "\n".join([_STUDY, *_entries(schema(StudyOptions))])


def _entries(root: Node) -> list[str]:
    """Return an entry for each key; sections, with their keys, after single keys."""
    found = settings(root)
    single = [one for one in found if "." not in one.key and not _is_above(one, found)]
    others = [one for one in found if one not in single]
    return [_entry(one) for one in [*single, *others]]


def _is_above(setting: Setting, others: list[Setting]) -> bool:
    return any(other.key.startswith((f"{setting.key}.", f"{setting.key}[")) for other in others)


def _entry(setting: Setting) -> str:
    """Return a heading, what is allowed, and what it is."""
    level = "##" if setting.section and "." not in setting.key else "###"
    plain_section = setting.allowed == "a section" and not setting.required
    facts = [] if plain_section else [_marked(setting)]
    known = [f"Names: {', '.join(f'`{name}`' for name in setting.known)}."] if setting.known else []
    texts = [f"{level} {setting.key}", *facts, _plain(setting.description), *known]
    return "\n\n".join(texts) + "\n"


def _marked(setting: Setting) -> str:
    """Return the facts of a setting, its default as code."""
    default = f"Default: {setting.default}."
    return f"*{setting.facts.replace(default, f'Default: `{setting.default}`.')}*"


def _plain(text: str) -> str:
    """Return a description in which no sign is taken for Markdown."""
    parts = text.split("`")
    return "`".join(part if i % 2 else part.replace("*", "\\*") for i, part in enumerate(parts))
