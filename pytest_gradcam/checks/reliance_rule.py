"""The verdict on reliance: what the falls of the margin over a set of images show, and what they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pytest_gradcam.checks import margins
from pytest_gradcam.checks.doubts import Falls, beyond, contradiction, doubt, two, unpaired
from pytest_gradcam.checks.exchange import FEWEST
from pytest_gradcam.checks.loss import FALL_ALONE, NONE_FALL, WEAK_FALL, Exchanged, Loss, estimated, removed, share
from pytest_gradcam.checks.margins import MARGIN, Estimate, Floats, Intervention, Wording
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.replacement.fills import Bools

if TYPE_CHECKING:
    from PIL.Image import Image

Added = tuple[float, tuple[float, float]]  # a loss beyond that of other masks, and its 90 % interval


@dataclass(frozen=True)
class Reliance:
    """Whether a model relies on the masked pixels of some images: `relies` True, False, or None if it is undecided.

    `effect` is the mean fall of the logit margin when the pixels are replaced, in units of the model's mean margin (the
    mean for images `without` the artefact is subtracted); `interval` its one-sided 95 % bounds, lower and upper; `bound`
    the bound it is compared with; `p_value` one-sided, for a mean at or below the bound, None for a single image.
    `intervention` says how the pixels were replaced, `why` the reason for this choice, `reason` why there is no verdict.
    `around` is the mean fall for the pixels right around the mask, `core` for the mask without its outline if it covers
    most of the view, `others` under other interventions. `mean_heat` is the heatmaps' mean heat in the mask, `agreement`
    whether it points to the same verdict: information, not a gate. Each content counts once: `copies` more images were
    passed that are copies.

    Where images of several predicted classes exchanged the pixels, `loss` is the estimated loss of accuracy,
    `loss_interval` its 90 % interval, and they decide rather than the effect; `weak` says that the model relies, but
    weakly; `by_class` is the loss of each class's images, `matrix` that by receiving and donor class, `worst` the largest
    entry in words. `p_value` is then for no more than a trace. `fault` says what is wrong with the masks, if that can be seen.

    Of several masks, `alone` has the verdict on each by its name and `added` what each loses beyond the others (None if no
    decisions were exchanged); the other figures are those of all together.

    Where the targets are not classes, `effect` is the mean fall, or move, of their score, in units that `rows()` name.
    """

    relies: bool | None
    p_value: float | None
    effect: float
    interval: tuple[float, float]
    bound: float
    intervention: Intervention
    why: str
    images: int
    reason: str = ""
    around: float | None = None
    core: float | None = None
    others: dict[Intervention, float] = field(default_factory=dict)
    without: float | None = None
    mean_heat: float | None = None
    agreement: bool | None = None
    copies: int = 0
    weak: bool = False
    lost: Loss | None = None
    fault: str = ""
    alone: dict[str, Reliance] = field(default_factory=dict)
    added: dict[str, Added | None] = field(default_factory=dict)
    wording: Wording = field(default=MARGIN, repr=False)
    draw: Callable[[str, Sequence[str]], Image] | None = field(default=None, repr=False, compare=False)
    mend: Callable[[], list[Bools]] | None = field(default=None, repr=False, compare=False)

    def __bool__(self) -> bool:
        raise HeatmapError(
            "a Reliance is neither true nor false; ask for its `relies` (True, False, or None where it is undecided), or call "
            "assert_no_reliance"
        )

    @cached_property
    def picture(self) -> Image:
        """Up to three of the images: with the mask's outline, with the masked pixels replaced, and with the heatmap. If the masks
        do not fit, and the edges of the artefact say how, three with masks that fit better.

        Raises HeatmapError if this was not made by an explainer.
        """
        if self.draw is None:
            raise HeatmapError("this Reliance was not made by an explainer, so there is no picture of it")
        return self.draw(self.verdict, [f"{label:<11}{phrase}" for label, phrase in self.rows()])

    @cached_property
    def better_masks(self) -> list[Bools]:
        """If the masks do not fit and the edges of the artefact say how: a better one, bool (H, W), for each image that was
        passed, in its coordinates. Empty otherwise.
        """
        return [] if self.mend is None else self.mend()

    @property
    def loss(self) -> float | None:
        """The estimated loss of accuracy when the pixels are exchanged; None if they were not."""
        return None if self.lost is None else self.lost.estimate

    @property
    def loss_interval(self) -> tuple[float, float] | None:
        """The 90 % interval of the loss."""
        return None if self.lost is None else self.lost.interval

    @property
    def by_class(self) -> dict[str, float]:
        """The loss of the images of each predicted class of which there are enough."""
        return {} if self.lost is None else self.lost.by_class

    @property
    def matrix(self) -> dict[tuple[str, str], float]:
        """The loss by receiving and donor class."""
        return {} if self.lost is None else self.lost.matrix

    @property
    def worst(self) -> str:
        """The largest entry of the matrix, its rows and columns, in words; empty if none stands out."""
        return "" if self.lost is None else self.lost.worst

    @property
    def by_loss(self) -> bool:
        """Whether the lost decisions decide, and not the fall of the margin."""
        return self.lost is not None and not self.lost.by_margin

    @property
    def figure(self) -> float:
        """The figure that decides: the loss of accuracy, or where one class decides, of its decisions; or else the effect."""
        if not self.by_loss:
            return self.effect
        losses = [found.lost for found in (self, *self.alone.values()) if found.lost is not None]
        return max(lost.decisive for lost in losses)

    @property
    def verdict(self) -> str:
        """The verdict in one sentence."""
        if self.relies is None:
            return f"undecided whether the model relies on the masked pixels: {self.reason}"
        if self.lost is not None and self.by_loss:
            return f"the model {self.claim} on the masked pixels{self._which()}: {self.lost.sentence}"
        side = f"above {self.bound:.3g} is reliance"
        also = "" if self.lost is None else f", and {share(self.lost.estimate)} of accuracy"
        return (
            f"the model {'relies' if self.relies else 'does not rely'} on the masked pixels: without them "
            f"{self.wording.lost(two(self.effect), 'it')} ({self._range()}; {side}){also}"
        )

    @property
    def claim(self) -> str:
        """The verdict in a word or three."""
        if self.relies is None:
            return "undecided"
        return "relies weakly" if self.weak else "relies" if self.relies else "does not rely"

    def _which(self) -> str:
        """Of several masks, those that the model relies on."""
        named = [repr(name) for name, found in self.alone.items() if found.relies]
        return f" of {' and '.join(named)}" if named else ""

    def _masks(self) -> Iterator[tuple[str, str]]:
        """Of several masks, what each does."""
        for name, found in self.alone.items():
            parts = [f"{name}: {found.claim} alone"]
            if found.lost is not None:
                parts.append(found.lost.said)
            if added := self.added.get(name):
                more, (low, high) = added
                parts.append(f"{share(more)} ({share(low)} to {share(high)}) beyond the others")
            yield "mask", ", ".join(parts)

    def rows(self) -> list[tuple[str, str]]:
        """The figures: a label and a phrase for each."""
        p_value = "" if self.p_value is None else f", p {self.p_value:.2g}"
        bound = f", bound {self.bound:.3g}" if self.lost is None else ""
        effect = f"{two(self.effect)} of {self.wording.of}, {self._range()} at 95 % on each side{bound}"
        rows = [*self._masks(), *([] if self.lost is None else self.lost.rows())]
        rows += [("effect", effect + p_value), ("replaced", f"{self.wording.replaced(self.intervention)}: {self.why}")]
        if self.without is not None:
            rows.append(
                ("without", f"{two(self.without)} for the same pixels of images without the artefact, subtracted")
            )
        if self.around is not None:
            rows.append(("around", f"{two(self.around)} for the pixels right around the mask"))
        if self.core is not None:
            rows.append(("core", f"{two(self.core)} for the mask without its outline"))
        rows += [("otherwise", f"{two(fall)} {self.wording.replaced(name)}") for name, fall in self.others.items()]
        if self.mean_heat is not None:
            side = "" if self.agreement is None else ": agrees" if self.agreement else ": does not agree"
            rows.append(("mean heat", f"{two(self.mean_heat)} of the heatmaps' maxima in the mask{side}"))
        if self.fault:
            rows.append(("mask", self.fault))
        copies = f", each counted once: {self.copies} copies do not count" if self.copies else ""
        return [*rows, ("images", f"{self.images}{copies}")]

    def _range(self) -> str:
        return f"{two(self.interval[0])} to {two(self.interval[1])}"

    def __repr__(self) -> str:
        p_value = "none" if self.p_value is None else f"{self.p_value:.2g}"
        reason = f", reason={self.reason!r}" if self.reason else ""
        bound = f"bound={self.bound:.3g}, "
        loss = ""
        if self.lost is not None:
            low, high = self.lost.interval
            loss, bound = f"loss={self.lost.estimate:.3f} ({low:.2f} to {high:.2f}), ", ""
        weak = ", weak=True" if self.weak else ""
        return (
            f"Reliance(relies={self.relies}{weak}, {loss}effect={round(self.effect, 3) + 0.0:.3f} ({self._range()}), {bound}"
            f"p_value={p_value}, intervention={self.intervention!r}, images={self.images}{reason})"
        )


def judged(falls: Falls, bound: float | None = None) -> Reliance:
    """The verdict that the falls allow; any doubt makes it undecided.

    At a given bound it is one on the fall of the margin. By default the exchanged decisions decide where there are any, and
    the bound of the intervention otherwise.
    """
    if bound is None and falls.exchanged is not None and falls.alive:
        return _exchanged(falls, falls.exchanged)
    if bound is not None:
        return _by_margin(falls, bound)
    found = _by_margin(falls, margins.BOUNDS[falls.intervention])
    lost = None if found.relies else _weakly(falls, found)
    if lost is None:
        return found
    verdict = replace(found, relies=True, weak=True, reason="", lost=lost, p_value=lost.p_value)
    return replace(verdict, agreement=_agreement(falls, True))


def _exchanged(falls: Falls, exchanged: Exchanged) -> Reliance:
    """The verdict by the loss of decisions, beside that by the fall of the margin: a model may lose most of its margin, but
    no decision, in the images at hand.
    """
    bound, lost = margins.BOUNDS[falls.intervention], estimated(exchanged)
    found = margins.estimate(falls.main, bound, independent=falls.worth)
    relies, reason, p_value = lost.relies, lost.reason, lost.p_value
    if not exchanged.through and lost.claim != "relies":  # else the control says more than the margin does
        by_margin = _by_margin(falls, bound)
        if by_margin.relies:
            lost, relies, reason = replace(lost, claim="relies", by_margin=True), True, ""
            p_value = by_margin.p_value
        elif not relies and by_margin.relies is None and found.lower > margins.PART * bound:
            outline = (
                margins.exceeds(found, bound) is not None
            )  # a doubt about the mask, not about the number of images
            relies, reason = None, by_margin.reason if outline or not reason else reason
    if relies is False:
        reason = _misses(falls) or unpaired(falls, NONE_FALL) or contradiction(falls, found, relies, bound)
        relies = None if reason else relies
    verdict = replace(_figures(falls, found, bound), relies=relies, reason=reason, agreement=_agreement(falls, relies))
    return replace(verdict, weak=lost.claim == "relies weakly", lost=lost, p_value=p_value)


def _misses(falls: Falls) -> str:
    """Why a mask that misses a part of the artefact is no ground for a no."""
    return falls.fault.sentence if falls.fault is not None and falls.fault.misses else ""


def _by_margin(falls: Falls, bound: float) -> Reliance:
    """The verdict by the fall of the margin."""
    found = margins.estimate(falls.main, bound, independent=falls.worth, base=falls.without)
    reason = doubt(falls, found, bound)
    relies = None if reason else margins.exceeds(found, bound)
    return replace(_figures(falls, found, bound), relies=relies, reason=reason, agreement=_agreement(falls, relies))


def _weakly(falls: Falls, found: Reliance) -> Loss | None:
    """The decisions that are lost without pixels that are the same in all images, where that shows a weak reliance.

    Nothing is exchanged then, but each image loses its mark: its margin must fall however the mark is removed, and further than
    without the pixels around it; and decisions must be lost that are not lost without those.
    """
    costs = falls.costs
    if costs is None or len(costs) < FEWEST or not falls.alive or found.interval[0] > found.bound:
        return None
    others = [margins.estimate(each, found.bound).lower for each in falls.removed.values()]
    further = min(found.interval[0], beyond(falls, found.bound).lower)
    if further <= FALL_ALONE or min(others, default=0.0) <= WEAK_FALL:
        return None
    return removed(costs, f"replaced {falls.wording.replaced(falls.intervention)}")


def _agreement(falls: Falls, relies: bool | None) -> bool | None:
    """Whether the heatmaps alone would have said the same."""
    return None if relies is None or falls.mean_heat is None else (falls.mean_heat > margins.MEAN_HEAT) == relies


def _figures(falls: Falls, found: Estimate, bound: float) -> Reliance:
    """All figures, without a verdict."""
    return Reliance(
        None,
        found.p_value,
        found.mean,
        (found.lower, found.upper),
        bound,
        falls.intervention,
        falls.why,
        found.count,
        around=None if falls.around is None else float(falls.around.mean()),
        core=None if falls.core is None else float(falls.core.mean()),
        others={name: float(each.mean()) for name, each in falls.removed.items()},
        without=None if falls.without is None else float(falls.without.mean()),
        mean_heat=falls.mean_heat,
        copies=falls.copies,
        fault="" if falls.fault is None else falls.fault.sentence,
        wording=falls.wording,
    )


def finite(falls: Floats) -> Floats:
    """The falls of the images that were changed."""
    return np.asarray(falls[np.isfinite(falls)])
