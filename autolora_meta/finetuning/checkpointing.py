"""Gradient checkpointing: blocks are computed again on the way back, instead of kept."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from autolora_meta.errors import InputError

_FLAG, _CALL = "gradient_checkpointing", "_gradient_checkpointing_func"


@contextmanager
def checkpointed(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Run the body with gradient checkpointing of the kind without reentry, then as it was before.

    Gradients reach what is trained inside of a block though no input of the block requires any.
    Masks of dropout are the same the second time, and so is the kernel of attention: double
    backward needs one that has it.

    Args:
        model: a model of transformers, or a PeftModel of one, whose modules are restored.
        wanted: False: the body runs with the model as it is.

    Raises:
        InputError: the model cannot.
    """
    if not wanted:
        yield
        return
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    if not isinstance(base, PreTrainedModel) or not base.supports_gradient_checkpointing:
        raise InputError(
            f"gradient_checkpointing is on, and {type(base).__name__} has no blocks that "
            "transformers can checkpoint; leave it out, and lower batch_size or set accumulate"
        )
    before = [
        (module, {name: vars(module)[name] for name in (_FLAG, _CALL) if name in vars(module)})
        for module in base.modules()
    ]
    caches = getattr(base.config, "use_cache", None)
    try:
        with warnings.catch_warnings():
            # transformers has another name for it in later releases, and keeps this one until 6.
            warnings.simplefilter("ignore", FutureWarning)
            base.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={
                    "use_reentrant": False,
                    "context_fn": _contexts,
                }
            )
        if caches:
            base.config.use_cache = False  # or each block would warn that it has to
        yield
    finally:
        if caches:
            base.config.use_cache = caches
        for module, held in before:
            for name in (_FLAG, _CALL):
                vars(module).pop(name, None)
            vars(module).update(held)


class _SameAttention:
    """A context in which attention takes the kernels that were allowed when it was made.

    It can be entered again, as each way back does.
    """

    def __init__(self) -> None:
        cuda = torch.backends.cuda
        allowed = {
            SDPBackend.FLASH_ATTENTION: cuda.flash_sdp_enabled(),
            SDPBackend.EFFICIENT_ATTENTION: cuda.mem_efficient_sdp_enabled(),
            SDPBackend.MATH: cuda.math_sdp_enabled(),
            SDPBackend.CUDNN_ATTENTION: cuda.cudnn_sdp_enabled(),
        }
        self._kernels = [kernel for kernel, on in allowed.items() if on]
        self._open = list[AbstractContextManager[Any]]()

    def __enter__(self) -> None:
        context = sdpa_kernel(self._kernels)
        context.__enter__()
        self._open.append(context)

    def __exit__(self, *error: object) -> None:
        self._open.pop().__exit__(None, None, None)


def _contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Return the contexts of the first pass and of those that compute a block again."""
    return nullcontext(), _SameAttention()
