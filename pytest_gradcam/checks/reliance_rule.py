"""The verdict on reliance: what the falls of the margin over a set of images bear, and what they do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pytest_gradcam.checks import margins
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
    """What replacing the place did to the margin of each image, in the model's units.

    `main` (N,) are the falls by the `intervention`, `around` (N,) those where it replaced the pixels right around the
    mask, `removed` the falls by other interventions, `core` (N,) those where it left the mask's outline alone (None where the
    mask is no more than half of the view), `without` (M,) the main falls of images that lack the artefact
    (from `around`, `removed` and `core` their means are taken off already). `worth` is how many independent images the
    main falls come to, `copies` how many of the images passed do not count, since each content counts once; `alive`
    whether the model's scores depend on its input at all; `fallback` the share of the images whose class is also the
    model's answer to nothing but the mean colour; `alike` whether
    all images are of one class.
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


@dataclass(frozen=True)
class Reliance:
    """Whether a model relies on the masked pixels of some images: `relies` True, False, or None if it is undecided.

    `effect` is the mean fall of the logit margin when the pixels are replaced, in units of the model's mean margin (of
    images `without` the artefact the mean is taken off); `interval` its one-sided 95 % bounds, lower and upper; `bound`
    what it was held to; `p_value` one-sided, for a mean at or below the bound, None for a single image.
    `intervention` says how the pixels were replaced, `why` in words why so, `reason` why there is no verdict. `around`
    is the mean fall for the pixels right around the mask, `core` that for a mask of most of the view without its outline,
    `others` that by other interventions. `mean_heat` is the heatmaps' figure in the mask, `agreement` whether it speaks for
    the same verdict: information, not a gate. `copies` of images were passed besides; each content counts once.
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
    draw: Callable[[str, Sequence[str]], Image] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def picture(self) -> Image:
        """Up to three of the images: with the mask's outline, with the place replaced, and with the heatmap.

        Raises HeatmapError if it was not an explainer that made this.
        """
        if self.draw is None:
            raise HeatmapError("no explainer made this Reliance, so there is no picture of it")
        return self.draw(self.verdict, [f"{label:<11}{phrase}" for label, phrase in self.rows()])

    @property
    def verdict(self) -> str:
        """The verdict in one sentence."""
        if self.relies is None:
            return f"undecided whether the model relies on the masked pixels: {self.reason}"
        side = f"above {self.bound:.3g} is reliance"
        return (
            f"the model {'relies' if self.relies else 'does not rely'} on the masked pixels: without them it loses "
            f"{_two(self.effect)} of its margin ({self._range()}; {side})"
        )

    def rows(self) -> list[tuple[str, str]]:
        """The figures, a label and a phrase each."""
        p_value = "" if self.p_value is None else f", p {self.p_value:.2g}"
        effect = (
            f"{_two(self.effect)} of the model's mean margin, {self._range()} at 95 % a side, bound {self.bound:.3g}"
        )
        rows = [("effect", effect + p_value), ("replaced", f"{WAYS[self.intervention]}: {self.why}")]
        if self.without is not None:
            rows.append(
                ("without", f"{_two(self.without)} in the same place of images without the artefact, taken off")
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
        return (
            f"Reliance(relies={self.relies}, effect={self.effect:.3f} ({self._range()}), bound={self.bound:.3g}, "
            f"p_value={p_value}, intervention={self.intervention!r}, images={self.images}{reason})"
        )


def judged(falls: Falls, bound: float | None = None) -> Reliance:
    """The verdict that the falls bear, held to the bound, by default that of the intervention.

    Every doubt makes it undecided.
    """
    bound = margins.BOUNDS[falls.intervention] if bound is None else bound
    found = margins.estimate(falls.main, bound, independent=falls.worth, base=falls.without)
    around = float(falls.around.mean())
    reason = _doubt(falls, found, around, bound)
    relies = None if reason else margins.exceeds(found, bound)
    heat = falls.mean_heat
    agreement = None if relies is None or heat is None else (heat > margins.MEAN_HEAT) == relies
    return Reliance(
        relies,
        found.p_value,
        found.mean,
        (found.lower, found.upper),
        bound,
        falls.intervention,
        falls.why,
        found.count,
        reason,
        around,
        None if falls.core is None else float(falls.core.mean()),
        {name: float(each.mean()) for name, each in falls.removed.items()},
        None if falls.without is None else float(falls.without.mean()),
        heat,
        agreement,
        falls.copies,
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
            "it was of this one, which any change may have cost; pass more images"
        )
    if relies and _beyond(falls, bound).lower <= margins.PART * bound and not _deep(falls, bound):
        return (
            f"without the masked pixels the model loses {_two(found.mean)} of its margin, and {_two(around)} without those right "
            "around the mask: it touches the object, or the artefact reaches beyond it; correct its outline, or pass more images"
        )
    if not relies and found.mean + around > bound and found.lower > margins.PART * bound:
        return (
            f"without the masked pixels the model loses {_two(found.mean)} of its margin, and {_two(around)} without those right "
            "around the mask: it may hold only a part of the artefact, or touch the object; correct its outline"
        )
    if not relies and falls.intervention != "swap":
        return _hidden(falls, found, bound) or _contradiction(falls, found, relies, bound)
    return _contradiction(falls, found, relies, bound)


def _hidden(falls: Falls, found: Estimate, bound: float) -> str:
    """Why a model may rely on a place that costs little when it is taken away, and no other class's pixels come in."""
    if falls.fallback > 0.5:
        return (
            "the images' class is also what the model answers where there is nothing to see, so it would not fall when its "
            "evidence is taken away, wherever that lies; pass images that are predicted as other classes as well"
        )
    if found.count == 1:
        return (
            "one image cannot show that a model ignores a place, since a class may be told by what is missing in a place; "
            "pass images that are predicted as other classes as well"
        )
    if falls.alike and falls.intervention == "colour":
        return (
            "all images are of one class, and none brings other pixels in, so nothing shows what the model answers where these "
            "pixels differ; pass images that are predicted as other classes as well"
        )
    if found.upper >= margins.PART * bound:
        return (
            f"to take the masked pixels away costs up to {_two(found.upper)} of the margin, and what another class shows there, "
            "which these images did not bring in, may cost more; pass images that are predicted as other classes, or more images"
        )
    return ""


