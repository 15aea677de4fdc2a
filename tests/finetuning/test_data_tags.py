"""Sentences with tags: CoNLL files, their schemes, and tags that cannot be."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import DataOptions, load_rows
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.data.tags import uniform

ROLES = (
    Role("tokens", "tokens", ("tokens", "words")),
    Role("tags", "tags", ("ner_tags", "tags")),
)
SENTENCES = [
    (["Ada", f"met{i}", "Bob", "Ray"], ["B-PER", "O", "B-PER", "I-PER"]) for i in range(6)
] + [([f"Rome{i}", "calls"], ["B-LOC", "O"]) for i in range(6)]


def conll(sentences: list[tuple[list[str], list[str]]], between: str = "\t") -> str:
    blocks = [
        "".join(f"{w}{between}{t}\n" for w, t in zip(*pair, strict=True)) for pair in sentences
    ]
    return "\n".join(["-DOCSTART-\tO\n", *blocks])


def load(source: Path | str, said: list[str] | None = None, **options: Any) -> DatasetDict:
    asked = DataOptions.model_validate({"source": str(source), **options})
    return load_rows(asked, ROLES, 0, say=(said if said is not None else []).append)


def pairs(rows: DatasetDict) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Tokens and the names of their tags, of all splits."""
    names = rows["train"].features["tags"].feature.names
    return {
        (tuple(row["tokens"]), tuple(names[tag] for tag in row["tags"]))
        for part in rows.values()
        for row in part
    }


EXPECTED = {(tuple(tokens), tuple(tags)) for tokens, tags in SENTENCES}


@pytest.mark.parametrize("name", ["a.tsv", "a.conll", "a.iob2", "a.txt"])
@pytest.mark.parametrize("between", ["\t", " "])
def test_conll_files(tmp_path: Path, name: str, between: str) -> None:
    (tmp_path / name).write_text(conll(SENTENCES, between))
    rows = load(tmp_path / name)
    assert pairs(rows) == EXPECTED
    assert rows["train"].features["tags"].feature.names == ["O", "B-LOC", "B-PER", "I-PER"]
    assert sorted(len(part) for part in rows.values()) == [4, 4, 4]


def test_the_last_field_is_the_tag(tmp_path: Path) -> None:
    sentences = [(words, [f"noun {tag}" for tag in tags]) for words, tags in SENTENCES]
    (tmp_path / "a.conll").write_text(conll(sentences, " "))
    assert pairs(load(tmp_path / "a.conll")) == EXPECTED


def test_the_number_of_a_field_names_the_tags(tmp_path: Path) -> None:
    sentences = [(words, [f"{tag} noun" for tag in tags]) for words, tags in SENTENCES]
    (tmp_path / "a.conll").write_text(conll(sentences, " "))
    assert pairs(load(tmp_path / "a.conll", tags="2")) == EXPECTED


@pytest.mark.parametrize("between", ["\t", " "])
@pytest.mark.parametrize(
    "comment", ["# 7", "# id 7\tdomain=en", "#\thttp://x [2009]", "#begin document", "# text = a b"]
)
def test_comments_are_no_words(tmp_path: Path, between: str, comment: str) -> None:
    blocks = conll(SENTENCES, between).split("\n\n")
    said: list[str] = []
    (tmp_path / "a.conll").write_text("\n\n".join(f"{comment}\n{block}" for block in blocks[1:]))
    assert pairs(load(tmp_path / "a.conll", said)) == EXPECTED
    assert f"{tmp_path / 'a.conll'}: 12 comment lines left out, the first is line 1" in said


def test_a_line_of_names_is_no_sentence(tmp_path: Path) -> None:
    speech = [([f"the{i}", "thing"], ["DT", "NN"]) for i in range(6)]
    content = conll(speech).removeprefix("-DOCSTART-\tO\n\n")
    said: list[str] = []
    (tmp_path / "a.tsv").write_text("Word\tPOS\n" + content)
    assert load(tmp_path / "a.tsv", said)["train"].features["tags"].feature.names == ["DT", "NN"]
    assert f"{tmp_path / 'a.tsv'}: 1 comment lines left out, the first is line 1" in said


