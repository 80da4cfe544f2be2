"""Whether a model in eval mode gives the same image other scores each time: dropout that is always on, an augmentation inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.sites import tensors_in
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.inputs.generators import Source, Words, frozen, global_sources, held_by, levels, seeds
from pytest_gradcam.state.guard import untouched
from pytest_gradcam.state.surroundings import seed_all

_ROUNDING = 1e-3  # of the largest value of an output
Tensors = list[Tensor]

#: Whether a model may draw random numbers here, since that is what is measured.
_allowed: ContextVar[bool] = ContextVar("_allowed", default=False)


class Draws:
    """The random numbers that a model draws in the forward pass that follows, for a caller that holds the guard.

    It looks at the generators of PyTorch, Python and NumPy, and at those that can be reached from the model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._sources = [*global_sources(), *held_by(model)]
        self._before = _states(self._sources)

    def differ(self, first: Tensors, run: Callable[[], Tensors]) -> bool:
        """Whether `run`, the pass that gave `first`, gives something else in another run.

        Where random numbers were drawn, chosen ones are: a change that strikes rarely shows. Elsewhere one more pass tells.
        """
        drawn = _states(self._sources) != self._before
        with torch.no_grad():
            if not drawn and not _differ(first, run()):
                return False
            self._alone(run)  # at its end, what the passes before it changed in the model is put back as well
            if not drawn:
                return _differ(self._alone(run), self._alone(run))
            known, *more = (self._alone(run, state) for state in [*seeds(), *levels()])
        return any(_differ(known, each) for each in more)

    def _alone(self, run: Callable[[], Tensors], state: Words | None = None) -> Tensors:
        """What a run gives with this state of the generators; what it changes in the model is put back."""
        with untouched(self._model):
            if state is not None:
                seed_all(int(state[0]))  # those on other devices
                for source in self._sources:
                    source.keep()
                    if source.settable:
                        source.set(state)
            return run()


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
            "the model gives the same image another output each time, in eval mode, so a verdict would be one draw of many; "
            "expected a model that repeats itself. Look for F.dropout without training=self.training, and for an augmentation in "
            "forward, and export files in eval mode; where chance belongs to the model, wrap it in a module that seeds each "
            "forward pass, and set batch_size to 1. assert_deterministic measures how far heatmaps differ"
        )


def _states(sources: Sequence[Source]) -> list[Any]:
    """What each of these gives next, and the generators of GPUs."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [*(frozen(each.state()) for each in sources), *map(frozen, gpus)]


def floats_in(output: Any) -> Tensors:
    """The floating-point tensors of an output, as float64."""
    return [tensor.double() for _, tensor in tensors_in(output) if tensor.is_floating_point()]


def _differ(first: Tensors, second: Tensors) -> bool:
    if [one.shape for one in first] != [one.shape for one in second]:
        return True
    pairs = [(one, other) for one, other in zip(first, second, strict=True) if one.numel()]
    return any(bool((one - other).abs().max() > _ROUNDING * one.abs().max()) for one, other in pairs)
