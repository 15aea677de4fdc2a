"""Labels are smoothed where something is trained, and nowhere else."""

import pytest
import torch
from torch.nn import functional

from autolora_meta.finetuning.label_smoothing import LabelSmoothing


def test_losses_of_a_training_are_smoothed_and_those_of_test_rows_are_not() -> None:
    scores, label = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    plain = functional.cross_entropy(scores, label)
    with LabelSmoothing(0.5):
        trained = functional.cross_entropy(scores, label)
        with torch.no_grad():
            tested = functional.cross_entropy(scores, label)
    # Half of the weight is shared out evenly over both classes: 0.75 and 0.25.
    wanted = -(0.75 * scores.log_softmax(-1)[0, 0] + 0.25 * scores.log_softmax(-1)[0, 1])
    assert float(trained) == pytest.approx(float(wanted))
    assert float(tested) == float(plain)
