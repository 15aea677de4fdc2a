"""How many adapters were trained at a time, in a sentence."""

import pytest

from autolora_meta.reporting.at_once import trained_at_once
from autolora_meta.studies.runs import Runs


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([None, None], None),  # a table of an older version
        ([1, 1], "The adapters were retrained one at a time."),
        ([8, 8], "Up to 8 adapters were retrained in one pass, and share its seconds."),
        (
            [1, 3, 3, 8, None],
            "Up to 8 adapters were retrained in one pass, 1 of 4 by themselves, and share its "
            "seconds.",
        ),
    ],
)
def test_the_sentence(sizes: list[int | None], said: str | None) -> None:
    rows = [
        {"id": str(number), "status": "finished"} | ({"stack": size} if size else {})
        for number, size in enumerate(sizes)
    ]
    assert trained_at_once(Runs("study", ("arm",), tuple(rows))) == said
