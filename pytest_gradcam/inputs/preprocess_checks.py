"""Whether a preprocess gives the same result for the same image each time.

A random transform uses up the state of a generator, however rarely it changes an image: one of the global generators, or one
that the preprocess holds. Draws that change nothing (a transform with p = 1 also draws) are told from others with states
whose next numbers are chosen: the smallest, the largest, and levels between them; a transform with a probability
between 0 and 1 is applied in one case and not in the other. A preprocess that seeds a new generator from the operating
system in each call is refused, since nobody can repeat what it does. What else is random can only be found out by
repetition.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch import equal as same

from pytest_gradcam.errors import GradcamWarning, HeatmapError
from pytest_gradcam.inputs.generators import (
    LEVELS,
    Source,
    Words,
    frozen,
    global_sources,
    held_by,
    levels,
    seeded_anew,
    seeds,
    set_all,
    untestable,
)
from pytest_gradcam.inputs.preprocess import Pipeline, Preprocess
from pytest_gradcam.state.surroundings import random_states_kept

_BUDGET = 0.25  # seconds for repetitions of a slow preprocess


class Steadiness:
    """Runs a pipeline on the images of a run for as long as it makes the same of the same image."""

    def __init__(self, preprocess: Preprocess, pipeline: Pipeline) -> None:
        self._preprocess, self._pipeline = preprocess, pipeline
        self._sources: list[Source] = []
        self._begin: list[Any] = []  # the state of each, with which every image begins
        self._fault = ""
        self._images = 0
        self._harmless: set[int] = set()  # the states after draws that changed nothing in some image

    def run(self, image: Image.Image, name: str) -> Tensor:
        """What the pipeline makes of the image (C, H, W). Raises HeatmapError if it is random, now and from then on."""
        if self._fault:
            raise HeatmapError(self._fault)
        with random_states_kept():
            if not self._images:
                self._find_sources()
            out = self._drawn(image, name)
            if not self._images:
                self._repeat(image, name)
        self._images += 1
        return out

    def require_repeatable(self, image: Image.Image, name: str) -> None:
        """Raises HeatmapError, now and from then on, if repetitions on this image differ from each other."""
        with random_states_kept():
            self._repeat(image, name)

    def _find_sources(self) -> None:
        self._sources = [*global_sources(), *held_by(self._preprocess)]
        self._begin = [source.state() for source in self._sources]

    def _drawn(self, image: Image.Image, name: str) -> Tensor:
        """What the pipeline makes of the image, whatever the random numbers that it draws."""
        for source, begin in zip(self._sources, self._begin, strict=True):
            source.keep()
            source.put(begin)
        out = self._pipeline(image)
        after = [frozen(source.state()) for source in self._sources]
        drew = [
            source for source, begin, end in zip(self._sources, self._begin, after, strict=True) if frozen(begin) != end
        ]
        if drew:
            for source in drew:
                if not source.settable:
                    raise untestable(str(source))
            chosen, found = [*levels(), *seeds()], hash(tuple(after))
            if found in self._harmless:  # on other images: here the least and the greatest numbers tell
                chosen = chosen[:2]
            self._require(self._alike(image, out, chosen, 2 + LEVELS), name)
            self._harmless.add(found)
        return out

    def _repeat(self, image: Image.Image, name: str) -> None:
        self._find_sources()  # anew, since a preprocess may make its generator in its first call
        # Beside noise, since a picture that is its own mirror image shows no flip.
        noise = np.random.default_rng(0).integers(0, 256, (image.height, image.width, 3), np.uint8)
        mixed = Image.blend(image.convert("RGB"), Image.fromarray(noise), 0.5)
        out, fresh = seeded_anew(partial(self._drawn, mixed, name))
        self._require(self._alike(mixed, out, list(seeds()), 2), name)
        if fresh:
            self._refuse(
                f"the preprocess is random: in each call it takes a new seed from the operating system ({fresh}), so no verdict "
                "can be repeated; pass the transforms of evaluation, or give the generator a fixed seed"
            )

    def _alike(self, image: Image.Image, out: Tensor, states: Sequence[Words], at_least: int) -> bool:
        """Whether repetitions after each of these states are equal to `out`: so many of them, and what time allows."""
        begin = time.monotonic()
        for place, words in enumerate(states):
            if place >= at_least and time.monotonic() - begin > _BUDGET:
                break
            set_all(self._sources, words)
            if not equal(self._pipeline(image), out):
                return False
        return True

    def _require(self, steady: bool, name: str) -> None:
        if not steady:
            self._refuse(
                f"the preprocess is random: the same image comes out different each time (seen at {name}), so no verdict can be "
                "repeated; pass the transforms of evaluation, not those of training"
            )

    def _refuse(self, fault: str) -> None:
        self._fault = fault
        if self._images:
            late = f"; {self._images} images went through it before in this run: what was decided on them is void"
            self._fault += late
            warnings.warn(self._fault, GradcamWarning, stacklevel=2)
        raise HeatmapError(self._fault)


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two outputs are the same, NaN in the same places."""
    return a.shape == b.shape and same(a.nan_to_num(), b.nan_to_num())
