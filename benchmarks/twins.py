"""Whether what a verdict rests on is read alike however it is written: counted over random trials.

A trial takes a small model with random weights, a picture and a mask, and judges them twice: with a plain twin (a model
that returns logits, a list of class names, a preprocess that only scales, images in their first order) and with the same
thing in another form. Forms of outputs: containers, ranks, units, types, extra tensors. Of class names: lists, mappings,
files. Of preprocesses: thirty kinds, whose twin does the same steps in the same order by itself. Of image sets: other orders, and
copies. The verdicts must be the same, or the form refused or undecided; a form that cannot be read must be.

Two verdicts that differ are a tie, counted and printed apart, where the twin itself gives both with its bound moved by
`TIE`: the figure then lies on the bound, as far as sums in another order can tell.
"""

from __future__ import annotations

import argparse
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from benchmarks.forms import NAMES, OUTPUTS, PREPROCESSES, Form, Net, Places, Twin, plain, signed
from pytest_gradcam import Explainer, FocusError, HeatmapError, masks, perturbations
from pytest_gradcam.errors import SettingsError

SIDE = 32
KINDS = ("outputs", "names", "preprocesses", "orders")
OUTCOMES = ("same", "refused", "ties", "differs")
_SHARE = {"outputs": 0.45, "names": 0.1, "preprocesses": 0.35, "orders": 0.1}
_CAUSES = (HeatmapError, SettingsError)
TIE = 1e-4  # of the bound: what sums in float32, in another order, may differ by


@dataclass(frozen=True)
class Trial:
    """One form beside its twin: what each said to every check, and whether a verdict differs.

    `near` is what the twin says where that differs, with its bound a little lower and a little higher.
    """

    kind: str
    form: str
    seed: int
    twin: dict[str, str]
    other: dict[str, str]
    near: dict[str, set[str]] = field(default_factory=dict)

    @property
    def ties(self) -> list[str]:
        return [check for check in self._unlike if {"passed", "failed"} <= self.near.get(check, set())]

    @property
    def differs(self) -> list[str]:
        return [check for check in self._unlike if check not in self.ties]

    @property
    def _unlike(self) -> list[str]:
        return unlike(self.twin, self.other)

    @property
    def outcome(self) -> str:
        if self.differs or self.ties:
            return "differs" if self.differs else "ties"
        said = set(self.other.values())
        return "same" if said & {"passed", "failed"} else "refused"


def unlike(twin: dict[str, str], other: dict[str, str]) -> list[str]:
    """The checks that the other decides, and in another way than its twin."""
    return [check for check, said in other.items() if said in ("passed", "failed") and said != twin[check]]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--start", type=int, default=0, help="the trial to begin with, of a run that was cut short")
    parser.add_argument("--every", type=int, default=0, help="print the counts so far after so many trials")


def run(chosen: argparse.Namespace) -> None:
    counts: Counter[tuple[str, str, str]] = Counter()
    for number, trial in enumerate(trials(chosen.trials, chosen.seed, chosen.kinds, chosen.start), chosen.start):
        counts[trial.kind, trial.form, trial.outcome] += 1
        if trial.outcome in ("differs", "ties"):
            print(f"{trial.outcome.upper()} at trial {number}: {trial}", flush=True)
        if chosen.every and (number + 1) % chosen.every == 0:
            print(f"{number + 1} trials begun with --start {chosen.start}: {dict(_total(counts))}", flush=True)
    for kind in chosen.kinds:
        forms = sorted({form for one, form, _ in counts if one == kind})
        of_kind = [sum(counts[kind, form, outcome] for form in forms) for outcome in OUTCOMES]
        print(f"{kind}: {sum(of_kind)} trials: {_counted(of_kind)}")
        for form in forms:
            print(f"   {form:45s}", *(counts[kind, form, outcome] for outcome in OUTCOMES))
    print(f"{sum(counts.values())} trials: {_counted([_total(counts)[outcome] for outcome in OUTCOMES])}")


