"""Names that other tools and data sets have for the tasks."""

import re
from collections.abc import Sequence

from autolora_meta.errors import unknown

# Pipelines of transformers, task types of PEFT, classes behind `AutoModelFor`, data sets; in lower
# case and without what stands between words.
_MEANT = {
    "sequence-classification": "textclassification classification classifier sentimentanalysis "
    "sentiment seqcls sequenceclassification singlelabelclassification nli textentailment "
    "textualentailment paraphrase intentclassification cola mrpc mnli qnli qqp rte sst2 sst wnli "
    "imdb agnews",
    "regression": "stsb sts similarity semantictextualsimilarity scoring textregression",
    "token-classification": "ner pos postagging tagging chunking sequencelabeling "
    "sequencelabelling sequencetagging namedentityrecognition tokencls tokenclassification conll "
    "conll2003 jnlpba",
    "causal-lm": "textgeneration languagemodeling languagemodelling lm clm causallm causal "
    "causallanguagemodeling lmheadmodel pretraining wikitext sft instructiontuning chat",
    "generation": "textgeneration text2textgeneration text2text seq2seq seq2seqlm "
    "sequencetosequence conditionalgeneration translation summarization summarisation "
    "datatotext sft instructiontuning chat e2e webnlg causallm",
    "image-classification": "imageclassification imagecls vision pictures images cifar10 mnist",
}
_ELSEWHERE = (
    "questionanswering questionans qa squad fillmask maskedlm mlm featureextraction "
    "embeddings multiplechoice multilabelclassification multilabel objectdetection "
    "imagesegmentation semanticsegmentation audioclassification speechrecognition "
    "automaticspeechrecognition asr speechseq2seq zeroshotclassification imagetotext "
    "visualquestionanswering vqa"
)
_GLUE = ("cola", "mrpc", "mnli", "qnli", "qqp", "rte", "sst2", "stsb", "wnli")


def unknown_task(name: str, allowed: Sequence[str]) -> str:
    """Return a sentence about an unknown `task.type`, with the task that was probably meant.

    >>> unknown_task("SEQ_CLS", ["regression", "sequence-classification"])
    "unknown task 'SEQ_CLS' (did you mean 'sequence-classification'?); allowed: regression, \
sequence-classification"
    """
    plain = re.sub(r"[\W_]", "", name.rpartition("For")[2]).lower()
    meant = [task for task, names in _MEANT.items() if plain in names.split()]
    words = unknown("task", name, allowed, meant=meant)
    if plain in _GLUE:
        words += f". The rows of {plain} are data.source=nyu-mll/glue data.name={plain}"
    if plain in _ELSEWHERE.split():
        words += (
            ". There is none for that: write your own (autolora_meta.Task, docs/tasks.md), or give "
            "model, batches and loss from Python (search_model(model, train, validation, loss=...))"
        )
    return words
