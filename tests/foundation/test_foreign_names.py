"""Names that settings and tasks have in other tools are answered with ours."""

import re
from dataclasses import fields

import pytest
from peft import LoraConfig, TaskType
from transformers import TrainingArguments
from transformers.pipelines import SUPPORTED_TASKS

from autolora_meta import InputError, RunConfig
from autolora_meta.finetuning.tasks import TASKS, task_class
from autolora_meta.foundation.foreign_names import FOREIGN, foreign
from autolora_meta.foundation.options import keys
from tests.end_to_end import command


def refusal(*layers: str) -> str:
    with pytest.raises(InputError) as raised:
        RunConfig.load("quickstart", *layers)
    return str(raised.value)


def test_every_setting_that_the_table_names_is_there() -> None:
    known = set(keys(RunConfig))
    assert {"lora.k", "search.inner.learning_rate"} <= known
    for name, answer in FOREIGN.items():
        assert set(answer.ours) <= known, name
        assert answer.ours or answer.words, name
        assert name not in answer.ours, name


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("epochs=3", "'epochs'; here it is retrain.epochs or search.epochs"),
        ("retrain.num-train-epochs=3", "here it is retrain.epochs"),
        ("gradient_accumulation_steps=4", "here it is retrain.accumulate or search.accumulate"),
        ("per_device_train_batch_size=8", "here it is retrain.batch_size or search.batch_size"),
        ("micro_batch_size=8", "here it is retrain.batch_size or search.batch_size"),
        ("lora.r=8", "here it is lora.k or ranks.budget"),
        ("lora.lora_alpha=16", "here it is lora.scale"),
        ("target_modules=[q_proj]", "here it is lora.targets"),
        ("model.load_in_4bit=true", "here it is model.quantization: nf4 or int8"),
        ("lora.use_dora=true", "there is none here: gates act on the components of plain LoRA"),
        ("base_model=gpt2", "here it is model.name"),
        ("datasets=[x]", "here it is data.source"),
        ("sequence_len=64", "here it is task.max_length"),
        ("output_dir=out", "here it is name: .* --runs"),
        # Ours, in another place.
        ("k=4", r"unknown key 'k' \(did you mean 'lora.k'\?\)"),
        (
            "learning_rate=0.1",
            "did you mean 'search.inner.learning_rate' or 'search.outer.learning_rate' or "
            "'retrain.learning_rate'",
        ),
        ("retrain.seed=1", "did you mean 'seed'"),
        # Nearest spelling still.
        ("search.outer_stepz=3", "did you mean 'search.outer_steps'"),
    ],
)
def test_a_setting_of_another_tool(given: str, answer: str) -> None:
    assert any(re.search(answer, line) for line in refusal(given).splitlines())


def test_the_settings_that_people_give_most_are_known() -> None:
    ours = {key.rpartition(".")[2] for key in keys(RunConfig)}
    trainer = {field.name for field in fields(TrainingArguments)}
    lora = {field.name for field in fields(LoraConfig)}
    common = {"num_train_epochs", "optim", "weight_decay", "bf16", "fp16", "seed", "report_to"}
    common |= {"target_modules", "use_rslora", "modules_to_save", "rank_pattern"}
    for name in common:
        assert name in trainer | lora  # else the table is of another version
        assert foreign(name) or name in ours, name


@pytest.mark.parametrize(
    ("given", "task"),
    [
        ("text-classification", "sequence-classification"),
        ("classification", "sequence-classification"),
        ("sst2", "sequence-classification"),
        ("STS-B", "regression"),
        ("AutoModelForSequenceClassification", "sequence-classification"),
        ("ner", "token-classification"),
        ("text-generation", "causal-lm' or 'generation"),
        ("translation", "generation"),
        ("summarization", "generation"),
        ("image_classification", "image-classification"),
        ("SEQ_CLS", "sequence-classification"),
        ("TOKEN_CLS", "token-classification"),
        ("CAUSAL_LM", "causal-lm"),
        ("SEQ_2_SEQ_LM", "generation"),
    ],
)
def test_a_task_by_another_name(given: str, task: str) -> None:
    assert f"(did you mean '{task}" in refusal(f"task.type={given}")
    with pytest.raises(InputError, match=f"did you mean '{task}"):
        task_class(given)


def test_every_task_of_transformers_and_peft_is_answered() -> None:
    answered = 0
    for name in [*(kind.value for kind in TaskType), *SUPPORTED_TASKS]:
        if name in TASKS:
            continue
        said = refusal(f"task.type={name}")
        answered += "did you mean" in said or "write your own" in said
    assert answered >= 12
    assert "write your own" in refusal("task.type=question-answering")
    assert "data.source=nyu-mll/glue data.name=sst2" in refusal("task.type=sst2")


def test_a_setting_given_as_an_option() -> None:
    for option, answer in (
        ("--epochs", "here it is retrain.epochs"),
        ("--lora.k", "such as lora.k="),
    ):
        said = command("run", "quickstart", option, "3")
        assert said.status == 2
        assert "key=value" in said.err and answer in " ".join(said.err.replace("│", "").split())
