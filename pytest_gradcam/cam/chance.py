"""Whether a model in eval mode gives the same image other scores each time: dropout that is always on, an augmentation inside."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.sites import tensors_in
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import forward
from pytest_gradcam.state.surroundings import random_states_kept

_DRAWS = 7  # passes: a flip of every other image shows in all but one of 64 models
_ROUNDING = 1e-3  # of the largest value of an output


#: Whether a model may draw random numbers here, since that is what is measured.
_allowed: ContextVar[bool] = ContextVar("_allowed", default=False)


@dataclass
class Draws:
    """What became of the random numbers that a forward pass drew; `differ` says whether other ones give another output."""

    differ: bool = False


@contextmanager
def draws_in(model: nn.Module, image: Tensor) -> Iterator[Draws]:
    """A `with` block around a forward pass of the image (1, C, H, W), for a caller that holds the guard.

    If random numbers were drawn in it, further passes show whether the output differs from draw to draw.
    Generators that a model holds are not seen.
    """
    before, found = _states(), Draws()
    yield found
    if all(torch.equal(one, other) for one, other in zip(before, _states(), strict=True)):
        return
    with random_states_kept(), torch.no_grad():  # what follows draws what it would have drawn
        first, *more = (_floats(forward(model, image)) for _ in range(_DRAWS))
    found.differ = any(_differ(first, other) for other in more)


@contextmanager
def draws_allowed() -> Iterator[None]:
    """Inside, a model that gives the same image other scores each time is not refused: for the check that measures it."""
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


def refuse_draws(differ: bool) -> None:
    """Raises HeatmapError if the output differs from draw to draw."""
    if differ and not _allowed.get():
        raise HeatmapError(
            "the model draws random numbers in eval mode and gives the same image other scores each time, so a verdict would be "
            "one draw of many; expected a model that repeats itself. Look for F.dropout without training=self.training, and for "
            "an augmentation in forward; where chance belongs to the model, wrap it in a module that seeds each forward pass. "
            "assert_deterministic measures how far heatmaps differ"
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
