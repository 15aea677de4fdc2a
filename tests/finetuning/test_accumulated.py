"""A step of several passes: its rows, how its parts count, and the retraining by it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from torch.utils.data import DataLoader
from transformers import (
    BertConfig,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
)

from autolora_meta.errors import Apart, InputError
from autolora_meta.finetuning.accumulated import PartLoaderStream, PartStream, stream_of
from autolora_meta.finetuning.batch_order import BatchStream, LoaderStream
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.lora import layer_costs
from autolora_meta.finetuning.models import ModelOptions, load_model
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainOptions, RetrainResult, retrain
from autolora_meta.finetuning.stacked_jobs import refuse_unlike
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.finetuning.tasks import Task
from autolora_meta.finetuning.tasks.causal_lm import CausalLM
from autolora_meta.finetuning.tasks.generation import Generation
from autolora_meta.finetuning.tasks.options import GenerationOptions
from autolora_meta.finetuning.tasks.token_classification import TokenClassification
from autolora_meta.foundation.checkpoints import Checkpoints, Every
from autolora_meta.foundation.parts import Parts, in_parts, rows
from autolora_meta.ranks.pattern import RankPattern
from tests.finetuning.stacked_cases import Make
from tests.finetuning.test_trainer import Killed, Stopping, kill

DATA = Dataset.from_dict({"x": list(range(20))})


def collate(given: list[dict]) -> dict[str, torch.Tensor]:
    return {"x": torch.tensor([row["x"] for row in given])}


def drawn(batch: Parts) -> list[int]:
    return [x for part in batch.batches for x in part["x"].tolist()]


def test_parts_hold_the_rows_of_whole_batches_in_their_order() -> None:
    whole = BatchStream(DATA, collate, 6, 0)
    stream = stream_of(DATA, collate, 2, 0, 3, rows)
    assert isinstance(stream, PartStream)
    for _ in range(7):
        batch = stream.next()
        assert [len(part["x"]) for part in batch.batches] == [2, 2, 2]
        assert drawn(batch) == whole.next()["x"].tolist()


def test_too_few_rows_for_the_passes_are_said() -> None:
    with pytest.raises(InputError, match=r"3 passes \(search.accumulate\) of 8 rows .* 20 rows"):
        stream_of(DATA, collate, 8, 0, 3, rows)


def test_a_loader_goes_on_behind_the_parts_that_were_taken() -> None:
    def stream() -> PartLoaderStream:
        loader = DataLoader(DATA, batch_size=3, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]
        return PartLoaderStream(LoaderStream(loader, 1), 4, rows)

    first = stream()
    first.next()
    first.peek()  # which does not move the place
    state = first.state_dict()
    rest = [drawn(first.next()) for _ in range(3)]
    again = stream()
    again.load_state_dict(state)
    assert [drawn(again.next()) for _ in range(3)] == rest
    # The last batch of an epoch holds two rows of twenty.
    weights = [w for _ in range(3) for w in stream().next().weights]
    assert set(weights) == {0.25} and 2 / 11 in again.next().weights + again.next().weights


LABELS = torch.tensor(
    [[-100, 5, 6, 7, 8, 9], [5, -100, -100, -100, -100, 6], [5, 6, 7, -100, -100, -100]]
)


def models() -> list[tuple[Task, Any]]:
    """A task whose loss is a mean over tokens, and a model that takes it."""
    small: Any = {"vocab_size": 12, "n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 8}
    writer = GenerationOptions()
    seq: dict[str, Any] = {"d_model": 8, "d_kv": 8, "d_ff": 8, "num_layers": 1, "num_heads": 1}
    seq |= {"vocab_size": 12, "decoder_start_token_id": 0}
    t5 = T5Config(**seq)
    bert: dict[str, Any] = {
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
    }
    bert |= {"vocab_size": 12, "hidden_size": 8, "num_labels": 12}
    tags = BertConfig(**bert)
    return [
        (CausalLM(32), GPT2LMHeadModel(GPT2Config(**small))),
        (Generation(32, writer), GPT2LMHeadModel(GPT2Config(**small))),
        (Generation(32, writer, encoder_decoder=True), T5ForConditionalGeneration(t5)),
        (TokenClassification(tuple("abcdefghijkl"), 32), BertForTokenClassification(tags)),
    ]


@torch.no_grad()
@pytest.mark.parametrize("case", range(4))
def test_a_mean_over_tokens_is_that_of_the_whole_batch(case: int) -> None:
    torch.manual_seed(0)
    task, model = models()[case]
    model.loss_type = getattr(model, "loss_type", None) or "ForCausalLM"
    model.double().eval()
    batch = {"input_ids": LABELS.clamp_min(0), "labels": LABELS}
    parts = Parts.of(
        [{name: values[i : i + 1] for name, values in batch.items()} for i in range(3)],
        task.counted,
    )
    whole = task.loss(model, batch)
    apart = in_parts(task.loss)(model, parts)
    by_rows = in_parts(task.loss)(model, Parts(parts.batches, (1 / 3,) * 3))
    assert float(apart) == pytest.approx(float(whole), rel=1e-6)
    assert float(by_rows) != pytest.approx(float(whole), rel=1e-5)


@pytest.fixture
def run(folder: Path, task: Task, tokenizer: PreTrainedTokenizerBase, encoded: DatasetDict) -> Any:
    def go(*, dropout: float = 0.0, model_dropout: bool = False, **options: Any) -> RetrainResult:
        model = load_model(ModelOptions(name=str(folder)), task, 0)[0]
        if not model_dropout:
            for module in model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
        names = target_layers(model, "default")
        pattern = RankPattern(names, (1, 0, 2, 4), layer_costs(model, names), k=4, scale=2.0)
        few = DatasetDict(
            {
                name: part.select(range({"train": 18, "validation": 4}.get(name, 9)))
                for name, part in encoded.items()
            }
        )
        held = {key: options.pop(key) for key in ("progress", "checkpoints") if key in options}
        settings = RetrainOptions.model_validate({"steps": 7, "learning_rate": 1e-2} | options)
        head = head_modules(model)
        prepared = Prepared(model, tokenizer, task, few, head, task.collator(tokenizer))
        return retrain(prepared, pattern, settings, seed=0, dropout=dropout, **held)

    return go


def trained(result: RetrainResult) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in result.model.parameters() if p.requires_grad])


def test_retraining_in_passes_is_that_of_their_rows_together(run: Any) -> None:
    """An epoch of 22 rows ends with a step of 6 rows: passes of 4 and 2 that do not count alike."""
    whole, passes = run(batch_size=8), run(batch_size=4, accumulate=2)
    torch.testing.assert_close(trained(passes), trained(whole), rtol=1e-4, atol=1e-5)
    assert [row["loss"] for row in passes.log] == pytest.approx(
        [row["loss"] for row in whole.log], rel=1e-5
    )
    assert [row["learning_rate"] for row in passes.log] == [
        row["learning_rate"] for row in whole.log
    ]


@pytest.mark.parametrize("after", [4])
def test_it_goes_on_between_two_steps_of_passes(run: Any, tmp_path: Path, after: int) -> None:
    more = {"batch_size": 4, "accumulate": 2, "dropout": 0.1, "model_dropout": True}
    plain = run(**more)
    kept = Checkpoints(tmp_path, Every(steps=1))
    with pytest.raises(Killed):
        run(progress=Stopping(after, kill), checkpoints=kept, **more)
    again = run(checkpoints=kept, **more)
    assert torch.equal(trained(again), trained(plain)) and again.log == plain.log


def test_checkpointing_retrains_to_the_same_bytes(run: Any) -> None:
    more = {"batch_size": 8, "steps": 4, "dropout": 0.1, "model_dropout": True}
    plain, saved = run(**more), run(gradient_checkpointing=True, **more)
    assert torch.equal(trained(saved), trained(plain)) and saved.metrics == plain.metrics
    assert not any(getattr(m, "gradient_checkpointing", False) for m in saved.model.modules())


@pytest.mark.parametrize("option", [{"accumulate": 2}, {"gradient_checkpointing": True}])
def test_what_saves_memory_does_not_share_a_pass(make: Make, option: dict[str, Any]) -> None:
    with pytest.raises(Apart, match=r"save memory .*; train the adapters one at a time"):
        refuse_unlike([make(**option), make(seed=0)])
