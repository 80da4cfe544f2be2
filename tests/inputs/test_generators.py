"""Generators are found wherever Python code keeps them, and give chosen numbers."""

import random
from functools import lru_cache, partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pytest_gradcam.inputs.generators import frozen, giving, global_sources, held_by, seeded_anew
from pytest_gradcam.state.surroundings import STATE, random_states_kept

HELD = random.Random(0)
HELPER = SimpleNamespace(deep=[{"a": (HELD,)}])
KINDS = {
    "random.Random": lambda: random.Random(1),
    "Generator": lambda: np.random.default_rng(1),
    "Generator of MT19937": lambda: np.random.Generator(np.random.MT19937(1)),
    "RandomState": lambda: np.random.RandomState(1),
    "RandomState of PCG64": lambda: np.random.RandomState(np.random.PCG64(1)),
    "MT19937": lambda: np.random.MT19937(1),
    "torch.Generator": lambda: torch.Generator().manual_seed(1),
}


class Slotted:
    __slots__ = ("generator",)

    def __init__(self, generator):
        self.generator = generator

    def draw(self):
        return self.generator


class Shared:
    generator = random.Random(3)

    def __call__(self, image):
        return image


class ByName:
    def __call__(self, image):
        return image if HELD.random() < 0.1 else None


def named(image):
    return (lambda: HELPER.deep)()


def default(image, *, generator=HELD):
    return generator.random()


def closure():
    generator = random.Random(1)
    return lambda image: generator.random()


@lru_cache
def cached(image):
    return HELD.random()


@pytest.mark.parametrize(
    "holder",
    [
        random.Random(1),
        random.Random(1).random,
        Slotted(random.Random(1)),
        Slotted(random.Random(1)).draw,
        Shared(),
        ByName(),
        named,
        default,
        closure(),
        cached,
        partial(Slotted, random.Random(1)),
        partial(default, generator=HELD),
        [Slotted([closure()])],
        {"a": {1: Slotted(partial(closure()))}},
        (each.random() for each in [HELD]),
    ],
)
def test_they_are_found(holder):
    assert len(held_by(holder)) == 1


def test_none_is_found_where_none_is():
    assert held_by([torch.nn.Sequential(torch.nn.ReLU()), np.zeros(3), {"a": None}, len, str.upper, giving]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_is_seen_and_undone(kind):
    generator = KINDS[kind]()
    (source,) = held_by(Slotted(generator))
    before = frozen(source.state())
    assert frozen(source.state()) == before
    assert source.settable
    with random_states_kept():
        source.keep()
        first = drawn(generator)
        assert frozen(source.state()) != before
    assert frozen(source.state()) == before
    assert drawn(generator) == first


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "MT19937"])
@pytest.mark.parametrize("number", [1024, 2**31 + 5, 2**32 - 1])
def test_it_gives_chosen_numbers_and_then_goes_on_as_before(kind, number):
    generator, twin = KINDS[kind](), KINDS[kind]()
    (source,) = held_by(Slotted(generator))
    with random_states_kept():
        source.keep()
        source.set(np.full(STATE, giving(number), np.uint32))
        low = number % 2**24 / 2**24
        expected = low if isinstance(generator, torch.Generator) else number / 2**32
        assert drawn(generator) == pytest.approx(expected, abs=1e-6)
    assert drawn(generator) == drawn(twin)


def test_what_cannot_be_set_says_so():
    (source,) = held_by([np.random.PCG64(1)])
    assert not source.settable
    assert str(source) == "a PCG64"


def test_the_global_ones_are_not_held():
    assert held_by([random.random, np.random.rand, torch.default_generator, random]) == []
    assert len(global_sources()) == 3


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: np.random.default_rng(), "operating system"),
        (lambda: np.random.RandomState(), "operating system"),
        (lambda: np.random.seed(), "operating system"),
        (lambda: random.SystemRandom().random(), "operating system"),
        (lambda: random.Random(), "random.Random"),
        (lambda: random.seed(), "random.Random"),
        (lambda: torch.Generator().seed(), "torch.Generator"),
        (lambda: np.random.default_rng(3), ""),
        (lambda: random.Random(3), ""),
        (lambda: torch.Generator().manual_seed(3), ""),
        (lambda: __import__("uuid").uuid4(), ""),
    ],
)
def test_seeds_from_the_operating_system_are_seen(call, words):
    with random_states_kept():
        call()  # whatever is imported
        said = seeded_anew(call)[1]
    assert (words in said) if words else said == ""


def drawn(generator):
    if isinstance(generator, torch.Generator):
        return float(torch.rand(1, generator=generator))
    if isinstance(generator, np.random.MT19937):
        return float(generator.random_raw())
    return float(generator.random())
