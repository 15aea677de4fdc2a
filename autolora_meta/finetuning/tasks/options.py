"""What a person sets about a task."""

from pydantic import Field

from autolora_meta.foundation.options import Options
from autolora_meta.foundation.schema import suggesting


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
        "causal-lm (the text itself), generation (a completion of each input), "
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
    generation: GenerationOptions = Field(
        default_factory=GenerationOptions, description="Writing of texts, for generation."
    )
