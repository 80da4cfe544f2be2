"""Whether a model in eval mode gives the same image other scores each time: dropout that is always on, an augmentation inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pytest_gradcam.cam.sites import tensors_in
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.inputs.generators import Words, frozen, global_sources, held_by, levels, seeds, set_all
from pytest_gradcam.state.guard import untouched

_ROUNDING = 1e-3  # of the largest value of an output
Tensors = list[Tensor]
_Result = TypeVar("_Result")

#: Whether a model may draw random numbers here, since that is what is measured.
_allowed: ContextVar[bool] = ContextVar("_allowed", default=False)


class Draws:
    """The random numbers that a model draws in forward passes, for a caller that holds the guard.

    It looks at the generators of PyTorch, Python and NumPy, and at those that can be reached from the model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._sources = [*global_sources(), *held_by(model)]
        self._harmless = False  # whether draws were tested on some image, and changed nothing there

    def require_none(
        self, run: Callable[[], _Result], read: Callable[[_Result], Tensors], what: str = "output"
    ) -> _Result:
        """What `run` returns. Raises HeatmapError if it draws random numbers, and others change what `read` finds in it.

        Where it draws none, this takes less than a hundredth of a forward pass, so that every image can be looked at.
        """
        before = self.marks()
        out = run()
        if not _allowed.get() and self.marks() != before:
            refuse_draws(self._matter(lambda: read(run())), what)
        return out

    def differ(self, before: list[Any], first: Tensors, run: Callable[[], Tensors]) -> bool:
        """Whether `run`, the pass that gave `first`, gives something else in another run; `before` are the marks before it.

        Where random numbers were drawn, chosen ones are: a change that strikes rarely shows. Elsewhere one more pass tells.
        """
        if self.marks() != before:
            return self._matter(run)
        # With other numbers: generators may have been put back after use.
        one, two, three = islice(seeds(), 3)
        if not _differ(first, self._alone(run, one)):
            return False
        # At the end of that pass, what the passes before it changed in the model was put back as well.
        return _differ(self._alone(run, two), self._alone(run, three))

    def marks(self) -> list[Any]:
        """What differs after every draw."""
        gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return [*(source.mark() for source in self._sources), *map(frozen, gpus)]

    def _matter(self, run: Callable[[], Tensors]) -> bool:
        """Whether a run gives something else with other random numbers.

        Once they were harmless for an image, three runs look at each further one: a number that is held against a probability
        is the least there is in one of them, and the greatest in another.
        """
        chosen = [*islice(levels(), 2), next(seeds())] if self._harmless else [*seeds(), *levels()]
        try:
            # At its end, what the passes before it changed in the model is put back as well.
            self._alone(run, chosen[0])
            known, *more = (self._alone(run, state) for state in chosen)
            self._harmless = not any(_differ(known, each) for each in more)
        except HeatmapError:  # such as that nothing was found now
            self._harmless = False
        return not self._harmless

    def _alone(self, run: Callable[[], Tensors], state: Words) -> Tensors:
        """What a run gives with this state of the generators; what it changes in the model is put back."""
        with untouched(self._model):
            for source in self._sources:
                source.keep()
            set_all(self._sources, state)
            return run()


@contextmanager
def draws_allowed() -> Iterator[None]:
    """Inside, a model that gives the same image other scores each time is not refused: for the check that measures it."""
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


def refuse_draws(differ: bool, what: str = "output") -> None:
    """Raises HeatmapError if the output differs from draw to draw; `what` is it called."""
    if differ and not _allowed.get():
        raise HeatmapError(
            f"the model gives the same image another {what} each time, in eval mode, so a verdict would be one draw of many; "
            "expected a model that repeats itself. Look for F.dropout without training=self.training, and for an augmentation in "
            "forward, and export files in eval mode; where chance belongs to the model, wrap it in a module that seeds each "
            "forward pass, and set batch_size to 1. assert_deterministic measures how far heatmaps differ"
        )


def floats_in(output: Any) -> Tensors:
    """The floating-point tensors of an output, as float64."""
    return [tensor.double() for _, tensor in tensors_in(output) if tensor.is_floating_point()]


def _differ(first: Tensors, second: Tensors) -> bool:
    if [one.shape for one in first] != [one.shape for one in second]:
        return True
    pairs = [(one, other) for one, other in zip(first, second, strict=True) if one.numel()]
    return any(bool((one - other).abs().max() > _ROUNDING * one.abs().max()) for one, other in pairs)
