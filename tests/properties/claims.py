"""What holds for every input, however odd: an answer or one message, within seconds."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pyarrow as pa
import pyarrow.parquet
import yaml
from hypothesis import HealthCheck
from hypothesis import strategies as st

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import DataOptions, load_rows
from autolora_meta.finetuning.data.files import ENDINGS
from autolora_meta.finetuning.tasks import TASKS, task_class
from autolora_meta.foundation import manifest
from autolora_meta.foundation.plain import refuse_odd
from autolora_meta.foundation.yaml_text import yaml_content
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.studies.options import read_study
from autolora_meta.studies.plan import plan
from tests.end_to_end import Tiny, command
from tests.properties import files
from tests.properties import strategies as odd
from tests.properties.written import BASE, READERS, contents

PATIENCE = 10  # seconds of the processor
_BUSY = 6  # times as long may be waited for it
STATUSES = (0, 2, 3, 130)
# Odd input is large, and a reader that meets it may take its time: `PATIENCE` bounds that.
UNHURRIED = (
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
    HealthCheck.filter_too_much,
)


class Claim(NamedTuple):
    """One claim about all inputs of a kind.

    Args:
        inputs: of the kind.
        check: raises anything but an InputError where the claim breaks. It is given an input and
            an empty folder.
        few: how many inputs `make test` tries.
    """

    inputs: st.SearchStrategy[Any]
    check: Callable[[Any, Path], object]
    few: int = 50

    def holds(self, given: Any, folder: Path) -> None:
        """Check one input, and how long that takes."""
        with _within(PATIENCE), contextlib.suppress(InputError):
            self.check(given, folder)


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Give the body so many seconds of the processor, and more on the clock of a busy machine."""

    def late(*_: object) -> None:
        raise AssertionError(f"no answer within {seconds} s")

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds)}
    timers[signal.SIGALRM] = (signal.ITIMER_REAL, _BUSY * seconds)
    before, start = {number: signal.signal(number, late) for number in timers}, time.process_time()
    for timer, limit in timers.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
    # The alarm may have been taken for a fault of what was read.
    assert time.process_time() - start < seconds, f"no answer within {seconds} s"


def _configuration(overlays: Sequence[Any]) -> None:
    config = RunConfig.load(BASE, *overlays)
    assert RunConfig.load(yaml.safe_load(config.to_yaml())) == config


def _settings(given: dict[str, Any], _: Path) -> None:
    for key, value in given.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        with contextlib.suppress(InputError):
            _configuration([value])


