"""Pictures: folders of classes, paths in a table, images of a dataset."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, Image, Value
from PIL import Image as Pillow

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import LABEL, DataOptions, Given, load_rows
from autolora_meta.finetuning.data.roles import Role

ROLES = (Role("image", "image", ("image", "img")), LABEL)


def picture(number: int) -> Pillow.Image:
    """A 4 x 4 picture that says its number."""
    return Pillow.fromarray(np.full((4, 4), number, np.uint8))


def class_folders(place: Path, first: int, last: int) -> Path:
    """Pictures of odd and of even numbers."""
    for number in range(first, last):
        folder = place / ("odd" if number % 2 else "even")
        folder.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / f"{number}.png")
    return place


def load(source: Path, given: Given | None = None, said: list[str] | None = None) -> DatasetDict:
    say = (said if said is not None else []).append
    return load_rows(DataOptions(source=str(source)), ROLES, 0, given=given, say=say)


def deep_folders(place: Path, white: int, ending: str = "png") -> Path:
    """Pictures of 16 bits a channel: a bright and a dark half, their values up to `white`."""
    for number in range(12):
        folder = place / ("odd" if number % 2 else "even")
        folder.mkdir(parents=True, exist_ok=True)
        values = np.full((4, 4), number * white // 11, np.uint16)
        values[:, 2:] = white
        Pillow.fromarray(values).save(folder / f"{number}.{ending}")
    return place


def numbers(rows: Dataset) -> list[int]:
    return [np.asarray(row["image"])[0, 0] for row in rows]


def right(rows: Dataset) -> bool:
    names = rows.features["label"].names
    return all(
        names[row["label"]] == ("odd" if np.asarray(row["image"])[0, 0] % 2 else "even")
        for row in rows
    )


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    rows = load(class_folders(tmp_path / "digits", 0, 12))
    assert rows["train"].column_names == ["image", "label"]
    assert isinstance(rows["train"][0]["image"], Pillow.Image)
    assert sorted(n for part in rows.values() for n in numbers(part)) == list(range(12))
    assert all(right(part) for part in rows.values())


def test_a_folder_for_each_split_and_class(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", 0, 12)
    class_folders(tmp_path / "test", 12, 16)
    rows = load(tmp_path)
    assert sorted(numbers(rows["test"])) == [12, 13, 14, 15]
    class_folders(tmp_path / "test", 11, 12)
    with pytest.raises(InputError, match="1 pictures stand in more than one"):
        load(tmp_path)


def test_paths_in_a_table(tmp_path: Path) -> None:
    class_folders(tmp_path, 0, 12)
    lines = [
        f"{'odd' if i % 2 else 'even'}/{i}.png,{'odd' if i % 2 else 'even'}" for i in range(12)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["image,label", *lines, ",odd"]))
    rows = load(tmp_path / "rows.csv")
    assert sum(map(len, rows.values())) == 12 and all(right(part) for part in rows.values())
    paths = [str(tmp_path / line.split(",")[0]) for line in lines]
    columns = {"image": paths, "label": [line.split(",")[1] for line in lines]}
    given = Dataset.from_dict(columns).cast_column("image", Value("large_string"))
    assert sum(map(len, load(tmp_path, given).values())) == 12
    (tmp_path / "odd" / "3.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"rows\.csv, line 5: .*3\.png cannot be read as a pict"):
        load(tmp_path / "rows.csv")
    (tmp_path / "rows.csv").write_text("image,label\n0.png,even\n1.png,odd\n")
    with pytest.raises(InputError, match=r"rows\.csv, line 2: .*No such file"):
        load(tmp_path / "rows.csv")


def test_images_of_a_dataset(tmp_path: Path) -> None:
    """Repeats are known by their bytes, and rows without a picture are dropped."""
    shown = [picture(n) for n in (*range(12), 0)] + [None]
    labels = [*("odd" if n % 2 else "even" for n in (*range(12), 0)), "odd"]
    given = Dataset.from_dict({"img": shown, "label": labels}).cast_column("img", Image())
    rows = load(tmp_path, given)
    assert sorted(n for part in rows.values() for n in numbers(part)) == list(range(12))
    assert all(right(part) for part in rows.values())


@pytest.mark.parametrize(("white", "ending"), [(4095, "png"), (65535, "png"), (4095, "tif")])
def test_pictures_of_12_and_16_bits_are_not_all_white(
    tmp_path: Path, white: int, ending: str
) -> None:
    said: list[str] = []
    rows = load(deep_folders(tmp_path, white, ending), said=said)
    assert (
        f"12 pictures have more than 8 bits a channel: their value {white} is read as whi"
        in str(said)
    )
    found = [np.asarray(row["image"].convert("RGB")) for part in rows.values() for row in part]
    expected = [round(n * white // 11 * 255 / white) for n in range(12)]
    assert sorted(int(p[0, 0, 0]) for p in found) == expected
    assert {int(p[0, 3, 1]) for p in found} == {255}


def test_deep_pictures_of_a_dataset_and_fractions(tmp_path: Path) -> None:
    files = []
    for number in range(12):
        file = BytesIO()
        Pillow.fromarray(np.full((4, 4), number / 11, np.float32)).save(file, "TIFF")
        files.append({"bytes": file.getvalue()})
    columns = {"img": files, "label": ["odd" if n % 2 else "even" for n in range(12)]}
    given = Dataset.from_dict(columns).cast_column("img", Image())
    rows = load(tmp_path, given)
    found = sorted(n for part in rows.values() for n in numbers(part))
    assert found == [round(n * 255 / 11) for n in range(12)]
    file = BytesIO()
    Pillow.fromarray(np.full((4, 4), -3, np.int32)).save(file, "TIFF")
    given = Dataset.from_dict(columns | {"img": [*files[:11], {"bytes": file.getvalue()}]})
    with pytest.raises(InputError, match=r"row 12: .* values from -3 to -3; allowed are whole"):
        load(tmp_path, given.cast_column("img", Image()))


def colour_png(value: int) -> bytes:
    """A PNG of 16 bits a channel in colour, which Pillow does not write."""

    def part(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    head = part(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    rows = (b"\0" + struct.pack(">6H", *[value] * 6)) * 2
    content = head + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def test_colour_of_16_bits_is_read_unless_it_would_be_black(tmp_path: Path) -> None:
    cells = [{"bytes": colour_png(30000 + 1000 * i)} for i in range(12)]
    columns = {"img": cells, "label": list("ab" * 6)}
    rows = load(tmp_path, Dataset.from_dict(columns).cast_column("img", Image()))
    assert sum(map(len, rows.values())) == 12
    columns["img"][4] = {"bytes": colour_png(4095)}
    with pytest.raises(InputError, match=r"row 5: .* values up to 4095 alone.* nearly black"):
        load(tmp_path, Dataset.from_dict(columns).cast_column("img", Image()))


def test_folders_that_lead_back_are_not_walked_forever(tmp_path: Path) -> None:
    class_folders(tmp_path, 0, 12)
    (tmp_path / "odd" / "again").symlink_to(tmp_path)
    assert sum(map(len, load(tmp_path).values())) == 12


@pytest.mark.parametrize("ending", ["jpg", "bmp", "gif", "tif", "png"])
def test_half_a_picture_is_found_before_training(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)
    for number, values in enumerate(noise):
        folder = tmp_path / ("odd" if number % 2 else "even")
        folder.mkdir(exist_ok=True)
        Pillow.fromarray(values).save(folder / f"{number}.{ending}")
    assert sum(map(len, load(tmp_path).values())) == 12
    whole = (tmp_path / "odd" / f"3.{ending}").read_bytes()
    (tmp_path / "odd" / f"3.{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"3\.{ending} cannot be read as a picture"):
        load(tmp_path)
    hole = whole[: len(whole) // 3] + b"\xff\xd9" + whole[len(whole) // 3 :]  # with its end
    if ending == "jpg":
        (tmp_path / "odd" / "3.jpg").write_bytes(hole)
        with pytest.raises(InputError, match=r"3\.jpg cannot be read as a picture: broken data"):
            load(tmp_path)
    cells = [{"bytes": whole[: len(whole) // 2]}] * 2
    given = Dataset.from_dict({"image": cells, "label": ["a", "b"]}).cast_column("image", Image())
    with pytest.raises(InputError, match="split train, row 1: it cannot be read as a picture"):
        load(tmp_path, given)


def test_hidden_folders_and_files_are_no_classes(tmp_path: Path) -> None:
    class_folders(tmp_path, 0, 12)
    for name in (".ipynb_checkpoints", "__MACOSX", ".thumbs"):
        (tmp_path / name).mkdir()
        picture(99).save(tmp_path / name / "99.png")
    (tmp_path / "even" / "._0.png").write_bytes(b"resource fork")
    (tmp_path / "even" / "notes.txt").write_text("seen")
    (tmp_path / "prime").mkdir()
    said: list[str] = []
    rows = load(tmp_path, said=said)
    assert rows["train"].features["label"].names == ["even", "odd"]
    assert sorted(n for part in rows.values() for n in numbers(part)) == list(range(12))
    assert "folders without pictures, not read: prime" in said
    assert any("1 files that are no pictures of a class not read, the first" in s for s in said)


def test_one_more_folder_around_the_classes_or_splits(tmp_path: Path) -> None:
    class_folders(tmp_path / "a" / "digits", 0, 12)
    said: list[str] = []
    assert sum(map(len, load(tmp_path / "a", said=said).values())) == 12
    assert f"pictures are read from {tmp_path / 'a' / 'digits'}" in said
    class_folders(tmp_path / "b" / "digits" / "train" / "pictures", 0, 12)
    class_folders(tmp_path / "b" / "digits" / "test", 12, 16)
    assert sorted(numbers(load(tmp_path / "b")["test"])) == [12, 13, 14, 15]


def test_pictures_deeper_than_their_class_are_refused(tmp_path: Path) -> None:
    class_folders(tmp_path, 0, 12)
    class_folders(tmp_path / "odd" / "more", 13, 14)
    with pytest.raises(InputError, match=r"13\.png stands a folder deeper than the class 'odd'"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["test", "testing", "Test", "test_set", "test-images", "testset"])
@pytest.mark.parametrize("train", ["train", "training_set"])
def test_folders_of_splits_under_other_names(tmp_path: Path, train: str, name: str) -> None:
    class_folders(tmp_path / train, 0, 12)
    class_folders(tmp_path / name, 12, 16)
    assert sorted(numbers(load(tmp_path)["test"])) == [12, 13, 14, 15]


def test_folders_of_splits_beside_others_are_refused(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", 0, 12)
    class_folders(tmp_path / "holdout", 12, 16)
    with pytest.raises(InputError, match="holdout, train, and 'holdout' says no split"):
        load(tmp_path)
    (tmp_path / "holdout").rename(tmp_path / "val")
    assert sorted(numbers(load(tmp_path)["test"])) == [12, 13, 14, 15]
    class_folders(tmp_path / "dev", 16, 18)
    with pytest.raises(InputError, match="'val' is a second one for 'validation'"):
        load(tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    class_folders(tmp_path, 0, 12)
    (tmp_path / "odd").rename(tmp_path / "train")
    assert load(tmp_path)["train"].features["label"].names == ["even", "train"]


def test_pictures_in_folders_of_splits_without_classes_are_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        picture(len(split)).save(tmp_path / split / "0.png")
    with pytest.raises(InputError, match=r"holds no folder of pictures for each class, .*0\.png"):
        load(tmp_path)


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    class_folders(tmp_path, 0, 4)
    (tmp_path / "even" / "0.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0\.png cannot be read as a picture"):
        load(tmp_path)


def test_a_column_that_holds_no_pictures(tmp_path: Path) -> None:
    given = Dataset.from_dict({"image": [1, 2], "label": ["a", "b"]})
    with pytest.raises(InputError, match="not pictures; allowed are"):
        load(tmp_path, given)
