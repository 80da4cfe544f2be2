"""What the fall of the margin showed, and every reason why it allows no verdict on reliance."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pytest_gradcam.checks import margins
from pytest_gradcam.checks.loss import Exchanged, percent
from pytest_gradcam.checks.margins import MARGIN, Estimate, Floats, Intervention, Wording
from pytest_gradcam.checks.outline import Fault

#: Pairs have to change this share of what tells the classes apart in the mask, in squares: half of it.
_EXCHANGED = 0.25


@dataclass(frozen=True)
class Falls:
    """How far replacing the masked pixels lowers the margin of each image, in the model's units.

    `main` (N,) are the falls under the `intervention`; `around` those when it replaces the pixels right around the mask,
    of the first images or of all (None for exact pairs, which change nothing around it); `removed` those under other
    interventions; `core` those when the mask's outline is left alone (None if the mask is at most half of the view);
    `without` (M,) the main falls of images that lack the artefact, whose means are already subtracted from `around`,
    `removed` and `core`. `worth` is the number of independent images that the main falls amount to; `copies` how many
    more images were passed that are copies, since each content counts once; `alive` whether the model's scores depend on
    its input at all; `fallback` the share of the images whose class is also the model's answer to the mean colour alone;
    `alike` whether all images are of one class; `pairs_differ` the mean square by which the masked pixels differ within a
    pair, `classes_differ` how much larger it is between images of different predicted classes than within one; `exchanged`
    what became of the decisions, where images of several predicted classes exchange pixels; `costs` (N,) what the loss of
    each image's decision costs in accuracy, where its pixels were removed: 0 for a decision that stays, and for one that the
    pixels around the mask cost as well; `fault` what is wrong with the masks, as far as can be seen; `wording` how to speak of
    the falls, which are moves of a score where the targets are not classes.
    """

    intervention: Intervention
    why: str
    main: Floats
    around: Floats | None = None
    removed: dict[Intervention, Floats] = field(default_factory=dict)
    core: Floats | None = None
    without: Floats | None = None
    worth: int | None = None
    copies: int = 0
    alive: bool = True
    fallback: float = 0.0
    alike: bool = False
    pairs_differ: float = 0.0
    classes_differ: float = 0.0
    mean_heat: float | None = None
    exchanged: Exchanged | None = None
    costs: Floats | None = None
    fault: Fault | None = None
    wording: Wording = MARGIN


def doubt(falls: Falls, found: Estimate, bound: float) -> str:
    """Why there is no verdict; empty if there is one."""
    around = 0.0 if falls.around is None else float(falls.around.mean())
    relies, lost = margins.exceeds(found, bound), falls.wording.lost(two(found.mean))
    if not falls.alive:
        return "the model gives every image the same scores, so it ignores them altogether; check the weights"
    if relies is None:
        return _too_few(falls.wording, found, bound)
    if relies and found.count == 1 and found.mean > margins.TURNED:
        return (
            f"without the masked pixels {lost}, so it is now more certain of another class than it was of this one, which any "
            "change may have caused; pass more images"
        )
    if relies and beyond(falls, bound).lower <= margins.PART * bound and not _deep(falls, bound):
        return (
            f"without the masked pixels {lost}, and {two(around)} without those right around the mask: "
            "it touches the object, or the artefact reaches beyond it; correct its outline, or pass more images"
        )
    if not relies and found.mean + around > bound and found.lower > margins.PART * bound:
        return (
            f"without the masked pixels {lost}, and {two(around)} without those right around the mask: "
            "it may contain only a part of the artefact, or touch the object; correct its outline"
        )
    if not relies and falls.intervention == "pair":
        return unpaired(falls, bound) or _blank(falls)
    if not relies and falls.intervention != "swap":
        return _hidden(falls, found, bound) or contradiction(falls, found, relies, bound)
    return contradiction(falls, found, relies, bound)


def unpaired(falls: Falls, bound: float) -> str:
    """Why exact pairs without a loss are no ground for a no; empty if they are, or if there are none."""
    if falls.intervention != "pair":
        return ""
    if falls.alike:
        return (
            "all images are predicted as one class, and nothing shows what the masked pixels do to images of another; pass pairs "
            "of several classes"
        )
    if falls.pairs_differ < _EXCHANGED * falls.classes_differ:
        share = (falls.pairs_differ / falls.classes_differ) ** 0.5
        return (
            f"the images of a pair differ in the mask by only {percent(share)} of what tells the predicted classes apart there, "
            "so both may show the same artefact; pass pairs without it, or with that of another class"
        )
    either = margins.estimate(np.abs(falls.main), bound)
    if either.upper >= bound:
        turned = "the images with the artefact as images and those without it as pairs="
        return (
            f"between the images of a pair the margin moves by {two(either.mean)} either way, perhaps by {two(either.upper)}; "
            f"pass {turned if falls.main.mean() < 0 else 'more pairs'}"
        )
    return ""


def _hidden(falls: Falls, found: Estimate, bound: float) -> str:
    """Why a model may rely on pixels that cost little to remove, when no other class's pixels were brought in."""
    wording = falls.wording
    if falls.fallback > 0.5 and wording is not MARGIN:
        return (
            f"the {wording.noun} is much the same where there is nothing to see, so it would not move when its evidence is taken "
            f"away, wherever that lies; pass images {wording.others} as well"
        )
    if blank := _blank(falls):
        return blank
    if found.count == 1:
        return (
            "one image cannot show that a model ignores these pixels, since a class may be recognised by what is missing "
            f"there; pass images {wording.others} as well"
        )
    if falls.alike and (falls.intervention == "colour" or wording is not MARGIN):
        alike = (
            "of one class, so they bring in no other pixels"
            if wording is MARGIN
            else f"alike in the {wording.noun} that is asked about"
        )
        return (
            f"all images are {alike}, and nothing shows what the model predicts when these pixels differ; pass images "
            f"{wording.others} as well"
        )
    if found.upper >= margins.PART * bound:
        other = "another class" if wording is MARGIN else "another image"
        return (
            f"removing the masked pixels costs up to {two(found.upper)} of the {wording.noun}, and the pixels of {other}, "
            f"which these images did not bring in, may cost more; pass images {wording.others}, or more images"
        )
    return ""


