"""Models that `from_pretrained` would read as a pickle, or stumbles over."""

import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from autolora_meta import InputError
from autolora_meta.finetuning.models import ModelOptions, base_config, locate
from tests.tiny import tiny_bert


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_weights_that_are_a_pickle_alone_are_not_read(
    name: str, model: Path, tmp_path: Path
) -> None:
    shutil.copytree(model, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    torch.save(weights, tmp_path / "model" / name)
    assert locate(str(tmp_path / "model"))  # the safetensors beside it are read
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=f"{name}, a pickle, .* is not read") as refused:
        locate(str(tmp_path / "model"))
    if name == "pytorch_model.bin":  # what the message says to do helps
        call = str(refused.value).rpartition("once: ")[2]
        assert call.startswith("transformers.BertModel.from_pretrained(")
        eval(call, {"transformers": transformers})
        assert locate(str(tmp_path / "model"))


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "3",
        "[]",
        '{"model_type": []}',
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        '{"auto_map": 3}',
    ],
    ids=["null", "number", "list", "odd type", "deep", "odd map"],
)
def test_a_configuration_that_is_none(text: str, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(text)
    with pytest.raises(InputError, match="cannot be loaded"):
        base_config(ModelOptions(name=str(tmp_path / "model")))
