"""The random generators that a preprocess can draw from: the global ones, those that it holds, and those that it makes.

Generators are found wherever Python code keeps them: in attributes, containers, closures, partials, bound methods, class
attributes, and the globals that a function names.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import types
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.random import MT19937, BitGenerator, Generator, RandomState
from numpy.typing import NDArray
from torch import Tensor

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.surroundings import STATE, numpy_mark, seed_all
from pytest_gradcam.state.undo import later

Words = NDArray[np.uint32]
_Result = TypeVar("_Result")

LEVELS = 16  # numbers between the least and the greatest, for what waits for one number out of several
_REPEATS = 8  # what flips half of the images agrees with itself this often once in 256 tries
_SET = 64  # words of a state that are chosen: the rest end loops that wait for other numbers
_LEAST, _GREATEST = 1024, 2**32 - 1  # 32-bit numbers; not 0, which would meet p = 0
_KINDS = (random.Random, Generator, RandomState, BitGenerator, torch.Generator)
_LEAVES = (type(None), int, float, complex, str, bytes, bytearray, np.ndarray, np.generic, Tensor, types.CodeType)
_MOST = 5_000  # objects that are looked at: what holds a test also holds the whole program
#: Their functions draw from the global generators, so that of them only what objects hold is looked at.
_LIBRARIES = (
    sys.stdlib_module_names
    | {"PIL", "cv2", "numpy", "scipy", "skimage", "timm", "torch"}
    | {"torchvision", "transformers", "pytest", "_pytest", "pytest_gradcam"}
)


class Source:
    """One generator, whose state can be compared, put back, and set so that it gives chosen numbers."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator
        self._read, self._write = _access(generator)

    def state(self) -> Any:
        """What it gives next, to be put back."""
        return self._read()

    def put(self, state: Any) -> None:
        """It gives again what it gave next when it had this state."""
        self._write(state)

    def mark(self) -> Any:
        """What differs after every draw, in less time than the state takes; of the global generator of NumPy under the guard."""
        # A normal number that waits for NumPy's next draw is not in its mark: the guard keeps none.
        short = numpy_mark() if self._generator is np.random.mtrand._rand else None
        return frozen(self.state()) if short is None else short

    def keep(self) -> None:
        """For `undoing`: its state is put back at the end."""
        later(partial(self._write, self._read()))

    @property
    def settable(self) -> bool:
        """Whether it can be made to give chosen numbers."""
        own = self._generator
        on_cpu = isinstance(own, torch.Generator) and own.device.type == "cpu"
        return on_cpu or isinstance(own, (random.Random, Generator, RandomState, MT19937))

    def set(self, words: Words) -> None:
        """For `undoing`, after `keep`: one that is settable gives what a Mersenne Twister with this state gives."""
        own = self._generator
        if isinstance(own, random.Random):
            own.setstate((3, (*words.tolist(), 0), None))
        elif isinstance(own, torch.Generator):
            _set_torch(own, words)
        elif isinstance(own, MT19937):
            own.state = _twister(words).state
        else:  # there is no other way to exchange what it draws from
            later(partial(own.__init__, own._bit_generator))
            own.__init__(_twister(words))

    def __str__(self) -> str:
        on = f" on {self._generator.device.type}" if isinstance(self._generator, torch.Generator) else ""
        return f"a {type(self._generator).__name__}{on}"


def global_sources() -> list[Source]:
    """Those of Python, NumPy and PyTorch."""
    return [Source(each) for each in _global_generators()]


def held_by(thing: Any) -> list[Source]:
    """The generators that can be reached from an object, the global ones not among them."""
    common = {id(each) for each in _global_generators()}
    return [
        Source(each)
        for each in _reachable(thing)
        if id(each) not in common and not isinstance(each, random.SystemRandom)
    ]


