"""How far replaced pixels move a model: falls of the logit margin, their mean over images, and what follows from it.

The margin of a class is its logit less the highest other logit, or its logit alone where classes do not compete: it is
positive exactly where the class is predicted. Falls are in units of the model's mean margin: at 1 the model is, on
average, about to predict another class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from pytest_gradcam import validation
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.lead import margins

Floats = NDArray[np.float64]
Intervention = Literal["pair", "swap", "paste", "colour", "inpaint"]

#: What interventions other than a swap do to the masked pixels.
_WAYS: dict[Intervention, str] = {
    "pair": "with those of the same scene in its pair",
    "paste": "with pixels of other images",
    "colour": "with the mean colour",
    "inpaint": "with what surrounds them, inpainted",
}

# Every constant of the verdict on reliance by the margin; those of the loss of decisions are in loss.py. The bounds separate
# models of known truth: they were chosen on the tuning half of the seeds of benchmarks/shortcuts and judged on the other half.
#: The mean fall of the margin, in units, above which a model relies on the replaced pixels.
BOUNDS: dict[Intervention, float] = {"pair": 0.5, "swap": 0.5, "paste": 0.4, "colour": 0.45, "inpaint": 0.4}
#: Both ends of the interval are one-sided bounds of this confidence.
CONFIDENCE = 0.95
#: Falls agree by luck where there are few of them: their standard deviation counts as at least this, in units.
SPREAD = 0.1
#: One image has no spread: its fall may be this far, in units, from the mean over other images.
SINGLE = 0.4
#: At this fall another class leads by as much as the first did. Beyond it, the prediction for a single image, whose own lead
#: is the unit, was uncertain before.
TURNED = 2.0
#: The outline of the mask is doubtful if the mask does not move the margin by this share of the bound more than the pixels
#: right around it do, or if the mask alone moves it by more than this share and both together by more than the bound: the
#: mask may contain half of an artefact.
PART = 0.5
#: In one image, control regions of the mask's shape may cost this share of what the mask costs; more is due to the edges.
YARDSTICK = 0.5
#: Of two scores that differ by less than this, in units, neither leads.
LEVEL = 1e-3
#: Images whose scores are needed to say how far these differ.
FEWEST = 5
#: The mean heat above which the heatmap by itself would speak for reliance.
MEAN_HEAT = 0.35


@dataclass(frozen=True)
class Wording:
    """How a verdict speaks of what was measured: the `noun` and whose it is, what one unit is `of`, and what `other` images are.

    Where `two_sided`, a move either way counts, and every fall is the size of a move.
    """

    noun: str = "margin"
    whose: str = "its margin"
    of: str = "the model's mean margin"
    other: str = "predicted as another class"
    others: str = "that are predicted as other classes"
    two_sided: bool = False

    @property
    def measure(self) -> str:
        return f"{'move' if self.two_sided else 'fall'} of the {self.noun}"

    def change(self, fall: float) -> str:
        """What it does, in words."""
        verb = "moves" if self.two_sided else "rises" if fall <= -0.005 else "falls"
        return f"{verb} by {abs(fall):.2f} units"

    def lost(self, fall: str, by: str = "the model") -> str:
        """What is lost without the masked pixels, by whom; the fall is a figure that was written out."""
        if self.two_sided:
            return f"{self.whose} moves by {fall} units"
        return f"{by} loses {fall} of {self.whose}"

    def replaced(self, intervention: Intervention) -> str:
        """What an intervention does to the masked pixels."""
        return _WAYS.get(intervention, f"with pixels of images {self.other}")


MARGIN = Wording()


@dataclass(frozen=True)
class Estimate:
    """A mean over images, and its one-sided bounds; `p_value` is for a mean at or below the bound."""

    mean: float
    lower: float
    upper: float
    p_value: float | None
    count: int


@dataclass(frozen=True)
class FillResult:
    """One fill of one image: the fall of the margin, and the mean fall in control regions, None if there are none.

    `where` says what was replaced as the control.
    """

    label: str
    fall: float
    control: float | None
    where: str = "the same shape elsewhere"


def unit(scores: NDArray[np.floating], own: Floats | None = None) -> float:
    """The model's own unit: the mean lead of the predicted class in scores (N, classes).

    Where classes do not compete it is how far, on average, the margins `own` (N,) are from 0, where a class is neither
    found nor missed. Raises HeatmapError if there is no lead to lose.
    """
    if own is not None:
        lead = float(np.abs(own).mean())
        if not lead > 0:
            raise HeatmapError(
                "the class's own logit is 0 on every image, so no pixels can change it; check the weights"
            )
        return lead
    if scores.shape[1] < 2:
        raise HeatmapError(f"the model gives {scores.shape[1]} scores; expected at least two classes to choose between")
    lead = float(margins(scores, scores.argmax(axis=1)).mean())
    best = np.partition(scores, -2, axis=1)[:, -2:]  # a class that is forbidden by a huge negative score sets no scale
    if not lead > 1e-6 * float(np.abs(best).max()):
        raise HeatmapError(
            "the model scores its best two classes the same on every image, so there is no prediction that pixels "
            "could change; check the weights"
        )
    return lead


def spread(scores: Floats) -> float:
    """How far scores (N,) differ from image to image: the range of their middle half, which outliers do not widen.

    Divided by 1.349, it is the standard deviation of a normal distribution. Raises HeatmapError for too few images, and
    where the middle half has one score.
    """
    if len(scores) < FEWEST:
        raise HeatmapError(
            f"the score has no margin, and {len(scores)} image{'s' * (len(scores) != 1)} cannot say by how much it differs "
            f"between images; expected at least {FEWEST} different images (others= of a check on one image), or a unit: "
            "Value(function, unit=a difference that matters)"
        )
    low, high = np.percentile(scores, [25, 75])
    if not high - low > 1e-9 * float(np.abs(scores).max()):
        raise HeatmapError(
            "the score is the same in most of the images, so nothing says which difference matters; expected images that differ "
            "in it, or a unit: Value(function, unit=a difference that matters)"
        )
    return float(high - low) / 1.349


def estimate(falls: Floats, bound: float, *, independent: int | None = None, base: Floats | None = None) -> Estimate:
    """The mean of falls (N,), less that of the falls `base` (M,) if there are any, with Student's t interval.

    `independent` is the number of independent images that the falls amount to, if that is less than N.
    """
    count = len(falls) if independent is None else min(independent, len(falls))
    mean = float(falls.mean())
    if count < 2:
        return Estimate(mean, mean - SINGLE, mean + SINGLE, None, len(falls))
    error, freedom = _error(falls, count), count - 1
    if base is not None:
        mean -= float(base.mean())
        error, freedom = math.hypot(error, _error(base, len(base))), min(freedom, len(base) - 1)
    reach = float(scipy.special.stdtrit(freedom, CONFIDENCE)) * error
    p_value = float(scipy.special.stdtr(freedom, (bound - mean) / error))
    return Estimate(mean, mean - reach, mean + reach, p_value, len(falls))


def _error(falls: Floats, count: int) -> float:
    """The standard error of the mean of falls that amount to `count` independent images."""
    return max(float(falls.std(ddof=1)), SPREAD) / math.sqrt(count)


def exceeds(found: Estimate, bound: float) -> bool | None:
    """Whether the mean lies above the bound; None if the interval contains the bound."""
    if found.lower > bound:
        return True
    return False if found.upper < bound else None


def moved(
    results: Sequence[FillResult],
    keeps: Callable[[float], bool],
    *,
    advice: str = "use reliance() on a set of images",
    wording: Wording = MARGIN,
) -> bool:
    """Whether the margin falls with every fill, and further than in the controls (True), or with none (False).

    `keeps` says whether a fall counts as none. Raises HeatmapError if the fills disagree, or if the controls do not set
    the mask apart from any other region; `advice` is what its message says to do then.
    """
    still = [result for result in results if keeps(result.fall)]
    falling = [result for result in results if not keeps(result.fall)]
    if not falling:
        return False
    if still:
        raise HeatmapError(
            f"the fills disagree: the {wording.noun} {_listed(falling, wording)}, but it {_listed(still, wording)}; one of them "
            f"may make the image unnatural, or bring the cue back: look at the picture, or {advice}"
        )
    for result in results:
        if result.control is None:
            raise HeatmapError(
                "the mask covers more than half of the view and its shape fits nowhere else, so nothing shows "
                "whether any change of this size would change the prediction; pass a smaller mask, of the part that matters"
            )
        if result.control > YARDSTICK * result.fall:
            raise HeatmapError(
                f"replacing {result.where} costs {result.control:.2f} units, the mask {result.fall:.2f} "
                f"({result.label}): any change of this size changes the prediction; pass a smaller mask, or {advice}"
            )
    return True


def _listed(results: Sequence[FillResult], wording: Wording) -> str:
    return " and ".join(f"{wording.change(result.fall)} ({result.label})" for result in results)


def margin_bound(name: str, bound: object) -> float:
    """The bound on a fall of the margin as a plain number. Raises HeatmapError unless it is above 0 and up to 1 unit."""
    units = "in units of the model's own lead; at 1 the prediction is lost"
    return validation.bound(
        name, bound, f"a fall of the margin above 0 and up to 1, {units}", lambda fall: 0 < fall <= 1
    )


def means(falls: Floats) -> tuple[Floats, Floats]:
    """The mean over images (N, classes) for each class, and half the width of its two-sided 95 % t interval."""
    count = len(falls)
    if count < 2:
        return falls.mean(axis=0), np.full(falls.shape[1], np.inf)
    reach = float(scipy.special.stdtrit(count - 1, 0.975)) / math.sqrt(count) * falls.std(axis=0, ddof=1)
    return falls.mean(axis=0), reach
