"""The verdict on reliance: what the falls of the margin over a set of images show, and what they do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pytest_gradcam.checks import margins
from pytest_gradcam.checks.loss import Exchanged, Loss, estimated, percent
from pytest_gradcam.checks.margins import Estimate, Floats, Intervention
from pytest_gradcam.errors import HeatmapError

if TYPE_CHECKING:
    from PIL.Image import Image

#: What each intervention does to the masked pixels.
WAYS: dict[Intervention, str] = {
    "swap": "with pixels of images predicted as another class",
    "paste": "with pixels of other images",
    "colour": "with the mean colour",
    "inpaint": "with what surrounds them, inpainted",
}


@dataclass(frozen=True)
class Falls:
    """How far replacing the masked pixels lowers the margin of each image, in the model's units.

    `main` (N,) are the falls under the `intervention`; `around` (N,) those when it replaces the pixels right around the
    mask; `removed` those under other interventions; `core` (N,) those when the mask's outline is left alone (None if the
    mask is at most half of the view); `without` (M,) the main falls of images that lack the artefact, whose means are
    already subtracted from `around`, `removed` and `core`. `worth` is the number of independent images that the main
    falls amount to; `copies` how many images were passed besides, since each content counts once; `alive` whether the
    model's scores depend on its input at all; `fallback` the share of the images whose class is also the model's answer
    to the mean colour alone; `alike` whether all images are of one class; `exchanged` what became of the decisions, where
    images of several predicted classes exchange pixels.
    """

    intervention: Intervention
    why: str
    main: Floats
    around: Floats
    removed: dict[Intervention, Floats] = field(default_factory=dict)
    core: Floats | None = None
    without: Floats | None = None
    worth: int | None = None
    copies: int = 0
    alive: bool = True
    fallback: float = 0.0
    alike: bool = False
    mean_heat: float | None = None
    exchanged: Exchanged | None = None


@dataclass(frozen=True)
class Reliance:
    """Whether a model relies on the masked pixels of some images: `relies` True, False, or None if it is undecided.

    `effect` is the mean fall of the logit margin when the pixels are replaced, in units of the model's mean margin (the
    mean for images `without` the artefact is subtracted); `interval` its one-sided 95 % bounds, lower and upper; `bound`
    the bound it is compared with; `p_value` one-sided, for a mean at or below the bound, None for a single image.
    `intervention` says how the pixels were replaced, `why` the reason for this choice, `reason` why there is no verdict.
    `around` is the mean fall for the pixels right around the mask, `core` for the mask without its outline if it covers
    most of the view, `others` under other interventions. `mean_heat` is the heatmaps' mean heat in the mask, `agreement`
    whether it points to the same verdict: information, not a gate. Each content counts once: `copies` of images were
    passed besides.

    Where images of several predicted classes exchanged the pixels, `loss` is the estimated share of decisions that is lost,
    `loss_interval` its 90 % interval, and they decide rather than the effect; `weak` says that the model relies, but
    weakly; `by_class` is the loss of each class's images, `matrix` that by receiving and donor class, `worst` the largest
    entry in words. `p_value` is then for no more than a trace.
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
    draw: Callable[[str, Sequence[str]], Image] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def picture(self) -> Image:
        """Up to three of the images: with the mask's outline, with the masked pixels replaced, and with the heatmap.

        Raises HeatmapError if this was not made by an explainer.
        """
        if self.draw is None:
            raise HeatmapError("this Reliance was not made by an explainer, so there is no picture of it")
        return self.draw(self.verdict, [f"{label:<11}{phrase}" for label, phrase in self.rows()])

    @property
    def loss(self) -> float | None:
        """The estimated share of decisions that is lost when the pixels are exchanged; None if they were not."""
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
    def figure(self) -> float:
        """The loss of decisions: of all, or where one class decides, of it."""
        assert self.lost is not None
        return self.lost.decisive

    @property
    def verdict(self) -> str:
        """The verdict in one sentence."""
        if self.relies is None:
            return f"undecided whether the model relies on the masked pixels: {self.reason}"
        if self.lost is not None and not self.lost.by_margin:
            how = "relies weakly" if self.weak else "relies" if self.relies else "does not rely"
            return f"the model {how} on the masked pixels: {self.lost.sentence}"
        side = f"above {self.bound:.3g} is reliance"
        also = "" if self.lost is None else f", and {percent(self.lost.estimate)} of its decisions"
        return (
            f"the model {'relies' if self.relies else 'does not rely'} on the masked pixels: without them it loses "
            f"{_two(self.effect)} of its margin ({self._range()}; {side}){also}"
        )

    def rows(self) -> list[tuple[str, str]]:
        """The figures: a label and a phrase for each."""
        p_value = "" if self.p_value is None else f", p {self.p_value:.2g}"
        bound = f", bound {self.bound:.3g}" if self.lost is None else ""
        effect = f"{_two(self.effect)} of the model's mean margin, {self._range()} at 95 % a side{bound}"
        rows = [] if self.lost is None else self.lost.rows()
        rows += [("effect", effect + p_value), ("replaced", f"{WAYS[self.intervention]}: {self.why}")]
        if self.without is not None:
            rows.append(
                ("without", f"{_two(self.without)} for the same pixels of images without the artefact, subtracted")
            )
        if self.around is not None:
            rows.append(("around", f"{_two(self.around)} for the pixels right around the mask"))
        if self.core is not None:
            rows.append(("core", f"{_two(self.core)} for the mask without its outline"))
        rows += [("otherwise", f"{_two(fall)} {WAYS[name]}") for name, fall in self.others.items()]
        if self.mean_heat is not None:
            side = "" if self.agreement is None else ": agrees" if self.agreement else ": does not agree"
            rows.append(("mean heat", f"{_two(self.mean_heat)} of the heatmaps' maxima in the mask{side}"))
        copies = f", each once: {self.copies} copies of them do not count" if self.copies else ""
        return [*rows, ("images", f"{self.images}{copies}")]

    def _range(self) -> str:
        return f"{_two(self.interval[0])} to {_two(self.interval[1])}"

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
            f"Reliance(relies={self.relies}{weak}, {loss}effect={self.effect:.3f} ({self._range()}), {bound}"
            f"p_value={p_value}, intervention={self.intervention!r}, images={self.images}{reason})"
        )


