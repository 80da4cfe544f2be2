"""What must survive a perturbation: criteria on a perturbed image, each with its figure, its bound and its words."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pytest_gradcam.checks.perturbed import PerturbedImage
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.bounds import Lift, beyond_reach, lift_times
from pytest_gradcam.evidence.messages import expected, number, percent
from pytest_gradcam.evidence.record import Direction
from pytest_gradcam.validation import bound, flag


@dataclass(frozen=True)
class Criterion(ABC):
    """One figure of a perturbed image and its bound."""

    bound: float

    label: ClassVar[str]
    measure: ClassVar[str]
    direction: ClassVar[Direction] = "at_least"

    @abstractmethod
    def figure(self, image: PerturbedImage) -> float:
        """What is bounded. Raises HeatmapError if it cannot be measured."""

    def holds(self, figure: float) -> bool:
        return figure >= self.bound if self.direction == "at_least" else figure <= self.bound

    @abstractmethod
    def finding(self, image: PerturbedImage, figure: float) -> str:
        """The figure against the bound, after the words 'under such a perturbation'."""

    @abstractmethod
    def phrase(self, image: PerturbedImage, figure: float) -> str:
        """Before, after, and what was expected."""

    def shown(self, figure: float) -> str:
        """The figure, with the digits that tell it from the bound."""
        return number(figure, unlike=self.bound)

    @property
    def limit(self) -> str:
        return f"{expected(self.direction)} {number(self.bound)}"


class SameClass(Criterion):
    label, measure = "class", "the predicted class is kept"

    def figure(self, image: PerturbedImage) -> float:
        return float(image.keeps_class)

    def finding(self, image: PerturbedImage, figure: float) -> str:
        before, after = image.before.subject, image.after.subject
        if before.task == "multi":
            first, second = image.scores
            found = "finds" if second > 0 else "no longer finds"
            return f"the model {found} {before.target!r}, whose logit was {first:.3g}; expected the same"
        return (
            f"the model predicts {after.predicted!r} ({after.predicted_index}), no longer {before.predicted!r} "
            f"({before.predicted_index}); expected the same class"
        )

    def phrase(self, image: PerturbedImage, figure: float) -> str:
        before, after = image.before.subject.predicted, image.after.subject.predicted
        if image.before.subject.task == "multi":
            before, after = ("found" if score > 0 else "not found" for score in image.scores)
        return f"{before!r} before, {after!r} after; expected the same"


class FoundAgain(SameClass):
    """Of a detector's object."""

    label, measure = "object", "the object is found again"

    def finding(self, image: PerturbedImage, figure: float) -> str:
        assert image.followed is not None
        before = image.before.subject
        return (
            f"the detector no longer finds {before.target!r}, whose score was {before.score:.3g}, where the change moves it: "
            f"{image.followed.nearest}; expected it again"
        )

    def phrase(self, image: PerturbedImage, figure: float) -> str:
        before, after = image.scores
        now = f"found with score {after:.3g}" if after > 0 else "not found"
        return f"found with score {before:.3g} before, {now} after; expected it again"


class ScoreWithin(Criterion):
    label, measure, direction = "score", "change of the score", "at_most"

    def figure(self, image: PerturbedImage) -> float:
        return image.score_change

    def finding(self, image: PerturbedImage, figure: float) -> str:
        return f"the score of {image.before.subject.target!r} changes by {self.shown(figure)}; {self.limit}"

    def phrase(self, image: PerturbedImage, figure: float) -> str:
        before, after = image.scores
        return f"{before:.4g} before, {after:.4g} after, a change of {self.shown(figure)}; {self.limit}"


class MassAtLeast(Criterion):
    label, measure = "mass", "relevance mass in the moved mask"

    def figure(self, image: PerturbedImage) -> float:
        _ = image.mass_before  # raises if the original has no evidence that could survive
        return image.mass

    def before(self, image: PerturbedImage) -> float:
        """The figure of the original."""
        return image.mass_before

    def finding(self, image: PerturbedImage, figure: float) -> str:
        return f"{self.shown(figure)} of the attention for {image.after.subject.target!r} lies inside the mask; {self.limit}"

    def phrase(self, image: PerturbedImage, figure: float) -> str:
        return f"{percent(image.mass_before)} of it in the mask before, {self.shown(figure)} after; {self.limit}"

    def shown(self, figure: float) -> str:
        return percent(figure, unlike=self.bound)

    @property
    def limit(self) -> str:
        return f"{expected(self.direction)} {percent(self.bound)}"


