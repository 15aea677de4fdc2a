"""What a person sets about a task."""

from typing import Literal, Self

from pydantic import Field, model_validator

from autolora_meta.foundation.options import LATER, Options
from autolora_meta.foundation.schema import suggesting

LossOn = Literal["assistant", "completion", "all"]
Side = Literal["left", "right"]
_OF_TEXTS = ("causal-lm", "generation")  # which the options of conversations are for
_OTHERS = ("sequence-classification", "regression", "token-classification", "image-classification")


def _tasks() -> list[str]:
    from autolora_meta.finetuning.tasks import task_names  # which needs these options first

    return task_names()


class GenerationOptions(Options):
    """Writing of texts; sampling is off, so that a run can be repeated."""

    separator: str = Field(
        default="\n",
        description="Text between input and completion for a causal model; GPT-2 was adapted to "
        "E2E with its <|endoftext|>. An encoder-decoder model needs none.",
    )
    max_new_tokens: int = Field(
        default=64, ge=1, description="Largest length of a written completion, in tokens."
    )
    num_beams: int = Field(
        default=1, ge=1, description="Width of the beam search; 1: greedy. Time grows with it."
    )
    length_penalty: float = Field(
        default=1.0,
        description="Exponent of the length that a beam's score is divided by: larger values "
        "favour longer texts. Used if num_beams is more than 1.",
    )
    no_repeat_ngram_size: int = Field(
        default=0,
        ge=0,
        description="Length of n-grams that are written only once; 0: no such rule.",
    )


class TaskOptions(Options):
    """The task that the model learns."""

    type: str = Field(
        default="sequence-classification",
        description="Kind of task: sequence-classification (a class for each text or pair of "
        "texts), regression (a number for each), token-classification (a tag for each word), "
        "causal-lm (the text itself, or what the assistant says in a conversation), generation (a "
        "completion of each input), "
        "image-classification, or one that a package of yours registers as entry point of "
        "autolora_meta.tasks.",
        json_schema_extra=suggesting(_tasks),
    )
    max_length: int = Field(
        default=128,
        ge=4,
        description="Tokens that a text is cut to. Batches are padded to their own longest text, "
        "so a large number costs nothing if texts are short. In generation it limits input and "
        "completion together for a causal model, and each of them for an encoder-decoder model.",
    )
    chat_template: str | None = Field(
        default=None,
        description="Jinja template that writes conversations as text, for causal-lm and "
        "generation: the path of a file, or the template itself. It is saved with the tokenizer. "
        "null: the tokenizer's own.",
        json_schema_extra=LATER,
    )
    loss_on: LossOn | None = Field(
        default=None,
        description="Tokens that are learned in causal-lm: assistant (its messages), completion "
        "(what follows the prompt; in rows without one the assistant's last message) or all. null: "
        "completion where rows have a prompt and a completion, assistant in other conversations, "
        "all in plain texts. In generation what is to be written is learned, always.",
        json_schema_extra=LATER,
    )
    truncation_side: Side | None = Field(
        default=None,
        description="Side on which causal-lm and generation cut what is too long. null: right, or "
        "as the tokenizer says in plain texts; left for the messages before an answer in "
        "generation.",
        json_schema_extra=LATER,
    )
    generation: GenerationOptions = Field(
        default_factory=GenerationOptions, description="Writing of texts, for generation."
    )

    @model_validator(mode="after")
    def _of_their_task(self) -> Self:
        for name in ("chat_template", "loss_on", "truncation_side"):
            value = getattr(self, name)
            if value is not None and self.type in _OTHERS:
                raise ValueError(
                    f"{name} is for task.type {' and '.join(_OF_TEXTS)}, and the type is "
                    f"{self.type}; take {name} out"
                )
        if self.type == "generation" and self.loss_on not in (None, "completion"):
            raise ValueError(
                f"loss_on is '{self.loss_on}', and generation learns what is to be written alone; "
                "take it out, or choose task.type: causal-lm"
            )
        return self