def _blank(falls: Falls) -> str:
    if falls.fallback <= 0.5:
        return ""
    return (
        "the model predicts this class for a blank image as well, so the margin would not fall wherever the "
        "evidence was removed; pass images that are predicted as other classes as well"
    )


def beyond(falls: Falls, bound: float) -> Estimate:
    """How much more the mask costs than the pixels right around it; exact pairs need no such yardstick."""
    both = falls.main if falls.around is None else falls.main[: len(falls.around)] - falls.around
    return margins.estimate(both, bound, independent=falls.worth, base=falls.without)


def _deep(falls: Falls, bound: float) -> bool:
    """Whether a mask of most of the view costs more than the bound even if its outline is left alone.

    The surroundings of such a mask are the object, which a model that relies on the mask may use as well.
    """
    return falls.core is not None and margins.estimate(falls.core, bound, independent=falls.worth).lower > bound


def _too_few(wording: Wording, found: Estimate, bound: float) -> str:
    few = "one image is too few" if found.count == 1 else f"{found.count} images are too few, or differ too much"
    return (
        f"without the masked pixels {wording.lost(two(found.mean))}, but the true loss may be anywhere from {two(found.lower)} "
        f"to {two(found.upper)} (95 % confidence on each side), which contains the bound of {bound:.3g}: {few}; pass more images"
    )


def contradiction(falls: Falls, found: Estimate, relies: bool, bound: float) -> str:
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
            f"replaced {falls.wording.replaced(falls.intervention)} the masked pixels cost {two(found.mean)} of the "
            f"{falls.wording.noun}, but {two(other.mean)} {falls.wording.replaced(name)}: one may bring the cue back, or the "
            "other may look unnatural; pass images that differ in these pixels, or look at the picture"
        )
    return ""


def two(figure: float) -> str:
    """The figure with two decimals, without a negative zero."""
    return f"{round(figure, 2) + 0.0:.2f}"
