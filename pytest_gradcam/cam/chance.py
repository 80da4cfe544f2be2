"""Whether a model in eval mode gives the same image other scores each time: dropout that is always on, an augmentation inside."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.sites import tensors_in
from pytest_gradcam.errors import GradcamWarning
from pytest_gradcam.state.guard import forward

_DRAWS = 7  # passes: a flip of every other image shows in all but one of 64 models
_ROUNDING = 1e-3  # of the largest value of an output


@contextmanager
def chance_is_said(model: nn.Module, image: Tensor) -> Iterator[None]:
    """A `with` block around a forward pass of the image (1, C, H, W), for a caller that holds the guard.

    If random numbers were drawn in it, further passes show whether the output differs from draw to draw: then it warns.
    Generators that a model holds are not seen.
    """
    before = _states()
    yield
    if all(torch.equal(one, other) for one, other in zip(before, _states(), strict=True)):
        return
    with torch.no_grad():
        first, *more = (_floats(forward(model, image)) for _ in range(_DRAWS))
    if any(_differ(first, other) for other in more):
        warnings.warn(
            "the model draws random numbers in eval mode, and gives the same image other scores each time: a check sees one draw "
            "of many. Look for F.dropout without training=self.training, and for an augmentation in forward; "
            "assert_deterministic measures how far heatmaps differ",
            GradcamWarning,
            stacklevel=2,
        )


def _states() -> list[Tensor]:
    """The global random states of PyTorch, Python and NumPy."""
    states = [torch.get_rng_state(), torch.tensor(random.getstate()[1], dtype=torch.int64)]
    if torch.cuda.is_initialized():
        states += torch.cuda.get_rng_state_all()
    if numpy := sys.modules.get("numpy"):
        _, keys, place, *_ = numpy.random.get_state()
        states.append(torch.tensor([*map(int, keys), int(place)]))
    return states


def _floats(output: Any) -> list[Tensor]:
    return [tensor.double() for _, tensor in tensors_in(output) if tensor.is_floating_point()]


def _differ(first: list[Tensor], second: list[Tensor]) -> bool:
    if [one.shape for one in first] != [one.shape for one in second]:
        return True
    pairs = [(one, other) for one, other in zip(first, second, strict=True) if one.numel()]
    return any(bool((one - other).abs().max() > _ROUNDING * one.abs().max()) for one, other in pairs)
