"""The page of a run and of a study: what it says, what it keeps out, and a browser's view of it."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest
from autolora_meta.foundation.environment import environment
from autolora_meta.foundation.json_files import read_rows
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.document import Code, Document, Picture, Section, Table
from autolora_meta.reporting.figures import draw_all
from autolora_meta.reporting.page import document, page
from autolora_meta.reporting.ranked import ranks_by_value, read_ranked
from autolora_meta.reporting.summary import write_summary
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.questions import Question
from autolora_meta.studies.table import StudyTable
from tests.end_to_end import Tiny, command
from tests.reporting.chromium import browser, find_chromium
from tests.reporting.pages import EVIL, ranks, study_folder, study_table

CHROMIUM = find_chromium()


class _Found(HTMLParser):
    """Tags and attributes of a page, and the text outside of them."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study_folder(tmp_path_factory.mktemp("page") / "mine")


@pytest.fixture(scope="module")
def run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run whose adapter has a class that tries to be HTML."""
    folder = tmp_path_factory.mktemp("page") / "tiny"
    shutil.copytree(tiny.run, folder)
    card = folder / "adapter" / "README.md"
    with manifest.sealing_again(card):
        card.write_text(card.read_text().replace('"animal"', f'"{EVIL}"'), encoding="utf-8")
    return folder


def _whole(folder: Path) -> _Found:
    """The page of a folder, which loads nothing and holds one script, its own."""
    content = page(folder).read_text(encoding="utf-8")
    found = _Found(content)
    assert found.tags.count("script") == 1 and EVIL not in content
    assert not [a for a in found.addresses if not a.startswith(("data:", "#"))]
    return found


def test_the_page_of_a_run_answers_and_tells_how_to_go_on(run: Path) -> None:
    found = _whole(run)
    assert EVIL in found.text  # as text, in the lines that load the adapter
    for part in (
        "Do LoRA ranks learned for model on rows.csv do better than uniform ones with the same",
        "no claim: learned minus uniform is",  # two replicates
        "AutoModelForSequenceClassification.from_pretrained",
        "autolora-meta run config.yaml name=tiny-again",
        "outer_steps: 3",
        f"{environment()['torch']}",
    ):
        assert part in found.text, part
    assert found.tags.count("img") == len(list((run / "figures").glob("*.svg")))


def test_the_page_of_a_run_has_its_classes_and_what_was_said_of_the_rows(run: Path) -> None:
    found = _whole(run)
    assert "train 32 rows, validation 32 rows, test 86 rows" in found.text
    assert "How often each class, or tag, stands in each split" in found.text
    for row in ("animal101129", "colour111029", "number111128"):
        assert row in re.sub(r"\s", "", found.text), row


def test_the_page_of_a_study_leads_with_what_holds(study: Path) -> None:
    found = _whole(study)
    for part in (
        f"Which? {EVIL}",
        "learned beats uniform by 1",
        "Secondary comparisons",
        "All settings",
        "What failed",
        f"InputError: {EVIL}",
        "autolora-meta study study.yaml name=mine-again",
        "autolora-meta retrain runs/4-1000-learned-0 --ranks",
        "The environment was not recorded.",
    ):
        assert part in found.text, part
    assert found.tags.count("img") == 4


def test_what_two_questions_ask_for_is_told_once(tmp_path: Path) -> None:
    folder = study_folder(tmp_path / "mine")
    asked = tuple(Question(baseline=baseline) for baseline in ("learned", "uniform"))
    table = replace(study_table(), asked=asked)
    table.save(folder / "table.json")
    answer = document(folder).answer
    assert "uniform is worse than learned by" in answer and "learned beats" not in answer
    assert len(table.compare("arm", baseline="learned")) == 4 and "8 comparisons" not in answer


def test_the_answer_says_what_stands_behind_it(tmp_path: Path) -> None:
    folder, table = study_folder(tmp_path / "mine"), study_table(seeds=2)
    blind = [row | {"blind": True} if row["arm"] == "learned" else row for row in table.rows]
    replace(table, rows=tuple(blind)).save(folder / "table.json")
    draw_all(folder)
    assert document(folder).answer == (
        "No claim on any of 6 comparisons: 2 replicates, and a claim needs at least 3. "
        "Left out, because they failed: 1 of 16 runs. "
        "Of a search that had learned next to nothing (see below): 8 of 16 runs."
    )


def test_warnings_stand_before_any_difference(tmp_path: Path) -> None:
    folder, table = study_folder(tmp_path / "mine"), study_table()
    reason = "Matthews correlation 0"
    blind = [
        row | {"blind_answer": reason} if row["arm"] == "uniform" else row for row in table.rows
    ]
    replace(table, rows=tuple(blind)).save(folder / "table.json")
    for seeds in ([0, 1], [0, 1], [0, 1, 2, 3]):  # the second time nothing was added
        Ledger(folder).looked(seeds, "learned against uniform")
    answer, words = document(folder).answer, write_summary(folder)
    assert answer.startswith("Nothing was learned by uniform in 15 of 15 runs (Matthews")
    for told in (answer, words):
        grew = told.index("Seeds were added after results had been looked at (2, then 4)")
        assert told.index("Nothing was learned by uniform") < grew < told.index("beats")
    Ledger(folder).looked([0, 2], "learned against uniform")  # chosen after a look
    assert "looked at: 1, 3 had results and are left out here" in document(folder).answer
    Ledger(folder).looked([0, 2], "learned against eva")
    changed = "was changed after results had been looked at (first learned against uniform)"
    assert changed in document(folder).answer


def test_commands_of_a_page_hold_where_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    found = _Found(page(study_folder(Path("runs/mine"))).read_text(encoding="utf-8"))
    assert "autolora-meta study runs/mine/study.yaml name=mine-again" in found.text
    assert "autolora-meta retrain runs/mine/runs/4-1000-learned-0 --ranks runs/mine/" in found.text
    assert 'Study.load("runs/mine/study.yaml"' in found.text and str(tmp_path) not in found.text


def test_the_page_of_a_study_says_what_choosing_ranks_took_and_shows_them(tmp_path: Path) -> None:
    folder, table = study_folder(tmp_path / "mine"), study_table()
    for row in table.finished:
        if row["arm"] == "learned":
            took = {"allocation_seconds": 3.0 + row["seed"], "peak_memory": 5 << 20, "seconds": 9}
            Ledger(folder).time({"job": row["id"]} | took)
    assert set(StudyTable.load(folder).to_pandas()["peak_memory"].dropna()) == {5 << 20}
    for row in table.finished:
        place = folder / "runs" / row["id"] / str(row["seed"]) / row["arm"]
        place.mkdir(parents=True)
        mine = ranks(row["seed"], row["arm"])
        pattern = RankPattern(tuple(mine), tuple(mine.values()), (8, 8), 2, 1.0)
        pattern.save(place / "ranks.json")
    draw_all(folder)
    sections = {section.heading: section for section in document(folder).sections}
    assert sections["What it cost"].tables[0].rows == [["learned", "4.5", "9.0", "5"]]
    spread, _, mean = sections["Ranks"].pictures
    assert mean.caption.endswith(
        "for each value of arm (data.source cola, ranks.budget uniform:1)."
    )
    assert "over the 4 seeds: mine, data.source cola" in spread.caption
    _, by_arm = ranks_by_value(table, folder, "arm")
    assert {arm: len(patterns) for arm, patterns in by_arm.items()} == {"learned": 4, "uniform": 4}
    ranked = read_ranked(folder)
    assert [pattern.ranks for pattern in ranked.searches] == [(0, 2), (1, 2), (2, 2), (0, 2)]


def test_equal_results_give_equal_pages_apart_from_seconds(tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny.run, folder)
    assert page(folder).read_bytes() == (tiny.run / "report.html").read_bytes()
    timed = read_rows(folder / "timings.jsonl")
    (folder / "timings.jsonl").unlink()
    for row in timed:
        Ledger(folder).time(row | {"seconds": 9 * row["seconds"]})
    before, after = ((f / "report.html").read_text() for f in (tiny.run, Path(page(folder).parent)))
    cost = re.compile(r"<h2>What it cost</h2>.*?</section>", re.DOTALL)
    assert before != after and cost.sub("", before) == cost.sub("", after)
    (folder / "timings.jsonl").unlink()
    page(folder)


def test_everything_given_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "figure.svg").write_text(f"<svg>{EVIL}</svg>")
    picture = Picture.read(tmp_path / "figure.svg", f'"{EVIL}')
    section = Section(
        EVIL,
        words=[EVIL],
        points=[EVIL],
        pictures=[picture],
        tables=[Table(EVIL, [EVIL], [[EVIL], ["1 ± 2"]])],
        code=[Code(EVIL, EVIL)],
        folded=[Code(EVIL, EVIL), Table(EVIL, [EVIL], [[EVIL]])],
    )
    content = Document(EVIL, EVIL, EVIL, [section]).html()
    found = _Found(content)
    assert EVIL not in content and found.tags.count("script") == 1
    assert found.text.count(EVIL) >= 14
    assert "1\u00a0±\u00a02" in found.text  # not to be broken


def test_plot_makes_figures_and_page_again(study: Path) -> None:
    (study / "report.html").unlink(missing_ok=True)
    shutil.rmtree(study / "figures")
    said = command("plot", study)
    assert said.status == 0, said.err
    assert (study / "report.html").is_file()
    names = {file.stem for file in (study / "figures").glob("*.pdf")}
    assert names == {"contrast-1-arm", "contrast-2-arm", "cost", "parameters"}
    for old in ("ranks-spread", "contrast-3-arm", "mine"):  # of a larger study; a person's own
        (study / "figures" / f"{old}.svg").write_text("<svg/>")
    draw_all(study)
    assert {file.stem for file in (study / "figures").iterdir()} == names | {"mine"}
    (study / "figures" / "mine.svg").unlink()


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no table\.json and no study\.yaml"):
        page(tmp_path)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt install chromium")
def test_a_browser_shows_the_pages_without_complaint(
    run: Path, study: Path, tmp_path: Path
) -> None:
    assert CHROMIUM is not None
    with browser(CHROMIUM, tmp_path / "home") as view:
        for file in (page(run), page(study)):
            for width, scheme in ((390, "dark"), (1280, "light")):
                view.look(width, scheme)
                view.open(file)
                drawn = "Array.from(document.images, image => image.naturalWidth > 0)"
                assert all(view.evaluate(drawn)) and view.evaluate("document.images.length") > 3
                overhang = "document.documentElement.scrollWidth - innerWidth"
                assert view.evaluate(overhang) <= 0
                ground = view.evaluate("getComputedStyle(document.body).backgroundColor")
                assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
                card = "getComputedStyle(document.querySelector('.card')).backgroundColor"
                assert view.evaluate(card) == "rgb(255, 255, 255)"
                assert view.evaluate("typeof window.evil") == "undefined"
        assert view.complaints == []
        assert all(address.startswith(("file:", "data:")) for address in view.requests)


_TABLE = Table(
    "numbers",
    ["name", "size", "score"],
    [["b", "1,000", "0.9 ± 0.1"], ["a10", "20", ""], ["a9", "3", "-2e-05 ± 1"]],
)
_COLUMN = (
    "JSON.stringify(Array.from(document.querySelector('tbody').rows, r => r.cells[{}].innerText))"
)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt install chromium")
def test_a_click_sorts_a_table_and_a_second_turns_it_round(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    file = tmp_path / "page.html"
    section = Section("Numbers", tables=[_TABLE])
    file.write_text(Document("t", "q", "a", [section]).html(), encoding="utf-8")
    with browser(CHROMIUM, tmp_path / "home") as view:
        view.open(file)

        def after_a_click(column: int) -> list[str]:
            view.evaluate(f"document.querySelectorAll('th button')[{column}].click()")
            return json.loads(view.evaluate(_COLUMN.format(0)))

        assert after_a_click(0) == ["a9", "a10", "b"]
        assert after_a_click(1) == ["a9", "a10", "b"]
        assert after_a_click(1) == ["b", "a10", "a9"]
        assert after_a_click(2) == ["a9", "b", "a10"]  # the empty cell comes last
        assert after_a_click(2) == ["b", "a9", "a10"]
        sorts = "JSON.stringify(Array.from(document.querySelectorAll('th'), h => h.ariaSort))"
        assert json.loads(view.evaluate(sorts)) == [None, None, "descending"]
        assert view.complaints == []
