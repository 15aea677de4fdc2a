"""RowWeights: outer variables of their own kind, a weight for each training row."""

import torch
from torch import Tensor, nn


class RowWeights(nn.Module):
    """Weights of training rows, each between 0 and 1, which is the weight of a clean row.

    The weight of row i is sigmoid(logit_i). Inside of a batch only their ratios count
    (`problems/reweighting.py`).

    Args:
        rows: n.
        start: the weights at the start; None: 0.5, which says nothing of any row. (n,)

    Attributes:
        logits: free parameters. (n,)
        members: None: searches of weights do not share a pass.

    Source: learning to reweight examples, arXiv 1803.09050, which keeps no weight from one step to
    the next; a weight that is kept, as here, sees each row as often as there are epochs.
    """

    members: int | None = None

    def __init__(self, rows: int, start: Tensor | None = None) -> None:
        super().__init__()
        begin = torch.zeros(rows) if start is None else torch.logit(start.float(), eps=1e-3)
        self.logits = nn.Parameter(begin)

    def forward(self, numbers: Tensor | None = None) -> Tensor:
        """Return the weights of the rows with these numbers, (B,); of all rows, (n,)."""
        logits = self.logits if numbers is None else self.logits[numbers]
        return logits.sigmoid()

    def entropies(self) -> list[float]:
        """Return the entropy of the shares w_i / sum w, divided by that of equal shares, in a list.

        Of weights that are 0 or 1 alike, it is log of how many are 1, over log n.
        """
        if len(self.logits) == 1:
            return [1.0]
        with torch.no_grad():
            weights = self().double()
        shares = weights / weights.sum().clamp_min(1e-30)
        most = float(torch.log(torch.tensor(float(len(shares)))))
        return [float(torch.special.entr(shares).sum()) / most]
