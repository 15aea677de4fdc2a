"""Stock TRL trains from an exported start, and is searched from within."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel

from autolora_meta import RankSearchCallback
from autolora_meta.exporting.export import export
from autolora_meta.exporting.stored import read_adapter
from autolora_meta.finetuning.lora import quiet_peft
from tests.interfaces.models import adapted, drawn, llama, rows
from tests.tiny import tiny_tokenizer

trl: Any = pytest.importorskip("trl", reason="TRL is in the extra `dev`")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # transformers, of itself


def sft(model: Any, place: Path, **settings: Any) -> Any:
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "[SEP]"
    args = trl.SFTConfig(
        output_dir=str(place),
        max_steps=4,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        save_strategy="no",
    )
    data = {"train_dataset": rows(16, 1), "eval_dataset": rows(8, 2)}
    return trl.SFTTrainer(model, args, processing_class=tokenizer, **data, **settings)


def test_sft_trains_a_start_and_its_ranks_stay(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path / "base")
    base = type(llama()).from_pretrained(tmp_path / "base")
    ranked = adapted(base, rank_pattern={"v_proj": 2}, alpha_pattern={"v_proj": 4})
    drawn(ranked)
    ranked.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    start = export(tmp_path / "adapter", "start", tmp_path / "start")
    with quiet_peft():
        model = PeftModel.from_pretrained(llama(), str(start), is_trainable=True)
    before = {name: p.detach().clone() for name, p in model.named_parameters() if "lora_B" in name}
    assert before and not any(b.any() for b in before.values())
    theirs = sft(model, tmp_path / "out")
    theirs.train()
    after = dict(theirs.model.named_parameters())
    assert all(after[name].any() for name in before)
    theirs.save_model(str(tmp_path / "trained"))
    trained, meant = (read_adapter(tmp_path / name) for name in ("trained", "adapter"))
    assert dict(trained.pattern) == dict(meant.pattern) and set(trained.scales) == {2.0}


def test_an_sft_training_is_searched_from_within(tmp_path: Path) -> None:
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")
    theirs = sft(llama(), tmp_path / "out", peft_config=config)
    search = RankSearchCallback(theirs, every=1, warmup_steps=1, say=lambda words: None)
    theirs.add_callback(search)
    theirs.train()
    assert [row["step"] for row in search.rows] == [2, 3, 4]
    assert search.ranks is not None and len(search.ranks) == 14
    assert all(torch.isfinite(p).all() for p in theirs.model.parameters())
