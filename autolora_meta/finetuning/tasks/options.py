"""What a person sets about a task."""

from pydantic import Field

from autolora_meta.foundation.options import Options


class GenerationOptions(Options):
    """How texts are written; sampling is off, so that a run can be repeated."""

    separator: str = Field(
        default="\n",
        description="what stands between input and completion for a causal model; GPT-2 was "
        "adapted to E2E with its <|endoftext|>. An encoder-decoder model needs none",
    )
    max_new_tokens: int = Field(
        default=64, ge=1, description="tokens after which a completion that did not end is cut"
    )
    num_beams: int = Field(
        default=1, ge=1, description="width of the beam search; 1: greedy. Time grows with it"
    )
    length_penalty: float = Field(
        default=1.0,
        description="exponent of the length that a beam's score is divided by: larger favours "
        "longer texts; counts where num_beams is more than 1",
    )
    no_repeat_ngram_size: int = Field(
        default=0, ge=0, description="n-grams of this length are written once; 0: no such rule"
    )


class TaskOptions(Options):
    """What the model learns to do."""

    type: str = Field(
        default="sequence-classification",
        description="sequence-classification (one class for each text or pair of texts), "
        "regression (one number for each), token-classification (one tag for each word), "
        "causal-lm (the text itself), generation (a completion of each input), "
        "image-classification, or a task that a package of yours registers as entry point of "
        "autolora_meta.tasks",
    )
    max_length: int = Field(
        default=128,
        ge=4,
        description="tokens a text is cut to. Batches are padded to their own longest text, so a "
        "large number costs nothing where texts are short; how many were cut is said. Time of a "
        "step grows with it where texts are long. In generation it holds input and completion "
        "together for a causal model, each of them for an encoder-decoder model",
    )
    generation: GenerationOptions = Field(default_factory=GenerationOptions)