def _yaml(text: str, folder: Path) -> None:
    with contextlib.suppress(InputError):
        refuse_odd(yaml_content(text, "x.yaml"), "x.yaml")
    (folder / "x.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(InputError):
        read_study(folder / "x.yaml")
    _configuration([folder / "x.yaml"])


def _study(changes: Sequence[str], folder: Path) -> None:
    (folder / "study.yaml").write_text(yaml.safe_dump({"name": "x", "base": BASE}))
    options = read_study(folder / "study.yaml", *changes)
    planned = plan(options)
    assert len({run.id for run in planned[:200]}) <= len(planned)
    options.primary()
    (folder / "again.yaml").write_text(options.to_yaml(), encoding="utf-8")
    assert read_study(folder / "again.yaml") == options


def _stored(given: tuple[str, bytes], folder: Path) -> None:
    name, content = given
    (folder / "search").mkdir()
    for other, whole in contents().items():
        if other != manifest.FILE:  # it would find all damage
            (folder / other).write_bytes(whole)
    (folder / name).write_bytes(content)
    READERS[name](folder)


@st.composite
def _damaged_files(draw: st.DrawFn) -> tuple[str, bytes]:
    name = draw(st.sampled_from(sorted(READERS)))
    content = contents()[name]
    if name.endswith(("json", "jsonl")) and draw(st.integers(0, 3)):
        *lines, last = content.splitlines() if name.endswith("jsonl") else [content]
        text = draw(files.damaged_json(yaml.safe_load(last)))
        return name, b"\n".join([*lines, text.encode("utf-8", "surrogatepass"), b""])
    return name, draw(files.damaged_bytes(content))


def _pattern(given: RankPattern, folder: Path) -> None:
    given.save(folder / "ranks.json")
    assert RankPattern.load(folder / "ranks.json") == given


def _arguments(given: dict[str, Any], _: Path) -> None:
    pattern = RankPattern(**given)
    assert RankPattern(**vars(pattern)) == pattern and pattern.parameters >= 0
    pattern.with_ranks(pattern.ranks)


def _data(given: tuple[str, str, bytes, dict[str, Any]], folder: Path) -> None:
    task, ending, content, options = given
    (folder / f"rows{ending}").write_bytes(content)
    kept, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, folder / "cache"
    try:
        kind = task_class(task)
        asked = DataOptions.model_validate({"source": str(folder / f"rows{ending}"), **options})
        rows = load_rows(asked, kind.roles, 0, say=lambda _: None, group=kind.group)
        assert {"train", "validation", "test"} == set(rows) and all(map(len, rows.values()))
    finally:
        datasets.config.HF_DATASETS_CACHE = kept


@st.composite
def _files_of_rows(draw: st.DrawFn) -> tuple[str, str, bytes, dict[str, Any]]:
    ending = draw(st.sampled_from(ENDINGS))
    if ending in (".parquet", ".arrow"):
        content = _binary(draw, ending)
    elif ending in (".json", ".jsonl", ".ndjson"):
        content = draw(files.json_tables).encode("utf-8", "surrogatepass")
    else:
        content = draw(files.table_texts())
    if draw(st.integers(0, 3)) == 0:
        content = draw(files.damaged_bytes(content))
    names = st.sampled_from(["text", "label", "1", "2", "9", "", "\0"])
    columns = st.sampled_from(["text", "label", "tokens", "tags", "target", "group"])
    options = draw(st.dictionaries(columns, names, max_size=2))
    options |= draw(st.sampled_from([{}, {"missing": "drop"}, {"rare": "drop"}, {"rare": "merge"}]))
    return draw(st.sampled_from(sorted(TASKS))), ending, content, options


def _binary(draw: st.DrawFn, ending: str) -> bytes:
    """Return the bytes of nine rows of two columns, of whatever kinds arrow can tell."""
    try:
        table = pa.table({name: pa.array(draw(files.columns)) for name in ("text", "label")})
    except (pa.ArrowException, OverflowError):
        table = pa.table({"text": [f"row {i}" for i in range(9)], "label": list("abcabcabc")})
    sink = pa.BufferOutputStream()
    if ending == ".parquet":
        pyarrow.parquet.write_table(table, sink)
    else:
        form = pa.ipc.new_stream if draw(st.booleans()) else pa.ipc.new_file
        with form(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()


@st.composite
def _pattern_arguments(draw: st.DrawFn) -> dict[str, Any]:
    layers = draw(st.integers(0, 3))
    numbers = st.lists(st.integers(0, 9) | odd.scalars, min_size=layers, max_size=layers + 1)
    names = draw(st.lists(odd.scalars | st.text(max_size=5), min_size=layers, max_size=layers))
    ranks, costs = draw(numbers), draw(numbers)
    both = {"k": draw(st.just(9) | odd.scalars), "scale": draw(st.just(2.0) | odd.scalars)}
    return {"names": tuple(names), "ranks": tuple(ranks), "costs": tuple(costs), **both}


CLAIMS: dict[str, Claim] = {
    "values of a configuration": Claim(odd.settings, _settings, 150),
    "key=value of a configuration": Claim(odd.overrides, lambda o, _: _configuration(o), 150),
    "YAML files": Claim(odd.yaml_texts, _yaml, 100),
    "key=value of a study": Claim(odd.study_changes, _study, 60),
    "files of runs and studies": Claim(_damaged_files(), _stored, 200),
    "files of data": Claim(_files_of_rows(), _data, 120),
    "rank patterns, written and read": Claim(files.patterns(), _pattern),
    "arguments of a rank pattern": Claim(_pattern_arguments(), _arguments, 100),
}


def commands(tiny: Tiny) -> dict[str, Claim]:
    """Return claims about commands on a finished run."""

    def check(arguments: Sequence[str], _: Path) -> None:
        said = command(*arguments)
        assert said.status in STATUSES, said
        assert "Traceback" not in said.err + said.out, said.err

    def search(overrides: Sequence[str], folder: Path) -> None:
        call = ("search", tiny.config, *overrides, "name=tiny", "--runs", folder / "runs")
        said = command(*call)
        assert said.status in STATUSES and "Traceback" not in said.err, said.err
        finished = (folder / "runs" / "tiny" / "search" / "search.json").exists()
        assert finished == (said.status == 0), said.err
        if finished:
            SearchResult.load(folder / "runs" / "tiny")

    run, config = st.just(str(tiny.run)), st.just(str(tiny.config))
    word = st.text(max_size=9).filter(lambda word: not word.startswith("-"))
    calls = (
        st.builds(lambda o: ["config", *o], odd.overrides)
        | st.builds(lambda c, o: ["config", c, *o], config, odd.overrides)
        | st.builds(lambda r, o: ["allocate", r, *o], run, odd.overrides)
        | st.builds(
            lambda r, b, k: ["compare", r, f"--baseline={b}", f"--key={k}"], run, word, word
        )
        | st.builds(lambda w: ["list", w], word)
        | st.builds(
            lambda v, w: [v, w], st.sampled_from(["export", "plot", "compare", "study"]), word
        )
    )
    return {
        "arguments of commands": Claim(calls, check),
        "searches with odd settings": Claim(odd.short_overrides, search, 5),
    }
