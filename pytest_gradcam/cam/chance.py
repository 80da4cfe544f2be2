"""Whether a model in eval mode gives the same image other scores each time: dropout that is always on, an augmentation inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.sites import tensors_in
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.inputs.generators import Source, frozen, global_sources, held_by
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

    If random numbers were drawn in it, further passes show whether the output differs from draw to draw. It looks at the
    generators of PyTorch, Python and NumPy, and at those that can be reached from the model.
    """
    own, found = held_by(model), Draws()
    sources = [*global_sources(), *own]
    before = _states(sources)
    yield found
    if _states(sources) == before:
        return
    with random_states_kept(), _kept(own), torch.no_grad():  # what follows draws what it would have drawn
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


def _states(sources: Sequence[Source]) -> list[Any]:
    """What each of these gives next, and the generators of GPUs."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [*(frozen(each.state()) for each in sources), *map(frozen, gpus)]


@contextmanager
def _kept(sources: Sequence[Source]) -> Iterator[None]:
    states = [each.state() for each in sources]
    try:
        yield
    finally:
        for each, state in zip(sources, states, strict=True):
            each.put(state)


def _floats(output: Any) -> list[Tensor]:
    return [tensor.double() for _, tensor in tensors_in(output) if tensor.is_floating_point()]


def _differ(first: list[Tensor], second: list[Tensor]) -> bool:
    if [one.shape for one in first] != [one.shape for one in second]:
        return True
    pairs = [(one, other) for one, other in zip(first, second, strict=True) if one.numel()]
    return any(bool((one - other).abs().max() > _ROUNDING * one.abs().max()) for one, other in pairs)