def seeded_anew(call: Callable[[], _Result]) -> tuple[_Result, str]:
    """What a call returns, and which generator it seeded from the operating system, which nobody can repeat, if any.

    It sees what Python code in this thread does, and nothing while a profiler runs.
    """
    seen: list[str] = []

    def look(frame: types.FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            if called is os.urandom and frame.f_code is not uuid.uuid4.__code__:  # which only names things
                seen.append("random numbers of the operating system")
            elif getattr(called, "__name__", "") == "seed" and isinstance(called.__self__, torch.Generator):
                seen.append("a torch.Generator")
        elif event == "call" and frame.f_code is random.Random.seed.__code__ and frame.f_locals["a"] is None:
            seen.append("a random.Random")

    if sys.getprofile() is not None:
        return call(), ""
    sys.setprofile(look)
    try:
        return call(), seen[0] if seen else ""
    finally:
        sys.setprofile(None)


def set_all(sources: Iterable[Source], words: Words) -> None:
    """For `undoing`, after `keep` of each: all that are settable give what this state gives; those of GPUs are seeded."""
    seed_all(int(words[0]))
    for source in sources:
        if source.settable:
            source.set(words)


def seeds() -> Iterator[Words]:
    """States as a seed leaves them."""
    return (_random(seed) for seed in range(1, 1 + _REPEATS))


def levels() -> Iterator[Words]:
    """States that give the least number, the greatest, and those between them, again and again."""
    # PyTorch takes floats from the lower 24 bits, and integers by remainder: the level stands twice, before other bits.
    between = [
        level << 24 | level << 16 | level * 257 % 65536 for level in range(256 // LEVELS // 2, 256, 256 // LEVELS)
    ]
    for number in (_LEAST, _GREATEST, *between):
        words = _random(0)
        words[:_SET] = giving(number)
        yield words


def giving(output: int) -> int:
    """The word of a Mersenne Twister's state that it gives out as this 32-bit number."""
    word = output ^ output >> 18
    word ^= word << 15 & 0xEFC60000
    word = _inverted(word, lambda known: known << 7 & 0x9D2C5680)
    return _inverted(word, lambda known: known >> 11)


def _inverted(mixed: int, shifted: Callable[[int], int]) -> int:
    known = mixed
    for _ in range(5):  # each round brings at least seven more bits
        known = mixed ^ shifted(known)
    return known


def _global_generators() -> list[Any]:
    return [random._inst, np.random.mtrand._rand, torch.default_generator]


def _access(generator: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """How its state is read, and written."""
    if isinstance(generator, random.Random):
        return generator.getstate, generator.setstate
    if isinstance(generator, torch.Generator):
        return generator.get_state, generator.set_state
    if isinstance(generator, RandomState):
        return partial(generator.get_state, legacy=False), generator.set_state
    bits = generator if isinstance(generator, BitGenerator) else generator.bit_generator
    return lambda: bits.state, partial(setattr, bits, "state")


def frozen(state: Any) -> Any:
    """A state as values that compare by content."""
    if isinstance(state, dict):
        return tuple((key, frozen(value)) for key, value in state.items())
    if isinstance(state, Tensor):
        return state.cpu().numpy().tobytes()
    return state.tobytes() if isinstance(state, np.ndarray) else state


def _random(seed: int) -> Words:
    return np.random.default_rng(seed).integers(2**32, size=STATE, dtype=np.uint32)


def _twister(words: Words) -> MT19937:
    bits = MT19937(0)
    bits.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": 0}}
    return bits


def _set_torch(generator: torch.Generator, words: Words) -> None:
    """Raises HeatmapError where a version of PyTorch keeps the state in another way."""
    state = generator.get_state()
    fields = state.numpy()[: 8 * (3 + STATE)].view(np.int64)
    fields[1:3] = (1 << 32) | STATE, 0  # how many words are left, that it is seeded, and which is next
    fields[3:] = words
    generator.set_state(state)
    first = torch.rand(1, generator=generator, dtype=torch.float32, device="cpu")
    if float(first) != _twister(words).random_raw() % 2**24 / 2**24:  # of 24 bits
        raise untestable("this version of PyTorch")
    generator.set_state(state)


def untestable(kind: str) -> HeatmapError:
    """The error for draws of which nothing shows whether they matter."""
    return HeatmapError(
        f"the preprocess uses random numbers of {kind}, which cannot be set to find out whether they change an image; "
        "pass transforms that use none"
    )


def _reachable(thing: Any) -> Iterator[Any]:
    queue, seen = deque([thing]), {id(thing): thing}  # which keeps them alive, so that no other gets the same id
    while queue and len(seen) < _MOST:
        each = queue.popleft()
        if issubclass(type(each), _KINDS):
            yield each
            continue
        for part in _parts(each):
            if id(part) not in seen and not issubclass(type(part), _LEAVES):
                seen[id(part)] = part
                queue.append(part)


def _parts(thing: Any) -> Iterable[Any]:
    """What an object refers to and may draw from."""
    if isinstance(thing, types.ModuleType):
        return ()
    if isinstance(thing, types.FunctionType):
        held = [*(thing.__closure__ or ()), thing.__defaults__, thing.__kwdefaults__, vars(thing)]
        return held if _of_library(thing.__module__) else [*held, *_named(_names(thing.__code__), thing.__globals__)]
    if isinstance(thing, type):
        return () if _of_library(thing.__module__) else [*vars(thing).values(), *thing.__bases__]
    return gc.get_referents(thing)


def _of_library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _LIBRARIES


def _names(code: types.CodeType) -> set[str]:
    """The globals and attributes that code names, and the functions inside of it."""
    inner = [_names(each) for each in code.co_consts if isinstance(each, types.CodeType)]
    return set(code.co_names).union(*inner)


def _named(names: set[str], scope: dict[str, Any]) -> list[Any]:
    """What goes by these names in a module, and in the modules among it."""
    found = [scope[name] for name in names if name in scope]
    for each in found:
        if isinstance(each, types.ModuleType) and not _of_library(each.__name__):
            inner = [vars(each)[name] for name in names if name in vars(each)]
            found += [part for part in inner if not any(part is other for other in found)]
    return found
