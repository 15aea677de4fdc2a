"""A finished search whose files were damaged: it is refused or read, never believed by half."""

import json
import random
from pathlib import Path

import pytest

from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.ranks.pattern import RankPattern
from tests.damage import changed, survives


def test_the_number_of_members_is_checked_and_does_not_hang(
    three: SearchResult, tmp_path: Path
) -> None:
    three.save(tmp_path)
    (tmp_path / manifest.FILE).unlink()
    file = tmp_path / "search" / "search.json"
    content = json.loads(file.read_text())
    for members in (1e30, -1, 2**60, 2**50, True, "3"):
        file.write_text(json.dumps(content | {"members": members}))
        with pytest.raises(InputError, match=r"search again|is missing"):
            SearchResult.load(tmp_path)


def test_a_damaged_search_is_refused_or_read(result: SearchResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    (tmp_path / manifest.FILE).unlink()
    for name in ("search/search.json", "metrics.jsonl"):
        text = (tmp_path / name).read_text()
        first, *rest = [text] if name.endswith(".json") else text.splitlines()
        for _, content in changed(json.loads(first)):
            (tmp_path / name).write_text("\n".join([json.dumps(content), *rest, ""]))
            survives(lambda: SearchResult.load(tmp_path).ranks)
        (tmp_path / name).write_text(text)


def test_a_bit_that_flips_is_found_and_its_file_named(
    result: SearchResult, three: SearchResult, tmp_path: Path
) -> None:
    draw = random.Random(0)
    for name, search in (("one", result), ("three", three)):
        folder = tmp_path / name
        search.save(folder)
        assert SearchResult.load(folder).ranks == search.ranks
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            whole = file.read_bytes()
            for _ in range(8):
                flipped = bytearray(whole)
                flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
                file.write_bytes(bytes(flipped))
                if file.name == "ranks.json":
                    with pytest.raises(InputError, match=r"ranks\.json is damaged.*allocate RUN"):
                        RankPattern.load(file)
                elif file.name == manifest.FILE:  # what it is about is whole
                    survives(lambda place=folder: SearchResult.load(place))
                else:
                    with pytest.raises(InputError, match=rf"{file.name} is damaged.*search again"):
                        SearchResult.load(folder)
            file.write_bytes(whole)
    result.under(result.options.changed(budget="uniform:1")).save(tmp_path / "one")
    assert RankPattern.load(tmp_path / "one" / "ranks.json").parameters == 4 * 32
    for place in ("one/ranks.json", "elsewhere.json"):  # as `allocate --output` writes them
        result.allocate(budget="uniform:2").save(tmp_path / place)
        assert RankPattern.load(tmp_path / place).parameters == 8 * 32
