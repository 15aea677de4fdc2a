"""Gates on a PEFT model that somebody else trains, folded into its B while no step runs."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from peft import PeftModel
from torch import Tensor

from autolora_meta.bilevel.gating import GateOptions, Gates, gated, lora_factors
from autolora_meta.foundation.modes import evaluating
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.ranks.directions import Factors


class FoldedGates:
    """Gates that act between `unfold` and `fold`; else B diag(gate) stands in the place of B.

    Folded, the gates are 1 and the model is a stock PEFT model with the same function. Made folded.

    Args:
        model: has plain LoRA, named "default", of one rank on the layers.
        names: of the layers, in the base model. (L,)
        options: of the gates; `gate_sum` is k, so that they begin at 1.
        forward: one forward pass of the model, to show that every gate acts.

    Raises:
        InputError: a layer cannot be gated.
    """

    def __init__(
        self,
        model: PeftModel,
        names: Sequence[str],
        options: GateOptions,
        forward: Callable[[], object],
    ) -> None:
        self.model, self.names = model, tuple(names)
        first = self.factors[0][0]
        kind = torch.promote_types(torch.float32, first.dtype)
        self.gates = Gates(self.names, first.shape[0], options).to(first.device, kind)
        self.gates.logits.requires_grad_(False)  # the training's backward passes leave it alone
        self._moved = self.gates.logits.detach().clone()
        self._unfolded: list[Tensor] | None = [b.detach().clone() for _, b in self.factors]
        self._hooks = ExitStack()
        self._hooks.enter_context(gated(model, self.gates, forward))

    @property
    def factors(self) -> list[Factors]:
        """A and B of each layer, as they are now."""
        return lora_factors(self.model, self.names)

    @torch.no_grad()
    def fold(self) -> None:
        """Put B diag(gate) in the place of B, and 1 in the place of the gates."""
        if self._unfolded is not None:
            return
        self._moved = self.gates.logits.detach().clone()
        self._unfolded = [b.detach().clone() for _, b in self.factors]
        for (_, b), gate in zip(self.factors, self.gates(), strict=True):
            b.mul_(gate.to(b.dtype).view(1, -1, *[1] * (b.ndim - 2)))  # (out, k, ...)
        self.gates.logits.zero_()

    @torch.no_grad()
    def unfold(self) -> None:
        """Undo `fold`, to the bit."""
        if self._unfolded is None:
            return
        for (_, b), old in zip(self.factors, self._unfolded, strict=True):
            b.copy_(old)
        self.gates.logits.copy_(self._moved)
        self._unfolded = None

    def gradient(self, loss: Callable[[], Tensor]) -> tuple[float, Tensor]:
        """Return a loss of the model in eval mode, and its gradient by the logits of the gates.

        Modes, gradients and random state are left alone.

        Args:
            loss: runs the model; called while the gates act.
        """
        logits = self.gates.logits
        with replay(RandomState.snapshot()), evaluating(self.model), torch.enable_grad():
            logits.requires_grad_(True)
            try:
                value = loss()
                (gradient,) = torch.autograd.grad(value, logits)
            finally:
                logits.requires_grad_(False)
        return float(value.detach()), gradient

    def close(self) -> None:
        """Fold, and take the hooks off the model."""
        self.fold()
        self._hooks.close()