def test_words_that_begin_with_the_sign_of_comments_are_words(tmp_path: Path) -> None:
    sentences = [(["#", f"{i}", "#now"], ["O", "B-X", "O"]) for i in range(6)]
    sentences += [(["#tag", f"{i}"], ["B-Y", "O"]) for i in range(6)]
    (tmp_path / "a.conll").write_text(conll(sentences))
    expected = {(tuple(tokens), tuple(tags)) for tokens, tags in sentences}
    assert pairs(load(tmp_path / "a.conll")) == expected
    (tmp_path / "a.conll").write_text("a\tO\n# so\tO\tO\n")
    with pytest.raises(InputError, match=r"line 2: 3 fields"):
        load(tmp_path / "a.conll")


def test_a_comment_inside_a_sentence_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("a DT\nb NN\n# 2\nc DT\n\n# #\n5 CD\n# #\n")
    with pytest.raises(InputError, match=r"line 3: '# 2' looks like a comment inside a sentence"):
        load(tmp_path / "a.conll")


def test_a_kind_of_tags_that_loses_all_its_rows_is_refused(tmp_path: Path) -> None:
    again = [(SENTENCES[0][0], ["B-ORG", "O", "O", "O"])]
    (tmp_path / "a.conll").write_text(conll(SENTENCES + again))
    with pytest.raises(
        InputError, match=r"class ORG has no rows left: .*a\.conll, line 51\); mend"
    ):
        load(tmp_path / "a.conll")


def test_tags_may_stand_first(tmp_path: Path) -> None:
    turned = [(tags, words) for words, tags in SENTENCES]
    (tmp_path / "a.bio").write_text(conll(turned).replace("-DOCSTART-\tO", "-DOCSTART-"))
    said: list[str] = []
    assert pairs(load(tmp_path / "a.bio", said)) == EXPECTED
    assert f"{tmp_path / 'a.bio'}: tags are the first field, tokens the last" in said
    named: list[dict[str, Any]] = [{"tokens": "2", "tags": "1"}, {"tags": "1"}, {"tokens": "2"}]
    for options in named:
        assert pairs(load(tmp_path / "a.bio", **options)) == EXPECTED
    speech = [(["DT", "NN"], ["the", f"thing{i}"]) for i in range(6)]
    (tmp_path / "a.bio").write_text(conll(speech, " ").replace("-DOCSTART- O", ""))
    with pytest.raises(
        InputError, match=r"line 3: the first field holds 2 different tokens and th"
    ):
        load(tmp_path / "a.bio")
    assert len(pairs(load(tmp_path / "a.bio", tokens="2", tags="1"))) == 6


def test_a_field_may_number_the_words(tmp_path: Path) -> None:
    lines = [
        "".join(f"{i + 1}\t{w}\t{t}\tO\n" for i, (w, t) in enumerate(zip(*s, strict=True)))
        for s in SENTENCES
    ]
    (tmp_path / "a.tsv").write_text("\n".join(lines))
    said: list[str] = []
    assert pairs(load(tmp_path / "a.tsv", said)) == EXPECTED
    assert any("the first field numbers the words; tokens are field 2" in s for s in said)
    (tmp_path / "a.tsv").write_text("\n".join(lines).replace("B-LOC\tO", "B-LOC\tB-X"))
    with pytest.raises(InputError, match=r"line 1: .* several .* tags: 3 \(B-LOC.*; 4 \(B-X, O\)"):
        load(tmp_path / "a.tsv")
    assert pairs(load(tmp_path / "a.tsv", tags="3")) == EXPECTED
    (tmp_path / "a.tsv").write_text("\n".join(["1-2\tam\t_\t_\n" + lines[0], *lines[1:]]))
    with pytest.raises(InputError, match=r"line 1: '1-2' numbers a range of words"):
        load(tmp_path / "a.tsv")


def test_lists_of_json_and_of_the_hub(tmp_path: Path) -> None:
    lines = [json.dumps({"tokens": words, "tags": tags}) for words, tags in SENTENCES]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert pairs(load(tmp_path / "a.jsonl")) == EXPECTED
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    rows = Dataset.from_dict(
        {"words": [w for w, _ in SENTENCES], "ner_tags": [t for _, t in SENTENCES]},
        features=Features(
            {"words": List(Value("string")), "ner_tags": List(ClassLabel(names=names))}
        ),
    )
    found = load_rows(DataOptions(), ROLES, 0, given=rows)
    assert pairs(found) == EXPECTED
    assert found["train"].features["tags"].feature.names == names  # the source's own numbers


def read(*sentences: str) -> list[str]:
    """Sentences of tags, read into one scheme."""
    found = uniform({"train": [s.split() for s in sentences]}, lambda *at: str(at), lambda _: None)
    return [" ".join(tags) for tags in found["train"]]