class LiftAtLeast(Criterion):
    label, measure = "lift", "lift in the moved mask"

    def figure(self, image: PerturbedImage) -> float:
        area = float(image.region.mean())
        if beyond_reach(self.bound, area):
            raise HeatmapError(
                f"mass_at_least=masks.lift({self.bound:g}) can never hold: on the moved mask, {percent(area)} of the "
                f"view, no lift is above {1 / area:.4g}; pass a lower lift, a share, or a smaller mask"
            )
        _ = image.mass_before  # raises if the original has no evidence that could survive
        return image.lift

    def before(self, image: PerturbedImage) -> float:
        """The figure of the original."""
        return image.lift_before

    def finding(self, image: PerturbedImage, figure: float) -> str:
        has = f"the attention for {image.after.subject.target!r} has a lift of {self.shown(figure)} inside the mask"
        return f"{has}, 1 is chance; {self.limit}"

    def phrase(self, image: PerturbedImage, figure: float) -> str:
        before = number(image.lift_before)
        return f"{before} in the mask before, {self.shown(figure)} after, 1 is chance; {self.limit}"


class SimilarityAtLeast(Criterion):
    label, measure = "similarity", "similarity of the heatmaps"

    def figure(self, image: PerturbedImage) -> float:
        return image.similarity

    def finding(self, image: PerturbedImage, figure: float) -> str:
        target = image.after.subject.target
        return (
            f"the heatmap for {target!r} has a rank correlation of {self.shown(figure)} with that of the original; "
            f"{self.limit}"
        )

    def phrase(self, image: PerturbedImage, figure: float) -> str:
        return f"rank correlation {self.shown(figure)}; {self.limit}"


#: The criteria on the heatmap in the moved mask.
OnMask = MassAtLeast | LiftAtLeast


@dataclass(frozen=True)
class Bounds:
    """What has to survive, as the caller passed it; None for what need not."""

    same_class: bool
    score_within: float | None
    mass_at_least: float | Lift | None
    similarity_at_least: float | None

    @property
    def of_heatmaps(self) -> bool:
        """Whether one of them is on the heatmaps, and not on class and score alone."""
        return self.mass_at_least is not None or self.similarity_at_least is not None

    def criteria(self, mask: object, *, of_object: bool = False) -> list[Criterion]:
        """The criteria, in this order. Raises HeatmapError for a bound that cannot decide anything, or lacks its mask.

        `of_object`: the target is an object that a detector finds, and no class.
        """
        first = FoundAgain if of_object else SameClass
        made: list[Criterion] = [first(1.0)] if flag("same_class", self.same_class) else []
        if self.score_within is not None:
            highest = 1.0 if of_object else math.inf
            wanted = f"a number above 0{' and below 1, since a detector scores in [0, 1]' * of_object}, in units of the score"
            made.append(
                ScoreWithin(bound("score_within", self.score_within, wanted, lambda change: 0 < change < highest))
            )
        if isinstance(self.mass_at_least, Lift):
            made.append(LiftAtLeast(lift_times("mass_at_least", self.mass_at_least)))
        elif self.mass_at_least is not None:
            made.append(MassAtLeast(_share("mass_at_least", self.mass_at_least)))
        if self.similarity_at_least is not None:
            made.append(SimilarityAtLeast(_share("similarity_at_least", self.similarity_at_least)))
        if mask is None and self.mass_at_least is not None:
            raise HeatmapError("mass_at_least bounds the relevance mass in a mask, but no mask was passed; pass mask=")
        return made


def _share(name: str, value: float) -> float:
    return bound(name, value, "a number above 0 and up to 1", lambda share: 0 < share <= 1)
