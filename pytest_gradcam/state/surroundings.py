"""What a process holds for all models, and is given back as it was: random states, and the modes of PyTorch."""

from __future__ import annotations

import ctypes
import random
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils import checkpoint

from pytest_gradcam.state.undo import later, undoing

#: The words of a Mersenne Twister's state.
STATE = 624
# The two ways of torch.utils.checkpoint.checkpoint, by the names in its module that it looks up at each call. A version
# of torch that names them otherwise recomputes, and says so with a CheckpointError rather than with another map.
_REENTRANT = "CheckpointFunction"
_GENERATORS = ("_checkpoint_without_reentrant_generator", "_checkpoint_without_reentrant_generator_impl")


def random_states_kept() -> undoing[None]:
    """A `with` block: the global random states of Python, NumPy and PyTorch are afterwards what they were before."""
    return undoing(keep_random_states)


def eager() -> undoing[None]:
    """A `with` block: compiled code runs as it is written, and gradient checkpointing is off."""
    return undoing(run_eagerly)


def without_gradients() -> undoing[None]:
    """A `with` block: as torch.no_grad, and its end may be interrupted."""

    def begin() -> None:
        later(partial(_set_grad, torch.is_grad_enabled()))
        _set_grad(False)

    return undoing(begin)


def seed_all(seed: int) -> None:
    """The global random states of Python, NumPy and PyTorch begin at this seed."""
    random.seed(seed)
    torch.manual_seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)


def keep_random_states() -> None:
    """For `undoing`: they are put back at the end."""
    later(partial(random.setstate, random.getstate()))
    later(partial(torch.set_rng_state, torch.get_rng_state()))
    if numpy := sys.modules.get("numpy"):
        state = numpy.random.get_state()
        waits = isinstance(state, tuple) and bool(state[3])
        mark = None if waits else numpy_mark()

        def put_back() -> None:
            if mark is None or numpy_mark() != mark:
                numpy.random.set_state(state)

        later(put_back)
        # A normal number that waits is dropped: inside, every draw shows in the generator itself.
        if waits:
            numpy.random.set_state((*state[:3], 0, 0.0))
    if torch.cuda.is_initialized():
        later(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    if torch.backends.mps.is_available():
        later(partial(torch.mps.set_rng_state, torch.mps.get_rng_state()))


def numpy_mark() -> bytes | None:
    """What differs after every draw from NumPy's global generator, in less time than its state takes; None where it is another
    kind than usual. Its words and its place in them: a normal number that waits for the next draw is not here.
    """
    from numpy.random import MT19937

    bits = sys.modules["numpy"].random.mtrand._rand._bit_generator
    return ctypes.string_at(bits.ctypes.state_address, 4 * (STATE + 1)) if isinstance(bits, MT19937) else None


def take_gradients() -> None:
    """For `undoing`: gradients can be taken, also inside of no_grad and inference_mode."""
    later(partial(_set_grad, torch.is_grad_enabled()))
    if torch.is_inference_mode_enabled():
        left = torch.inference_mode(False)
        later(lambda: _leave(left))
        left.__enter__()
    _set_grad(True)


def run_eagerly() -> None:
    """For `undoing`: hooks do not reach into compiled code, and what is recomputed would not go through our leaf."""
    stances: list[Any] = []
    later(lambda: _end_all(stances))
    stances.append(torch.compiler.set_stance("force_eager"))  # holds from here on
    for name in (_REENTRANT, *_GENERATORS):
        if hasattr(checkpoint, name):
            later(partial(setattr, checkpoint, name, getattr(checkpoint, name)))
            setattr(checkpoint, name, _PlainCall if name == _REENTRANT else _bare)


def _end_all(stances: list[Any]) -> None:
    for stance in stances:
        stance.__exit__(None, None, None)


def _set_grad(enabled: bool) -> None:
    torch.set_grad_enabled(enabled)


def _leave(mode: torch.inference_mode) -> None:
    if hasattr(mode, "_inference_mode_context"):  # it was entered; leaving it twice does nothing
        mode.__exit__(None, None, None)


class _PlainCall:
    @staticmethod
    def apply(function: Callable[..., Any], _preserve: bool, *arguments: Any) -> Any:
        return function(*arguments)


def _bare(*_arguments: Any, **_options: Any) -> Iterator[None]:
    """In place of what sets up a recomputation before its one yield, and finishes it after."""
    yield
