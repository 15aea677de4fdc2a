"""The adapter of a run: saved by the job that retrained it, with a model card."""

from dataclasses import dataclass
from pathlib import Path

from autolora_meta.config.run import RunConfig
from autolora_meta.exporting.adapter import save_adapter
from autolora_meta.finetuning.models import load_model
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.card import model_card


@dataclass(frozen=True)
class KeepAdapter:
    """What is done with a retrained model whose adapter is wanted; it pickles.

    Args:
        config: of the run.
        by_hand: the ranks are not those that the run's own search and rule gave.
    """

    config: RunConfig
    by_hand: bool = False

    def __call__(
        self, result: RetrainResult, pattern: RankPattern, prepared: Prepared, folder: Path
    ) -> None:
        """Save an adapter that loads with PEFT alone, with a card; it is checked by loading it."""
        # Another seed gives the fresh base another head: the right one must come from the adapter.
        base, _ = load_model(self.config.model, prepared.task, self.config.seed + 1)
        card = model_card(self.config, pattern, result, prepared, by_hand=self.by_hand)
        save_adapter(result, folder, card, base=base)
