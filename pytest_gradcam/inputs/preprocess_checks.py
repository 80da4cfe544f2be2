"""Whether a preprocess gives the same result for the same image each time.

A random transform changes the global random states, however rarely it is applied. Draws that change nothing (a transform
with p = 1 also draws) are told from others with random states whose next numbers are the smallest or the largest
possible: a transform with a probability between 0 and 1 is applied in one case and not in the other.
A preprocess with its own generator can only be found out by repetition.
"""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pytest_gradcam.errors import GradcamWarning, HeatmapError
from pytest_gradcam.inputs.preprocess import Pipeline
from pytest_gradcam.state.surroundings import random_states_kept, seed_all

_REPEATS = 8  # a preprocess that flips half of the images agrees with itself this often once in 256 tries
_BUDGET = 0.25  # seconds for repetitions of a slow preprocess
_STATE, _SET = (
    624,
    64,
)  # the words of a Mersenne Twister, and how many of them are set: the rest end loops that wait for others
_LEAST, _GREATEST = (
    0x02004408,
    0x12DD9BB3,
)  # words that it gives out as 1024, since 0 would meet p = 0, and as 2**32 - 1


class Steadiness:
    """Runs a pipeline on the images of a run for as long as it makes the same of the same image."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._fault = ""
        self._images = 0
        self._draws_change_nothing = False

    def run(self, image: Image.Image, name: str) -> Tensor:
        """What the pipeline makes of the image (C, H, W). Raises HeatmapError if it is random, now and from then on."""
        if self._fault:
            raise HeatmapError(self._fault)
        with random_states_kept():
            before = _states()
            out = self._pipeline(image)
            drew = not _same_states(before, _states())
            if drew and not self._draws_change_nothing:
                self._require(self._alike(image, out, [*_extremes(), *_seeds()]), name)
                self._draws_change_nothing = True
            if not self._images:
                self._repeat(image, name)
        self._images += 1
        return out

    def require_repeatable(self, image: Image.Image, name: str) -> None:
        """Raises HeatmapError, now and from then on, if repetitions on this image differ from each other."""
        with random_states_kept():
            self._repeat(image, name)

    def _repeat(self, image: Image.Image, name: str) -> None:
        # Beside noise, since a picture that is its own mirror image shows no flip.
        noise = np.random.default_rng(0).integers(0, 256, (image.height, image.width, 3), np.uint8)
        mixed = Image.blend(image.convert("RGB"), Image.fromarray(noise), 0.5)
        self._require(self._alike(mixed, self._pipeline(mixed), _seeds()), name)

    def _alike(self, image: Image.Image, out: Tensor, states: list[Callable[[], object]]) -> bool:
        """Whether repetitions after each of the settings of the random states are equal to `out`."""
        begin = time.monotonic()
        for place, set_states in enumerate(states):
            if place > 1 and time.monotonic() - begin > _BUDGET:
                break
            set_states()
            if not equal(self._pipeline(image), out):
                return False
        return True

    def _require(self, steady: bool, name: str) -> None:
        if steady:
            return
        self._fault = (
            f"the preprocess is random: the same image comes out different each time (seen at {name}), so no verdict can be "
            "repeated; pass the transforms of evaluation, not those of training"
        )
        if self._images:
            late = f"; {self._images} images went through it before in this run: what was decided on them is void"
            self._fault += late
            warnings.warn(self._fault, GradcamWarning, stacklevel=2)
        raise HeatmapError(self._fault)


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two outputs are the same, NaN in the same places."""
    return a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())


def _seeds() -> list[Callable[[], object]]:
    return [partial(seed_all, seed) for seed in range(_REPEATS)]


def _extremes() -> list[Callable[[], object]]:
    """Settings of the global random states: the least numbers and the greatest come next."""
    return [partial(_set_states, _LEAST), partial(_set_states, _GREATEST)]


def _set_states(word: int) -> None:
    """All three generators are Mersenne Twisters: set the words of their states that they give out next."""
    words = np.random.default_rng(0).integers(2**32, size=_STATE, dtype=np.uint32)
    words[:_SET] = word
    random.setstate((3, (*words.tolist(), 0), None))
    np.random.set_state(("MT19937", words, 0, 0, 0.0))
    state = torch.get_rng_state()
    fields = state.numpy()[: 8 * (3 + _STATE)].view(np.int64)
    fields[1:3] = (1 << 32) | _STATE, 0  # how many words are left, that it is seeded, and which is next
    fields[3:] = words
    torch.set_rng_state(state)
    if not {_LEAST: 0, _GREATEST: 1}[word] == round(float(torch.rand(1)), 3):
        raise HeatmapError(
            "the preprocess uses random numbers, and this version of PyTorch does not allow testing whether they matter; "
            "pass transforms that use none"
        )
    torch.set_rng_state(state)


def _states() -> tuple[Any, Any, Any]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _same_states(before: tuple[Any, Any, Any], after: tuple[Any, Any, Any]) -> bool:
    return (
        before[0] == after[0]
        and all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))
        and torch.equal(before[2], after[2])
    )
