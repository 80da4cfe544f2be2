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

_DIGITS = "".join(map(chr, range(ord("0"), ord("0") + 43)))  # in the order in which Hypothesis lowers characters
#: By what shares of it the severity drawn is reduced. The finer ones several times: Hypothesis lowers equal digits together
#: before it lowers them in turn, so some are used up on another kind, or before a larger one was tried. With two of
#: each, 1 search of 20 ended a few thousandths above the bound.
_REDUCTIONS = 0.5 ** np.array([*range(1, 10), *5 * [*range(3, 10)]])
_THOUSANDTHS = 30  # digits that lower the severity by 0.001, for what these reductions leave
_STEP = 1 / 32  # how much milder another candidate has to be
_COPIES = 2
_OWN = 6  # digits: seed (two), angle (two), x, y


def mildest(kinds: Sequence[type[Kind]], highest: int) -> SearchStrategy[Perturbation]:
    """One perturbation of these kinds, up to a severity in thousandths.

    Hypothesis shrinks a draw value by value, and each only downwards. With a severity and a kind it would never get from
    a kind that breaks at 0.6 to one later in the list that breaks at 0.2: the severity cannot go down before the kind has
    changed. So what is drawn has a digit for every way from one candidate (a kind in one direction) to another. Where it is
    0, another one is taken, at a severity that is lower by a step. Lowering the digits one after the other tries each of
    the other candidates once, whatever the order of the kinds. Severities are lowered by digits that count when they
    are 0, the largest reduction first, which is a bisection. All of it is a single draw of text, since Hypothesis would
    otherwise spend most examples on copies of parts of others.
    """
    candidates = tuple(candidate for kind in kinds for candidate in _directions(kind))
    size = 2 + len(_REDUCTIONS) + _THOUSANDTHS + _COPIES * (len(candidates) - 1) + _OWN
    return st.text(_DIGITS, min_size=size, max_size=size).map(_Reading(candidates, highest))


@dataclass(frozen=True)
class _Candidate:
    """One kind in one direction: either direction is as likely to be drawn as a kind without directions."""

    kind: type[Kind]
    direction: dict[str, bool]

    def at(self, thousandths: int, own: dict[str, int]) -> Perturbation:
        """The perturbation; `own` holds a whole number for each parameter, 0 for its default."""
        drawn = {field.name: _PARAMETERS[field.name](field.default, own[field.name]) for field in self._parameters()}
        return self.kind(thousandths / 1000, **self.direction, **drawn)

    def _parameters(self) -> list[Any]:
        return [field for field in fields(self.kind) if field.name in _PARAMETERS]


class _Reading:
    """What the digits mean."""

    def __init__(self, candidates: Sequence[_Candidate], highest: int) -> None:
        self._candidates = candidates
        self._severities = highest * _severities()
        ways = np.arange(1, len(candidates))
        self._ways = np.tile(ways, _COPIES)

    def __call__(self, drawn: str) -> Perturbation:
        digits = np.array([_DIGITS.index(digit) for digit in drawn])
        sizes = [2, len(_REDUCTIONS), len(self._ways), _THOUSANDTHS]
        (severity, start), reductions, ways, last, own = np.split(digits, np.cumsum(sizes))
        taken = ways == 0
        place = int(start + self._ways[taken].sum()) % len(self._candidates)
        share = max(1 - (reductions == 0) @ _REDUCTIONS, 0)
        thousandths = int(self._severities[severity] * share * (1 - _STEP) ** int(taken.sum()) + 1e-9)
        thousandths = max(thousandths - int((last == 0).sum()), 0)
        seed, angle = (_number(*map(int, own[first : first + 2])) for first in (0, 2))
        parameters = {"seed": seed, "angle": angle, "x": int(own[4]), "y": int(own[5])}
        return self._candidates[place].at(thousandths, parameters)


def _number(low: int, high: int) -> int:
    """0 as long as the low digit is, so that the smallest other one is 1."""
    return low + high * len(_DIGITS) if low else 0


def _severities() -> NDArray[np.float64]:
    """The severity for each digit; two of three lie in the upper third: what is broken by a mild change mostly is by a
    strong one too, and shrinking finds the bound."""
    shares = np.minimum((np.arange(len(_DIGITS)) + 1) / (len(_DIGITS) - 1), 1)
    return np.interp(shares, [0, 2 / 9, 1], [0, 2 / 3, 1])


def _directions(kind: type[Kind]) -> list[_Candidate]:
    flags = [field.name for field in fields(kind) if isinstance(field.default, bool)]
    return [_Candidate(kind, direction) for direction in [{}, *({flag: True} for flag in flags)]]


def _place(default: float, drawn: int) -> float:
    places = [default, *(place for place in (0.0, 0.25, 0.5, 0.75, 1.0) if place != default)]
    return places[drawn % len(places)]


# What a kind has besides its severity and direction.
_PARAMETERS: dict[str, Callable[[Any, int], Any]] = {
    "seed": lambda default, drawn: drawn,
    "angle": lambda default, drawn: (default + drawn) % 360,
    "x": _place,
    "y": _place,
}
