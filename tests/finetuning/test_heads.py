"""Which modules are new and trained in full, and which random weights are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from PIL import Image
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    CLIPConfig,
    CLIPForImageClassification,
    CLIPImageProcessor,
    CLIPModel,
    HGNetV2Config,
    HGNetV2ForImageClassification,
    PreTrainedModel,
    SiglipConfig,
    SiglipForImageClassification,
    WhisperConfig,
    WhisperForAudioClassification,
)
from transformers.models.pp_lcnet import PPLCNetConfig, PPLCNetForImageClassification

from autolora_meta import RunConfig, prepare, retrain, search, search_model
from autolora_meta.errors import InputError
from autolora_meta.exporting.adapter import save_adapter
from autolora_meta.exporting.export import export
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.models import load_model
from tests.finetuning.tiny_task import tiny_config
from tests.tiny import tiny_csv, tiny_tokenizer

SIZE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.2,
}
LABELS: Any = {"num_labels": 3}
BERT = BertConfig(vocab_size=40, max_position_embeddings=64, **SIZE)
TEXTS = {**SIZE, "vocab_size": 40, "max_position_embeddings": 16, "bos_token_id": 2}
PICTURES = {**SIZE, "image_size": 16, "patch_size": 8}
CLIP = CLIPConfig(
    vision_config={**PICTURES, "projection_dim": 8},
    text_config={**TEXTS, "projection_dim": 8, "eos_token_id": 3},
    **LABELS,
)
WHISPER = WhisperConfig(
    vocab_size=40,
    d_model=16,
    encoder_layers=1,
    decoder_layers=1,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=32,
    decoder_ffn_dim=32,
    num_mel_bins=8,
    max_source_positions=20,
    classifier_proj_size=8,
    pad_token_id=0,
    bos_token_id=2,
    eos_token_id=3,
    decoder_start_token_id=2,
)
ROWS = [{"input_ids": torch.arange(4, 20).reshape(4, 4), "labels": torch.tensor([0, 1, 0, 1])}]


def loss(model: Any, batch: Any) -> Any:
    return model(**batch).loss


def quick(model: PreTrainedModel, **more: Any) -> Any:
    options = {"outer_steps": 1, "warmup_steps": 1}
    return search_model(model, ROWS, ROWS, loss=loss, lora={"k": 2}, options=options, **more)


@pytest.mark.parametrize(
    ("model", "head"),
    [
        (lambda: CLIPForImageClassification(CLIP), ("classifier",)),
        (
            lambda: SiglipForImageClassification(
                SiglipConfig(vision_config=PICTURES, text_config=TEXTS)
            ),
            ("classifier",),
        ),
        (lambda: WhisperForAudioClassification(WHISPER), ("projector", "classifier")),
        (lambda: HGNetV2ForImageClassification(HGNetV2Config(**LABELS)), ("fc",)),
        (lambda: PPLCNetForImageClassification(PPLCNetConfig(**LABELS)), ("head",)),
        (lambda: BertForSequenceClassification(BERT), ("classifier",)),
        (lambda: BertModel(BERT), ()),
        (lambda: CLIPModel(CLIP), ()),
    ],
    ids=["clip", "siglip", "whisper", "hgnet", "pplcnet", "bert", "bare bert", "bare clip"],
)
def test_the_head_is_what_stands_beside_the_base(model: Any, head: tuple[str, ...]) -> None:
    with torch.device("meta"):
        made = model()
    assert head_modules(made) == head


def test_clip_of_texts_and_pictures_is_a_base_for_classes_of_pictures(tmp_path: Path) -> None:
    CLIPModel(CLIP).save_pretrained(tmp_path / "clip")
    size = {"height": 16, "width": 16}
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=size).save_pretrained(
        tmp_path / "clip"
    )
    draw = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 80, (36, 3), generator=draw).tolist()
    pictures = [
        Image.new("RGB", (16, 16), tuple(v + 150 * (i % 3 == c) for c, v in enumerate(rgb)))
        for i, rgb in enumerate(noise)
    ]
    data = Dataset.from_dict({"image": pictures, "label": ["rgb"[i % 3] for i in range(36)]})
    config = tiny_config("image-classification", tmp_path / "clip", ["q_proj", "v_proj"])
    prepared = prepare(config, data=data)
    assert prepared.head == ("classifier",)
    ranks = search(config, prepared=prepared).ranks
    assert not any("classifier" in name for name in ranks.names)
    result = retrain(config, ranks, prepared=prepared)
    fresh = load_model(config.model, prepared.task, seed=9)[0]
    save_adapter(result, tmp_path / "adapter", "card", base=fresh)  # compares the logits


def masked_language_model(folder: Path) -> Path:
    """What people pretrain on their own texts: without a pooler."""
    torch.manual_seed(0)
    BertForMaskedLM(BERT).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def test_a_pooler_that_the_checkpoint_lacks_is_trained_in_full(tmp_path: Path) -> None:
    folder = masked_language_model(tmp_path / "mlm")
    config = tiny_config("sequence-classification", folder, ["query", "value"])
    source = f"data.source={tiny_csv(tmp_path / 'rows.csv')}"
    config = RunConfig.load(config.model_dump(), source)
    prepared = prepare(config)
    assert prepared.head == ("bert.pooler", "classifier")
    before = prepared.model.get_parameter("bert.pooler.dense.weight").detach().clone()
    result = retrain(config, search(config, prepared=prepared).ranks, prepared=prepared)
    fresh = load_model(config.model, prepared.task, seed=9)[0]
    assert not torch.equal(fresh.get_parameter("bert.pooler.dense.weight"), before)
    save_adapter(result, tmp_path / "adapter", "card", base=fresh)  # compares the logits
    pooler: Any = result.model.get_base_model().get_submodule("bert.pooler")
    assert not torch.equal(pooler.modules_to_save["default"].dense.weight, before)
    export(tmp_path / "adapter", "merged", tmp_path / "merged")


def test_other_weights_that_the_checkpoint_lacks_are_refused(tmp_path: Path) -> None:
    config = BertConfig(**{**BERT.to_dict(), "num_hidden_layers": 1})
    BertModel(config).save_pretrained(tmp_path)
    BERT.save_pretrained(tmp_path)  # says that there are two layers
    model = BertForSequenceClassification.from_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"lacks 16 of the base's weights.*encoder.layer.1"):
        quick(model)


def test_a_model_that_was_loaded_by_hand(tmp_path: Path) -> None:
    folder = masked_language_model(tmp_path)
    model = BertForSequenceClassification.from_pretrained(folder)
    assert head_modules(model) == ("bert.pooler", "classifier")
    assert not any("pooler" in name for name in quick(model).ranks.names)
    with pytest.raises(InputError, match=r"bert.pooler.dense.*random and frozen.*as head"):
        quick(model, head=("classifier",))
    with_pooler = tmp_path / "whole"
    BertModel(BERT).save_pretrained(with_pooler)
    whole = BertForSequenceClassification.from_pretrained(with_pooler)
    assert head_modules(whole) == ("classifier",)
    whole.resize_token_embeddings(50)  # pretrained rows beside the new ones
    quick(whole, head=("classifier",))


@pytest.mark.parametrize(
    ("name", "other"), [("dense", r"bert.*dense"), ("out", r"bert.*dropout"), ("B", "lora_B")]
)
def test_a_head_that_peft_takes_for_others_too_is_refused(name: str, other: str) -> None:
    model: Any = BertForSequenceClassification(BERT)
    setattr(model, name, torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match=rf"PEFT would train {other} in full too.*Rename"):
        quick(model, head=(name,))
