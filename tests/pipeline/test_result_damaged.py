"""A finished search whose files were damaged: it is refused or read, never believed by half."""

import json
from pathlib import Path

import pytest

from autolora_meta.errors import InputError
from autolora_meta.pipeline.result import SearchResult
from tests.damage import changed, survives


def test_the_number_of_members_is_checked_and_does_not_hang(
    three: SearchResult, tmp_path: Path
) -> None:
    three.save(tmp_path)
    file = tmp_path / "search" / "search.json"
    content = json.loads(file.read_text())
    for members in (1e30, -1, 2**60, 2**50, True, "3"):
        file.write_text(json.dumps(content | {"members": members}))
        with pytest.raises(InputError, match=r"search again|is missing"):
            SearchResult.load(tmp_path)


def test_a_damaged_search_is_refused_or_read(result: SearchResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    for name in ("search/search.json", "metrics.jsonl"):
        text = (tmp_path / name).read_text()
        first, *rest = [text] if name.endswith(".json") else text.splitlines()
        for _, content in changed(json.loads(first)):
            (tmp_path / name).write_text("\n".join([json.dumps(content), *rest, ""]))
            survives(lambda: SearchResult.load(tmp_path).ranks)
        (tmp_path / name).write_text(text)