def _total(counts: Counter[tuple[str, str, str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for (*_, outcome), count in counts.items():
        total[outcome] += count
    return total


def _counted(counts: list[int]) -> str:
    return "{} the same, {} refused, {} ties, {} differ".format(*counts)


def trials(count: int, seed: int, kinds: Any = KINDS, start: int = 0) -> Iterator[Trial]:
    """So many trials: the forms of a kind in turn, each with another model, picture and mask."""
    for place, kind in list(enumerate(_kinds(count, kinds)))[start:]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield _TRIALS[kind](place, 1_000_003 * seed + place)


def _kinds(count: int, kinds: Any) -> list[str]:
    whole = sum(_SHARE[kind] for kind in kinds)
    counts = {kind: round(count * _SHARE[kind] / whole) for kind in kinds}
    return [kind for kind in kinds for _ in range(counts[kind])][:count]


def _outputs(place: int, seed: int) -> Trial:
    form = list(OUTPUTS)[place % len(OUTPUTS)]
    return _beside("outputs", form, seed, OUTPUTS[form])


def _names(place: int, seed: int) -> Trial:
    form = list(NAMES)[place % len(NAMES)]
    return _beside("names", form, seed, NAMES[form])


def _preprocesses(place: int, seed: int) -> Trial:
    form = list(PREPROCESSES)[place % len(PREPROCESSES)]
    return _beside("preprocesses", form, seed, PREPROCESSES[form])


def _beside(kind: str, form: str, seed: int, make: Callable[[Net], Form]) -> Trial:
    draw = random.Random(seed)
    scene, mask = _scene(draw), _mask(draw)
    made = make(Net(seed))
    twin: Twin = made.twin
    ask = _Questions(draw)

    def own(nudge: float = 0.0) -> dict[str, str]:
        on_mask = ask.on_mask(cache(twin.explainer), twin.image(scene), twin.mask(mask), twin.target, nudge)
        return on_mask | ask.stable(twin.of_whole, scene, twin.target, nudge)

    explainer = cache(lambda: Explainer(made.model, **made.options))
    said = ask.on_mask(explainer, scene, mask, made.target) | ask.stable(explainer, scene, made.target)
    other = {check: each for check, each in said.items() if check in made.judged}
    plain_one = own()
    near = [own(nudge) for nudge in (-TIE, TIE)] if unlike(plain_one, other) else []
    return Trial(
        kind, form, seed, plain_one, other, {check: {each[check] for each in near} for check in plain_one if near}
    )


class _Questions:
    """The checks of a trial, with bounds that are drawn once."""

    def __init__(self, draw: random.Random) -> None:
        self._share, self._within = draw.choice([0.2, 0.5, 0.8]), draw.choice([0.2, 1.0, 4.0])
        self._change = perturbations.brightness(draw.choice([0.1, 0.3]))
        self._fall = draw.choice([0.3, 0.6])

    def on_mask(
        self, explainer: Callable[[], Explainer], image: Any, mask: Any, target: Any, nudge: float = 0.0
    ) -> dict[str, str]:
        share, fall = self._share * (1 + nudge), self._fall * (1 + nudge)
        checks = {
            "focus": lambda: explainer()(image, target).assert_focus_within(mask, at_least=share),
            "ignores": lambda: explainer().assert_ignores(image, mask, target=target, at_most=fall),
            "relies": lambda: explainer().assert_relies_on(image, mask, target=target, at_least=fall),
        }
        return {name: _said(check) for name, check in checks.items()}

    def stable(self, explainer: Callable[[], Explainer], image: Any, target: Any, nudge: float = 0.0) -> dict[str, str]:
        within = self._within * (1 + nudge)
        return {
            "stable": _said(lambda: explainer().assert_stable(image, self._change, target=target, score_within=within))
        }


def _said(check: Callable[[], Any]) -> str:
    try:
        check()
    except FocusError:
        return "failed"
    except _CAUSES as error:
        return f"undecided: {str(error).splitlines()[0][:120]}"
    return "passed"


def _orders(place: int, seed: int) -> Trial:
    draw = random.Random(seed)
    net, count = Places(draw.choice([0.0, 0.1, 0.5, 1.0, 3.0])), draw.choice([9, 20, 30])
    pictures = [signed(draw.choice([-1, 1]), draw.choice([-1, 1]), draw) for _ in range(count)]
    mask = masks.box((SIDE, SIDE), (26, 0, 32, 6))
    other = draw.sample(pictures, count)
    form = ("another order", "copies")[place % 2]
    if form == "copies":
        other += [draw.choice(pictures).copy() for _ in range(draw.choice([1, count]))]
    said = [{"reliance": _relies(net, each, mask)} for each in (pictures, other)]
    return Trial("orders", form, seed, *said)


def _relies(net: Places, pictures: list[Any], mask: Any) -> str:
    try:
        found = Explainer(net, preprocess=plain).reliance(pictures, mask)
    except _CAUSES as error:
        return f"undecided: {str(error).splitlines()[0][:120]}"
    return "undecided" if found.relies is None else "failed" if found.relies else "passed"


def _scene(draw: random.Random) -> Any:
    """A dark, noisy picture with three bright squares of other colours."""
    noise = np.random.default_rng(draw.getrandbits(32))
    pixels = noise.integers(30, 90, (SIDE, SIDE, 3)).astype(np.uint8)
    for _ in range(3):
        x, y, side = draw.randrange(0, 22), draw.randrange(0, 22), draw.randrange(6, 11)
        pixels[y : y + side, x : x + side] = [draw.choice([30, 240]) for _ in range(3)]
    return pixels


def _mask(draw: random.Random) -> Any:
    x, y = draw.randrange(0, 16), draw.randrange(0, 16)
    return masks.box((SIDE, SIDE), (x, y, x + draw.randrange(8, 16), y + draw.randrange(8, 16)))


_TRIALS: dict[str, Callable[[int, int], Trial]] = {
    "outputs": _outputs,
    "names": _names,
    "preprocesses": _preprocesses,
    "orders": _orders,
}
