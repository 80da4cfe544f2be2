"""What must survive a perturbation: criteria on a image, each with its figure, its bound and its words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pytest_gradcam.checks.perturbed import PerturbedImage
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.bounds import Lift, beyond_reach, lift_times
from pytest_gradcam.evidence.messages import number, percent
from pytest_gradcam.validation import bound, flag


@dataclass(frozen=True)
class Criterion(ABC):
    """One figure of a image and the bound that it has to keep."""

    bound: float

    label: ClassVar[str]
    measure: ClassVar[str]
    direction: ClassVar[Literal["at_least", "at_most"]] = "at_least"

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


class SameClass(Criterion):
    label, measure = "class", "the predicted class is kept"

    def figure(self, image: PerturbedImage) -> float:
        return float(image.keeps_class)

    def finding(self, image: PerturbedImage, figure: float) -> str:
        before, after = image.before.subject, image.after.subject
        if before.task == "multi":
            found = "finds" if image.after.score > 0 else "no longer finds"
            return f"the model {found} {before.target!r}, whose logit was {image.before.score:.3g}; expected the same"
        return (
            f"the model predicts {after.predicted!r} ({after.predicted_index}), no longer {before.predicted!r} "
            f"({before.predicted_index}); expected the same class"
        )

    def phrase(self, image: PerturbedImage, figure: float) -> str:
        before, after = image.before.subject.predicted, image.after.subject.predicted
        if image.before.subject.task == "multi":
            before, after = ("found" if score > 0 else "not found" for score in (image.before.score, image.after.score))
        return f"{before!r} before, {after!r} after; expected the same"


class ScoreWithin(Criterion):
    label, measure, direction = "score", "change of the score", "at_most"

    def figure(self, image: PerturbedImage) -> float:
        return image.score_change

    def finding(self, image: PerturbedImage, figure: float) -> str:
        return (
            f"the score of {image.before.target!r} changes by {number(figure, unlike=self.bound)}; "
            f"expected at most {number(self.bound)}"
        )

    def phrase(self, image: PerturbedImage, figure: float) -> str:
        change, bound = number(figure, unlike=self.bound), number(self.bound)
        before, after = image.before.score, image.after.score
        return f"{before:.4g} before, {after:.4g} after, a change of {change}; expected at most {bound}"


class MassAtLeast(Criterion):
    label, measure = "mass", "relevance mass in the moved mask"

    def figure(self, image: PerturbedImage) -> float:
        _ = image.mass_before  # what shall survive has to be there
        return image.mass

    def before(self, image: PerturbedImage) -> float:
        """The figure of the original."""
        return image.mass_before

    def finding(self, image: PerturbedImage, figure: float) -> str:
        return (
            f"{percent(figure, unlike=self.bound)} of the attention for {image.after.target!r} lies inside the mask; "
            f"expected at least {percent(self.bound)}"
        )

    def phrase(self, image: PerturbedImage, figure: float) -> str:
        before, after = percent(image.mass_before), percent(figure, unlike=self.bound)
        return f"{before} of it in the mask before, {after} after; expected at least {percent(self.bound)}"


class LiftAtLeast(MassAtLeast):
    label, measure = "lift", "lift in the moved mask"

    def figure(self, image: PerturbedImage) -> float:
        area = float(image.region.mean())
        if beyond_reach(self.bound, area):
            raise HeatmapError(
                f"mass_at_least=masks.lift({self.bound:g}) can never hold: on the moved mask, {percent(area)} of the "
                f"view, no lift is above {1 / area:.4g}; pass a lower lift, a share, or a smaller mask"
            )
        super().figure(image)
        return image.lift

    def before(self, image: PerturbedImage) -> float:
        return image.lift_before

    def finding(self, image: PerturbedImage, figure: float) -> str:
        return (
            f"the attention for {image.after.target!r} has a lift of {number(figure, unlike=self.bound)} inside the mask, "
            f"1 is chance; expected at least {number(self.bound)}"
        )

    def phrase(self, image: PerturbedImage, figure: float) -> str:
        before, after = number(image.lift_before), number(figure, unlike=self.bound)
        return f"{before} in the mask before, {after} after, 1 is chance; expected at least {number(self.bound)}"


class SimilarityAtLeast(Criterion):
    label, measure = "similarity", "similarity of the heatmaps"

    def figure(self, image: PerturbedImage) -> float:
        return image.similarity

    def finding(self, image: PerturbedImage, figure: float) -> str:
        return (
            f"the heatmap for {image.after.target!r} has a rank correlation of {number(figure, unlike=self.bound)} "
            f"with that of the original; expected at least {number(self.bound)}"
        )

    def phrase(self, image: PerturbedImage, figure: float) -> str:
        return f"rank correlation {number(figure, unlike=self.bound)}; expected at least {number(self.bound)}"


def criteria(
    *,
    same_class: bool,
    score_within: float | None,
    mass_at_least: float | Lift | None,
    similarity_at_least: float | None,
) -> Sequence[Criterion]:
    """The criteria that were made, in this order. Raises HeatmapError for a bound that cannot decide anything."""
    made: list[Criterion] = [SameClass(1.0)] if flag("same_class", same_class) else []
    if score_within is not None:
        expected = "a number above 0, in units of the score"
        made.append(ScoreWithin(bound("score_within", score_within, expected, lambda change: change > 0)))
    if isinstance(mass_at_least, Lift):
        made.append(LiftAtLeast(lift_times("mass_at_least", mass_at_least)))
    elif mass_at_least is not None:
        made.append(MassAtLeast(_share("mass_at_least", mass_at_least)))
    if similarity_at_least is not None:
        made.append(SimilarityAtLeast(_share("similarity_at_least", similarity_at_least)))
    return made


def _share(name: str, value: float) -> float:
    return bound(name, value, "a number above 0 and up to 1", lambda share: 0 < share <= 1)
