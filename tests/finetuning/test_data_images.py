"""Pictures: folders of classes, paths in a table, images of a dataset."""

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, Image
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


def load(source: Path, given: Given | None = None) -> DatasetDict:
    return load_rows(DataOptions(source=str(source)), ROLES, 0, given=given)


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


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    class_folders(tmp_path, 0, 4)
    (tmp_path / "even" / "0.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0\.png cannot be read as a picture"):
        load(tmp_path)


def test_a_column_that_holds_no_pictures(tmp_path: Path) -> None:
    given = Dataset.from_dict({"image": [1, 2], "label": ["a", "b"]})
    with pytest.raises(InputError, match="not pictures; allowed are"):
        load(tmp_path, given)