def judged(falls: Falls, bound: float | None = None) -> Reliance:
    """The verdict that the falls allow; any doubt makes it undecided.

    At a given bound it is one on the fall of the margin. By default the exchanged decisions decide where there are any, and
    the bound of the intervention otherwise.
    """
    if bound is None and falls.exchanged is not None and falls.alive:
        return _exchanged(falls, falls.exchanged)
    return _by_margin(falls, margins.BOUNDS[falls.intervention] if bound is None else bound)


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
        reason = _contradiction(falls, found, relies, bound)
        relies = None if reason else relies
    verdict = replace(_figures(falls, found, bound), relies=relies, reason=reason, agreement=_agreement(falls, relies))
    return replace(verdict, weak=lost.claim == "relies weakly", lost=lost, p_value=p_value)


def _by_margin(falls: Falls, bound: float) -> Reliance:
    """The verdict by the fall of the margin."""
    found = margins.estimate(falls.main, bound, independent=falls.worth, base=falls.without)
    reason = _doubt(falls, found, float(falls.around.mean()), bound)
    relies = None if reason else margins.exceeds(found, bound)
    return replace(_figures(falls, found, bound), relies=relies, reason=reason, agreement=_agreement(falls, relies))


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
        around=float(falls.around.mean()),
        core=None if falls.core is None else float(falls.core.mean()),
        others={name: float(each.mean()) for name, each in falls.removed.items()},
        without=None if falls.without is None else float(falls.without.mean()),
        mean_heat=falls.mean_heat,
        copies=falls.copies,
    )


