"""Max pooling on the CPU, to the same bits in a fifth of the time.

PyTorch's loop over channels-last memory is vectorised, the one over contiguous memory is not: a ResNet-18 spends a seventh of
its forward pass in its one max pooling.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pytest_gradcam.state.tensors import FLOATS
from pytest_gradcam.state.undo import later

_NAME = "max_pool2d"
_BY_TORCH = torch.max_pool2d  # which nn.MaxPool2d and functional.max_pool2d end in, but where indices are asked for
_FEWEST = 8  # channels; with two or three the copies cost more


def pool_in_channels_last() -> None:
    """For `undoing`: the model's max pooling is faster where no gradient passes through it."""
    if torch.max_pool2d is _BY_TORCH:  # nobody else has put another in its place
        later(partial(setattr, torch, _NAME, _BY_TORCH))
        setattr(torch, _NAME, _max_pool2d)


def _max_pool2d(*arguments: Any, **options: Any) -> Any:
    if not arguments or not _gains(arguments[0]):
        return _BY_TORCH(*arguments, **options)
    image = arguments[0].contiguous(memory_format=torch.channels_last)
    # Not contiguous(): what has one place may keep strides that the next convolution takes for channels-last.
    return _BY_TORCH(image, *arguments[1:], **options).clone(memory_format=torch.contiguous_format)


with suppress(Exception):  # private: torch.jit.script, in a forward pass, compiles the operation for either name
    torch.jit._builtins._register_builtin(_max_pool2d, "aten::max_pool2d")


def _gains(image: Any) -> bool:
    plain = (
        type(image) is Tensor
        and image.dtype in FLOATS
        and image.device.type == "cpu"
        and not image.is_nested
        and image.ndim == 4
        and image.shape[1] >= _FEWEST
        and not image.requires_grad
        and image.is_contiguous()
        and image.stride(1) > 1  # one place is in both formats
    )
    try:
        return plain and bool(image.data_ptr())
    except RuntimeError:  # one of many under torch.func.vmap, which know no channels-last
        return False
