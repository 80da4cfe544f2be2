"""What the checks on one image say of models of known truth, asked about the artefact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.shortcuts.scenes import Mask
from benchmarks.shortcuts.zoo import Recipe, Specimen, true_to_name
from pytest_gradcam import Explainer, FocusError, HeatmapError

_IMAGES, _OTHERS = 8, 9
_OUTCOMES = ("failed", "passed", "undecided")
Check = Callable[..., None]

CHECKS: dict[str, Callable[[Explainer], Check]] = {
    "assert_ignores": lambda explainer: explainer.assert_ignores,
    "assert_ignores, at_most=0.4": lambda explainer: partial(explainer.assert_ignores, at_most=0.4),
    "assert_relies_on": lambda explainer: explainer.assert_relies_on,
}


@dataclass(frozen=True)
class Checked:
    """The outcome of one check on one image of a model, with the model's truth."""

    check: str
    others: bool
    truth: bool
    outcome: str


def check_pair(recipe: Recipe, directory: Path) -> list[Checked]:
    return [checked for one in true_to_name(directory, recipe) for checked in check(one)]


def check(one: Specimen) -> Iterator[Checked]:
    """Each check on eight images, alone and beside nine others."""
    asked = one.samples(_IMAGES + _OTHERS)
    explainer = Explainer(one.model, batch_size=64)
    for name, bind in CHECKS.items():
        for others in ((), list(asked.images[_IMAGES:])):
            for image, mask in zip(asked.images[:_IMAGES], asked.masks, strict=False):
                yield Checked(name, bool(others), one.tied, _outcome(bind(explainer), image, mask, others))


def table(checked: Sequence[Checked]) -> Iterator[str]:
    """Checks down; what became of them on biased and on clean models, and the share of wrong ones of those decided."""
    yield "| check | images | biased: " + ", ".join(_OUTCOMES) + " | clean: the same | wrong, of those decided |"
    yield "| --- " * 5 + "|"
    for name in CHECKS:
        for others in (False, True):
            own = [one for one in checked if (one.check, one.others) == (name, others)]
            counts = {truth: Counter(one.outcome for one in own if one.truth is truth) for truth in (True, False)}
            lot = f"with {_OTHERS} others" if others else "alone"
            cells = [", ".join(str(counts[truth][outcome]) for outcome in _OUTCOMES) for truth in (True, False)]
            yield f"| {name} | {lot} | " + " | ".join(cells) + f" | {_wrong(name, counts):.1%} |"


def _wrong(name: str, counts: dict[bool, Counter[str]]) -> float:
    """A check that the artefact is ignored must fail on biased models, one that it is relied on must pass there."""
    missed, accused = ("failed", "passed") if name == "assert_relies_on" else ("passed", "failed")
    wrong = counts[True][missed] + counts[False][accused]
    return wrong / max(1, sum(lot[outcome] for lot in counts.values() for outcome in ("failed", "passed")))


def _outcome(check: Check, image: object, mask: Mask, others: object) -> str:
    try:
        check(image, mask, others=others)
    except FocusError:
        return "failed"
    except HeatmapError:
        return "undecided"
    return "passed"
