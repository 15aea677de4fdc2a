"""What is written from the records, and must be what they say: `python -m tests.reference`."""

from collections.abc import Callable
from pathlib import Path

from autolora_meta.cli.reference import commands_page
from autolora_meta.reporting.reference import settings_page, study_page
from autolora_meta.studies.file_schema import RUN, STUDY, shipped_schemas

ROOT = Path(__file__).parent.parent
FILES: dict[str, Callable[[], str]] = {
    "docs/reference/settings.md": settings_page,
    "docs/reference/study-settings.md": study_page,
    "docs/reference/commands.md": commands_page,
    f"engine_configs/schema/{RUN}": lambda: shipped_schemas()[RUN],
    f"engine_configs/schema/{STUDY}": lambda: shipped_schemas()[STUDY],
}


def main() -> None:
    """Write all of them."""
    for name, text in FILES.items():
        file = ROOT / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text(), encoding="utf-8")
        print(f"written to {name}")


if __name__ == "__main__":
    main()
