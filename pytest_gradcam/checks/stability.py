"""The check that what must survive a perturbation survives it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

from PIL.Image import Image

from pytest_gradcam import overlay
from pytest_gradcam.checks.criteria import Criterion, MassAtLeast, criteria
from pytest_gradcam.checks.perturbed import PerturbedImage, PerturbedImages
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.bounds import Lift
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.evidence.settle import judge, undecided
from pytest_gradcam.overlay import Panel
from pytest_gradcam.perturbations import Perturbation
from pytest_gradcam.questions.explained_model import ExplainedModel, Question
from pytest_gradcam.questions.protocols import Bools as BoolArray
from pytest_gradcam.targets import Target

_NOT_DRAWN = ("picture", "replay")
_SHOWN = 6  # perturbations that a message names at the most


def assert_stable(
    model: ExplainedModel,
    image: Any,
    perturbation: Perturbation | Iterable[Perturbation],
    *,
    target: Target = None,
    mask: Any = None,
    same_class: bool = True,
    score_within: float | None = None,
    mass_at_least: float | Lift | None = None,
    similarity_at_least: float | None = None,
) -> None:
    """What is said to survive survives this perturbation of the image, or each of these.

    `image` is a path, PIL image or uint8 array, not a tensor; `perturbation` from `pytest_gradcam.perturbations`.
    Explained is `target`, by default the class that is predicted for the original. At least one must be asked for:
    `same_class`, that the model predicts the same class (on unless turned off);
    `score_within`, how far the target's score may move, up or down, in its own units (logits of a classifier), > 0;
    `mass_at_least`, the share of the heatmap in `mask` (in the coordinates of the image), which moves as the image
    does (relevance mass, Arras et al. 2022), in (0, 1], or a lift, `masks.lift(2)`;
    `similarity_at_least`, the rank correlation (Spearman) of the heatmap with that of the original, moved as the
    image is, over the pixels that the original showed, in (0, 1].
    Raises FocusError if one breaks; HeatmapError if none does and one cannot be decided: a mask that was moved out
    of the view, a heatmap that holds no evidence, a bound that cannot decide anything.
    """
    bounds = {
        "same_class": same_class,
        "score_within": score_within,
        "mass_at_least": mass_at_least,
        "similarity_at_least": similarity_at_least,
    }
    for question in model.questions(image, target):
        _judge_one(model, image, perturbation, question, mask, bounds)


def _judge_one(
    model: ExplainedModel, image: Any, perturbation: Any, question: Question, mask: Any, bounds: dict[str, Any]
) -> None:
    perturbed = PerturbedImages(model, image, question)
    check = _Check(perturbed, mask, partial(_replay, image, target=question.target, mask=mask, bounds=bounds))
    started = Record(
        check="stable",
        measure="what survives",
        **asdict(perturbed.before.subject),
        grid=perturbed.before.grid.shape,
        view=perturbed.before.values.shape,
        perturbation=repr(perturbation) if isinstance(perturbation, Perturbation) else "",
        seed=_seed(perturbation),
        details=(("replay", check.replay(perturbation)),),
    )
    judge(started, lambda record: check.judged(record, perturbation, bounds), check.draw)


@dataclass(frozen=True)
class _Judged:
    """One criterion on one image: the figure and whether it holds, or the error that left it undecided."""

    image: PerturbedImage
    criterion: Criterion
    figure: float | None
    error: HeatmapError | None = None

    @property
    def breaks(self) -> bool:
        return self.figure is not None and not self.criterion.holds(self.figure)


class _Check:
    """One call: it measures, and remembers which image its picture shall show."""

    def __init__(self, perturbed: PerturbedImages, mask: Any, replay: Callable[[Any], str]) -> None:
        self.replay = replay
        self._perturbed = perturbed
        self._asked = mask
        self._mask: BoolArray | None = None
        self._shown: PerturbedImage | None = None

    def judged(self, record: Record, perturbation: Any, bounds: dict[str, Any]) -> Record:
        wanted = _checked(criteria(**bounds), self._asked)
        several = _several(perturbation)
        self._mask = None if self._asked is None else self._perturbed.mask(self._asked)
        found = [_judge(image, criterion) for image in self._perturbed.of(several, self._mask) for criterion in wanted]
        reported = _reported(found)
        self._shown = reported.image
        record = self._told(record, reported, found)
        if reported.error is not None:
            return undecided(record, reported.error)
        return record

    def draw(self, record: Record) -> Image:
        """The original beside the perturbed view, and both heatmaps on one scale."""
        before, image = self._perturbed.before, self._shown
        heat = [before.values] if image is None else [before.values, image.after.values]
        top = max(float(values.max()) for values in heat)
        place = None if self._mask is None else self._perturbed.carried(self._mask)
        panels = [Panel(before.view, mask=place, caption="original")]
        panels.append(Panel(before.view, before.values, place, f"{before.target}, original", top))
        if image is not None:
            moved = None if self._mask is None else self._perturbed.carried(image.perturbation.mask(self._mask))
            after = image.after
            panels.insert(1, Panel(after.view, mask=moved, caption=_cut(repr(image.perturbation))))
            panels.append(Panel(after.view, after.values, moved, f"{after.target}, perturbed", top))
        return overlay.draw_panels(
            panels,
            title=messages.title(record),
            lines=[f"{label:<11}{phrase}" for label, phrase in messages.rows(record) if label not in _NOT_DRAWN],
        )

    def _told(self, record: Record, reported: _Judged, found: Sequence[_Judged]) -> Record:
        image, criterion, figure = reported.image, reported.criterion, reported.figure
        own = [one for one in found if one.image is image]
        record = replace(
            record,
            **asdict(image.after.subject),
            measure=criterion.measure,
            figure=figure,
            bound=criterion.bound,
            direction=criterion.direction,
            outcome="failed" if reported.breaks else "passed",
            perturbation=repr(image.perturbation),
            seed=_seed(image.perturbation),
            details=(*_details(own), *_others(found), ("replay", self.replay(image.perturbation))),
            advice=_advice(reported),
        )
        if figure is not None:
            record = replace(record, finding=f"under {image.perturbation!r} {criterion.finding(image, figure)}")
        return _with_mass(record, own)


def _judge(image: PerturbedImage, criterion: Criterion) -> _Judged:
    try:
        return _Judged(image, criterion, criterion.figure(image))
    except HeatmapError as error:
        return _Judged(image, criterion, None, type(error)(f"under {image.perturbation!r}: {error}"))


def _reported(found: Sequence[_Judged]) -> _Judged:
    """What broke first; else what was undecided first; else the first criterion where it was nearest to its bound."""
    for one in found:
        if one.breaks:
            return one
    for one in found:
        if one.error is not None:
            return one
    alike = [one for one in found if one.criterion == found[0].criterion]
    sign = 1 if found[0].criterion.direction == "at_least" else -1
    return min(alike, key=lambda one: sign * (one.figure or 0.0))


def _details(own: Sequence[_Judged]) -> list[tuple[str, str]]:
    return [
        (one.criterion.label, one.criterion.phrase(one.image, one.figure) + ("; broken" if one.breaks else ""))
        for one in own
        if one.figure is not None
    ]


def _others(found: Sequence[_Judged]) -> list[tuple[str, str]]:
    """Which of several perturbations break something."""
    perturbed = list(dict.fromkeys(one.image for one in found))
    broken = list(dict.fromkeys(one.image for one in found if one.breaks))
    if len(perturbed) == 1:
        return []
    names = ", ".join(repr(image.perturbation) for image in broken[:_SHOWN]) + (", ..." if len(broken) > _SHOWN else "")
    return [("broken by", f"{len(broken)} of {len(perturbed)} perturbations" + (f": {names}" if names else ""))]


def _with_mass(record: Record, own: Sequence[_Judged]) -> Record:
    """The record with the figures on the moved mask, where the mass was asked for and could be measured."""
    for one in own:
        if isinstance(one.criterion, MassAtLeast) and one.figure is not None:
            image = one.image
            return replace(record, mass=image.mass, mask_area=float(image.region.mean()), lift=image.lift)
    return record


def _advice(reported: _Judged) -> str:
    image, criterion = reported.image, reported.criterion
    if isinstance(criterion, MassAtLeast) and reported.breaks and not criterion.holds(criterion.before(image)):
        return "the original does not keep this bound either; settle that first, with assert_focus_within"
    return (
        "look at the picture; if the model has to stand this change, train with such images; if it does not, ask for "
        "less: a lower severity, or a wider bound"
    )


def _checked(wanted: Sequence[Criterion], mask: Any) -> Sequence[Criterion]:
    if not wanted:
        raise HeatmapError(
            "nothing is said to survive; pass at least one of same_class=True, score_within=, mass_at_least= with "
            "mask=, similarity_at_least="
        )
    bounded = any(isinstance(criterion, MassAtLeast) for criterion in wanted)
    if bounded and mask is None:
        raise HeatmapError("mass_at_least bounds the relevance mass in a mask, and there is none; pass mask=")
    if mask is not None and not bounded:
        raise HeatmapError("a mask without a bound says nothing; pass mass_at_least=, or leave the mask out")
    return wanted


def _several(perturbation: Any) -> list[Perturbation]:
    if isinstance(perturbation, Perturbation):
        return [perturbation]
    several = list(perturbation) if isinstance(perturbation, Iterable) else [perturbation]
    wrong = [one for one in several if not isinstance(one, Perturbation)]
    if wrong:
        raise HeatmapError(
            f"{wrong[0]!r:.80} is no perturbation; expected one or several of pytest_gradcam.perturbations, such as "
            "fog(0.3); a strategy is drawn from with @given"
        )
    if not several:
        raise HeatmapError("there is no perturbation to survive; pass at least one")
    return several


def _seed(perturbation: Any) -> int | None:
    """The seed of the random parts, where they have one in common; the repr tells all of them."""
    if not isinstance(perturbation, Perturbation):
        return None
    seeds = {getattr(part, field.name) for part in perturbation for field in fields(part) if field.name == "seed"}
    return seeds.pop() if len(seeds) == 1 else None


def _replay(image: Any, perturbation: Any, *, target: Any, mask: Any, bounds: dict[str, Any]) -> str:
    """The call as code; what has no code stands under its argument's name."""
    shown = repr(os.fspath(image)) if isinstance(image, (str, os.PathLike)) else "image"
    arguments = [shown, repr(perturbation) if isinstance(perturbation, Perturbation) else "perturbations"]
    if target is not None:
        arguments.append(f"target={target!r}" if isinstance(target, (str, int)) else "target=target")
    if mask is not None:
        arguments.append(f"mask={os.fspath(mask)!r}" if isinstance(mask, (str, os.PathLike)) else "mask=mask")
    defaults = {"same_class": True}
    arguments += [f"{name}={value!r}" for name, value in bounds.items() if value is not defaults.get(name)]
    return f"gradcam.assert_stable({', '.join(arguments)})"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
