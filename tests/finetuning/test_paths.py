"""A path that is mistyped is said to be none at once; it is not asked for on the hub."""

from pathlib import Path

import pytest

from autolora_meta import InputError, RunConfig, prepare
from autolora_meta.finetuning.data import hub as data_hub
from autolora_meta.finetuning.hub import could_be_id, is_slip_of
from autolora_meta.finetuning.models import locate, public_name
from autolora_meta.studies.inputs import inputs
from tests.tiny import tiny_csv


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, models/encoder beside another, and two files of rows."""
    for name in ("mine", "models/my-encoder", "models/decoder"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "data").mkdir()
    tiny_csv(tmp_path / "data" / "reviews.csv", 60)
    tiny_csv(tmp_path / "tickets.csv", 60)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("./my-encoder", r"no such folder \('\.' holds mine\)"),
        ("models/my-encodr", "no such folder .did you mean 'models/my-encoder'"),
        ("model/my-encoder/", "no such folder .did you mean 'models/my-encoder'"),
        ("model/my-encoder", "no such folder .did you mean 'models/my-encoder'"),
        ("./modls/my-encodr", "no such folder .did you mean 'models/my-encoder'"),
        ("models/gpt2", r"no such folder \('models' holds decoder, my-encoder\)"),
        ("~/no/such/model", "no such folder"),
        ("~nobody-of-that-name/model", "no such folder"),
        ("out/of/three", "no such folder"),
        ("mien", None),  # too far from `mine`: it may be the hub's
        ("m1ne", None),
        ("embeded-minilm", "no such folder .did you mean 'embedded-minilm'"),
        ("tickets.csv", "it is a file; give the folder that it stands in"),
        ("n" * 300, "no such folder"),
        ("facebook/opt-125m", None),
        ("bert-base-uncased", None),
    ],
)
def test_a_model_that_is_not_here(name: str, answer: str | None, here: Path) -> None:
    if answer is None:
        assert locate(name) == name
        return
    with pytest.raises(InputError, match=answer):
        locate(name)


def test_the_whole_path_of_a_wrong_one_is_given_as_it_was(here: Path) -> None:
    with pytest.raises(InputError, match=f"did you mean '{here}/models/my-encoder'"):
        locate(f"{here}/models/my-encodr")


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("./tikets.csv", "no such file or folder .did you mean 'tickets.csv'"),
        ("data/review", "no such file or folder .did you mean 'data/reviews.csv'"),
        ("dat/reviews.csv", "no such file or folder .did you mean 'data/reviews.csv'"),
        ("dataa/reviews.csv", "no such file or folder .did you mean 'data/reviews.csv'"),
        ("tikets", "no such file or folder"),
        ("tickets", "no such file or folder .did you mean 'tickets.csv'"),
        ("data/other/rows", r"no such file or folder \('data' holds reviews.csv\)"),
        ("stdlib-doc", "no such file or folder .did you mean 'stdlib-docs'"),
        ("n" * 300, "no such file or folder"),
    ],
)
def test_data_that_are_not_here(
    source: str, answer: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(data_hub, "load", asked)
    with pytest.raises(InputError, match=answer):
        prepare(RunConfig.load("quickstart", f"data.source={source}"))


def test_a_wrong_model_is_said_before_rows_are_read(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autolora_meta.finetuning.prepare.load_rows", lambda *_, **__: 1 / 0)
    with pytest.raises(InputError, match="no such folder"):
        prepare(RunConfig.load("quickstart", "model.name=models/other"))


def test_an_adapter_is_no_base(here: Path) -> None:
    (here / "mine" / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"is a folder with an adapter.*--to merged"):
        locate("mine")


def test_a_folder_is_named_by_its_whole_path(here: Path) -> None:
    assert locate("models/../mine") == public_name("./mine") == str(here / "mine")
    assert public_name("facebook/opt-125m") == "facebook/opt-125m"


def test_what_could_be_an_id(here: Path) -> None:
    assert could_be_id("gpt2") and could_be_id("facebook/opt-125m")
    for path in ("models/gpt2", "./gpt2", "~/gpt2", "/gpt2", "a/b/c", "models\\gpt2", "gpt2/"):
        assert not could_be_id(path), path


def test_a_name_that_goes_on_is_another() -> None:
    assert is_slip_of("my-encodr", ["my-encoder"]) == "my-encoder"
    assert is_slip_of("bert-base-uncased", ["bert-base-uncased-2"]) is None
    assert is_slip_of("owner/my-encodr", ["my-encoder"]) is None


def test_files_below_the_home_folder_are_inputs_of_a_study(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here))
    config = RunConfig.load("quickstart", "data.source=~/tickets.csv", f"model.name={'n' * 300}")
    before = inputs([config])
    assert set(before) == {"~/tickets.csv"}
    tiny_csv(here / "tickets.csv", 61)
    assert inputs([config]) != before