def _doubt(falls: Falls, found: Estimate, around: float, bound: float) -> str:
    """Why there is no verdict; empty if there is one."""
    relies = margins.exceeds(found, bound)
    if not falls.alive:
        return "the model gives every image the same scores, so it ignores them altogether; check the weights"
    if relies is None:
        return _too_few(found, bound)
    if relies and found.count == 1 and found.mean > margins.TURNED:
        return (
            f"without the masked pixels the model loses {_two(found.mean)} of its margin, so it is surer of another class than "
            "it was of this one, which any change may have caused; pass more images"
        )
    if relies and _beyond(falls, bound).lower <= margins.PART * bound and not _deep(falls, bound):
        return (
            f"without the masked pixels the model loses {_two(found.mean)} of its margin, and {_two(around)} without those right "
            "around the mask: it touches the object, or the artefact reaches beyond it; correct its outline, or pass more images"
        )
    if not relies and found.mean + around > bound and found.lower > margins.PART * bound:
        return (
            f"without the masked pixels the model loses {_two(found.mean)} of its margin, and {_two(around)} without those right "
            "around the mask: it may contain only a part of the artefact, or touch the object; correct its outline"
        )
    if not relies and falls.intervention != "swap":
        return _hidden(falls, found, bound) or _contradiction(falls, found, relies, bound)
    return _contradiction(falls, found, relies, bound)


def _hidden(falls: Falls, found: Estimate, bound: float) -> str:
    """Why a model may rely on pixels that cost little to remove, when no other class's pixels were brought in."""
    if falls.fallback > 0.5:
        return (
            "the images' class is also what the model answers where there is nothing to see, so it would not fall when its "
            "evidence is taken away, wherever that lies; pass images that are predicted as other classes as well"
        )
    if found.count == 1:
        return (
            "one image cannot show that a model ignores these pixels, since a class may be recognised by what is missing "
            "there; pass images that are predicted as other classes as well"
        )
    if falls.alike and falls.intervention == "colour":
        return (
            "all images are of one class, and none brings in other pixels, so nothing shows what the model answers where these "
            "pixels differ; pass images that are predicted as other classes as well"
        )
    if found.upper >= margins.PART * bound:
        return (
            f"removing the masked pixels costs up to {_two(found.upper)} of the margin, and what another class shows there, "
            "which these images did not bring in, may cost more; pass images that are predicted as other classes, or more images"
        )
    return ""


def _beyond(falls: Falls, bound: float) -> Estimate:
    """How much more the mask costs than the pixels right around it."""
    return margins.estimate(falls.main - falls.around, bound, independent=falls.worth, base=falls.without)


def _deep(falls: Falls, bound: float) -> bool:
    """Whether a mask of most of the view costs more than the bound even if its outline is left alone.

    The surroundings of such a mask are the object, which a model that relies on the mask may use as well.
    """
    return falls.core is not None and margins.estimate(falls.core, bound, independent=falls.worth).lower > bound


def _too_few(found: Estimate, bound: float) -> str:
    few = "one image is too few" if found.count == 1 else f"{found.count} images are too few, or differ too much"
    return (
        f"without the masked pixels the model loses {_two(found.mean)} of its margin, but with 95 % confidence a side that "
        f"may be {_two(found.lower)} to {_two(found.upper)}, which contains the bound of {bound:.3g}: {few}; pass more images"
    )


def _contradiction(falls: Falls, found: Estimate, relies: bool, bound: float) -> str:
    """Another intervention that says the opposite.

    Against a swap, a paste or inpainting only reliance counts: they may bring the cue back. Against the mean colour,
    which is the least natural, both count. Without a swap, a no requires a clear no from the others.
    """
    for name, each in falls.removed.items():
        other = margins.estimate(each, bound)
        opposite = margins.exceeds(other, max(bound, margins.BOUNDS[name]))
        # With one image, all there is to go by is that both ways agree.
        unsure = opposite is None and found.count > 1 and (relies or falls.intervention == "swap")
        if unsure or opposite is relies or (relies and falls.intervention != "colour"):
            continue
        return (
            f"replaced {WAYS[falls.intervention]} the masked pixels cost {_two(found.mean)} of the margin, but "
            f"{_two(other.mean)} {WAYS[name]}: one may bring the cue back, or the other may look unnatural; pass images "
            "that differ in these pixels, or look at the picture"
        )
    return ""


def _two(figure: float) -> str:
    """The figure with two decimals, without a negative zero."""
    return f"{round(figure, 2) + 0.0:.2f}"


def finite(falls: Floats) -> Floats:
    """The falls of the images that were changed."""
    return np.asarray(falls[np.isfinite(falls)])
