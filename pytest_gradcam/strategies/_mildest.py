"""How perturbations are drawn, so that shrinking ends at the mildest one that breaks something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray

from pytest_gradcam.perturbations import Kind, Perturbation

_HALVINGS = 5  # how often a candidate's severity is reduced: by 1/2, 1/4, ... 1/32 of what all of them have in common
_FINE = 6  # how often the severity drawn is reduced: by 1, 1/2, ... 1/32 of a step of the common one
_OWN_BYTES = 5  # seed, angle (two), x, y
_MOST = 252  # the common severity is the highest from this byte on


def mildest(kinds: Sequence[type[Kind]], highest: int) -> SearchStrategy[Perturbation]:
    """One perturbation of these kinds, up to a severity in thousandths.

    Hypothesis shrinks a draw value by value, and each only downwards. With a severity and a kind it would never get from
    a kind that breaks at 0.6 to one later in the list that breaks at 0.2: the severity cannot go down before the kind has
    changed. So every candidate (a kind in one direction) has a severity of its own, and the candidate with the lowest is
    drawn: lowering one below all others changes kind and severity in one step, whatever the order of the kinds. It is
    lowered by bytes that count when they are 0, the largest reduction first: a bisection of two tries a step. All of
    it is a single draw of bytes, since Hypothesis would otherwise spend most examples on copies of parts of others.
    """
    candidates = tuple(candidate for kind in kinds for candidate in _directions(kind))
    size = 2 + _HALVINGS * len(candidates) + _FINE + _OWN_BYTES
    return st.binary(min_size=size, max_size=size).map(_Reading(candidates, highest))


@dataclass(frozen=True)
class _Candidate:
    """One kind in one direction: either direction is as likely to be drawn as a kind without directions."""

    kind: type[Kind]
    direction: dict[str, bool]

    def at(self, thousandths: int, own: dict[str, int]) -> Perturbation:
        """The perturbation; `own` holds a whole number for each parameter, 0 for its default."""
        drawn = {field.name: _OWN[field.name](field.default, own[field.name]) for field in self._parameters()}
        return self.kind(thousandths / 1000, **self.direction, **drawn)

    def _parameters(self) -> list[Any]:
        return [field for field in fields(self.kind) if field.name in _OWN]


class _Reading:
    """What the bytes mean."""

    def __init__(self, candidates: Sequence[_Candidate], highest: int) -> None:
        self._candidates = candidates
        self._common = highest * _severities()
        self._steps = np.diff(self._common, prepend=0.0)

    def __call__(self, drawn: bytes) -> Perturbation:
        count, values = len(self._candidates), np.frombuffer(drawn, np.uint8)
        reductions, (common, first), fine, own = np.split(values, np.cumsum([count * _HALVINGS, 2, _FINE]))
        shares = 1 - (reductions.reshape(count, _HALVINGS) == 0) @ (0.5 ** np.arange(1, _HALVINGS + 1))
        # Most draws reduce none of them: then it is the first, and which one that is, is drawn.
        first = int(first) % count
        lowest = (int(np.roll(shares, -first).argmin()) + first) % count
        severity = self._common[common] - self._steps[common] * ((fine == 0) @ (0.5 ** np.arange(_FINE)))
        thousandths = int(max(shares[lowest] * severity, 0.0) + 1e-9)
        seed, turns, turn, x, y = map(int, own)
        parameters = {"seed": seed, "angle": turns * 256 + turn, "x": x, "y": y}
        return self._candidates[lowest].at(thousandths, parameters)


def _severities() -> NDArray[np.float64]:
    """The common severity for each byte; two of three lie in the upper third: what is broken by a mild change
    mostly is by a strong one too, and shrinking finds the bound."""
    shares = np.minimum(np.arange(256) / _MOST, 1)
    return np.interp(shares, [0, 2 / 9, 1], [0, 2 / 3, 1])


def _directions(kind: type[Kind]) -> list[_Candidate]:
    flags = [field.name for field in fields(kind) if isinstance(field.default, bool)]
    return [_Candidate(kind, direction) for direction in [{}, *({flag: True} for flag in flags)]]


def _place(default: float, drawn: int) -> float:
    places = [default, *(place for place in (0.0, 0.25, 0.5, 0.75, 1.0) if place != default)]
    return places[drawn % len(places)]


# What a kind has besides its severity and direction.
_OWN: dict[str, Callable[[Any, int], Any]] = {
    "seed": lambda default, drawn: drawn,
    "angle": lambda default, drawn: (default + drawn) % 360,
    "x": _place,
    "y": _place,
}