def _beyond(falls: Falls, bound: float) -> Estimate:
    """What the mask costs more than the pixels right around it."""
    return margins.estimate(falls.main - falls.around, bound, independent=falls.worth, base=falls.without)


def _deep(falls: Falls, bound: float) -> bool:
    """Whether a mask of most of the view costs more than the bound even where its outline is left alone.

    There the surroundings are the object, which a model that relies on the mask may use as well.
    """
    return falls.core is not None and margins.estimate(falls.core, bound, independent=falls.worth).lower > bound


def _too_few(found: Estimate, bound: float) -> str:
    few = "one image is too few" if found.count == 1 else f"{found.count} images are too few, or differ too much"
    return (
        f"without the masked pixels the model loses {_two(found.mean)} of its margin, but with 95 % confidence a side that "
        f"may be {_two(found.lower)} to {_two(found.upper)}, which holds the bound of {bound:.3g}: {few}; pass more images"
    )


def _contradiction(falls: Falls, found: Estimate, relies: bool, bound: float) -> str:
    """Another intervention that says the opposite.

    Against a swap, a paste and inpainting only reliance counts: they may bring the cue back. Against the mean colour,
    which is the least natural, both do. Without a swap, nothing less than a clear no of the others bears a no.
    """
    for name, each in falls.removed.items():
        other = margins.estimate(each, bound)
        opposite = margins.exceeds(other, max(bound, margins.BOUNDS[name]))
        # One image has nothing but that both ways agree.
        unsure = opposite is None and found.count > 1 and (relies or falls.intervention == "swap")
        if unsure or opposite is relies or (relies and falls.intervention != "colour"):
            continue
        return (
            f"replaced {WAYS[falls.intervention]} the masked pixels cost {_two(found.mean)} of the margin, but "
            f"{_two(other.mean)} {WAYS[name]}: the one may bring the cue back, or the other look unnatural; pass images "
            "that differ in these pixels, or look at the picture"
        )
    return ""


def _two(figure: float) -> str:
    """Two decimals, and no negative zero."""
    return f"{round(figure, 2) + 0.0:.2f}"


def kept(falls: Floats) -> Floats:
    """The falls of those images to which something was done."""
    return np.asarray(falls[np.isfinite(falls)])