def test_schemes() -> None:
    assert read("I-A I-A O I-B", "I-A B-A") == ["B-A I-A O B-B", "B-A B-A"]  # IOB1
    assert read("B-A I-A O B-B", "B-A B-A") == ["B-A I-A O B-B", "B-A B-A"]  # IOB2
    assert read("I-A I-B O") == ["B-A B-B O"]
    assert read("B-A I-A E-A S-B", "O") == ["B-A I-A E-A S-B", "O"]
    assert read("B-A I-A L-A U-B", "O") == ["B-A I-A E-A S-B", "O"]  # BILOU
    assert read("NOUN VERB X-ray") == ["NOUN VERB X-ray"]


@pytest.mark.parametrize(
    ("tags", "place", "reason"),
    [
        ("B-A O I-A", 2, "I-A is impossible in IOB2: it follows O"),
        ("O B-A I-B", 2, "I-B is impossible in IOB2: it follows B-A"),
        ("B-A O A", 2, "A is impossible in IOB2: allowed are O and a prefix"),
        ("S-A I-A O", 1, "I-A is impossible in BIOES: it follows S-A"),
        ("B-A O S-A", 0, "B-A is impossible in BIOES: O follows"),
        ("S-A O B-A", 2, "B-A is impossible in BIOES: the sentence ends"),
        ("B-A E-B O", 1, "E-B is impossible in BIOES"),
    ],
)
def test_impossible_tags(tags: str, place: int, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        read("O O", tags)
    assert f"('train', 1, {place})" in str(refused.value)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tB-X\nb\tO\n\nc\tO\nd\tI-X\n", r"a\.tsv, line 5: the tag I-X is impossible in IOB2"),
        ("a\tB-X\nb\n", r"a\.tsv, line 2: 1 fields, 0 of them empty; the first line has 2"),
        ("a\tB-X\nb\t\n", r"a\.tsv, line 2: 2 fields, 1 of them empty"),
        ("alone\n", r"a\.tsv, line 1: one field, 'alone'; a token and its tag"),
        ("-DOCSTART-\tO\n\n", "holds no rows"),
        ("a\tO\n\nb\tO\n", r"one class only \('O'\)"),
    ],
)
def test_broken_conll_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.tsv").write_text(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "a.tsv")


def test_entities_that_training_rows_do_not_have(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(conll(SENTENCES))
    # A new tag of a known kind is learned from its kin; a new kind is not.
    (tmp_path / "test.tsv").write_text("New\tB-LOC\nYork\tI-LOC\n")
    assert "I-LOC" in load(tmp_path)["train"].features["tags"].feature.names
    (tmp_path / "test.tsv").write_text("\nthe\tO\nUN\tB-ORG\n")
    with pytest.raises(InputError, match=r"test\.tsv, line 3: the tag B-ORG .*\(LOC, O, PER are\)"):
        load(tmp_path)


def test_a_name_that_the_source_declares_must_be_trained_on_as_well() -> None:
    tag = List(ClassLabel(names=["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG"]))
    features = Features({"tokens": List(Value("string")), "tags": tag})
    words = {"tokens": [w for w, _ in SENTENCES], "tags": [t for _, t in SENTENCES]}
    test = {"tokens": [["the", "UN"]], "tags": [["O", "B-ORG"]]}
    given = {"train": words, "test": test}
    rows = DatasetDict({s: Dataset.from_dict(part, features) for s, part in given.items()})
    with pytest.raises(InputError, match=r"the tag B-ORG of column 'tags' is of a kind"):
        load_rows(DataOptions(), ROLES, 0, given=rows)


def test_lists_of_other_lengths_or_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"tokens": ["a", "b"], "tags": ["O"]}')
    with pytest.raises(InputError, match=r"line 1: 2 in 'tokens' and 1 in 'tags'"):
        load(tmp_path / "a.jsonl")
    (tmp_path / "a.csv").write_text("tokens,tags\na b,O O\n")
    with pytest.raises(InputError, match=r"line 2: column 'tokens' holds 'a b'; allowed is a list"):
        load(tmp_path / "a.csv")


def test_sentences_that_repeat_stand_once_and_apart_from_the_test_rows(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(conll(SENTENCES + SENTENCES[:2]))
    (tmp_path / "test.tsv").write_text(conll(SENTENCES[:1]))
    with pytest.raises(InputError, match=r"1 texts stand in more .*'Ada met0 Bob Ray'"):
        load(tmp_path)
    rows = load(tmp_path, overlap="drop")
    assert len(rows["train"]) + len(rows["validation"]) == 11
