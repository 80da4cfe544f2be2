"""Whether prediction, score and heatmap survive perturbations of an image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from PIL.Image import Image

from pytest_gradcam import overlay
from pytest_gradcam.checks.criteria import Bounds, Criterion, OnMask
from pytest_gradcam.checks.perturbed import PerturbedImage, PerturbedImages
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.bounds import Lift
from pytest_gradcam.evidence.check import Check
from pytest_gradcam.evidence.current_test import under_given
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.evidence.settle import judge, undecided
from pytest_gradcam.overlay import Panel
from pytest_gradcam.perturbations import Perturbation
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.protocols import Bools, Mask
from pytest_gradcam.targets import Box, Target

_NOT_DRAWN = ("picture", "replay")
_SHOWN = 6  # perturbations that a message names at most


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
    """Everything that is bounded survives this perturbation of the image, or each of several.

    `image` is a path, PIL image or uint8 array, not a tensor; `perturbation` comes from `pytest_gradcam.perturbations`.
    `target` is explained, by default the class that is predicted for the original. At least one bound is needed:
    `same_class`: the model predicts the same class, or finds the object of a `Box` again, with an IoU of 0.5 where the image's
    change moves it (on unless turned off);
    `score_within`: how far the target's score may move, up or down, in its own units (logits of a classifier), > 0;
    `mass_at_least`: the share of the heatmap in `mask` (in the coordinates of the image), which moves as the image
    does (relevance mass, Arras et al. 2022), in (0, 1], or a lift, `masks.lift(2)`;
    `similarity_at_least`: the rank correlation (Spearman) of the heatmap with that of the original, moved as the
    image is, over the pixels that the original showed, in (0, 1].
    Raises FocusError if a bound breaks; HeatmapError if none does and one cannot be decided: a mask that was moved out
    of the view, a heatmap without evidence, a bound that cannot decide anything, and where no perturbation changes a pixel
    that the model sees (outside of Hypothesis' @given, which may draw one).
    """
    call = _Call(image, perturbation, mask, Bounds(same_class, score_within, mass_at_least, similarity_at_least))
    for question in model.questions(image, target):
        perturbed = PerturbedImages(model, image, question, heatmaps=call.bounds.of_heatmaps)
        run = _Run(call, perturbed, question.target)
        judge(run.started(), run.judged, run.draw)


@dataclass(frozen=True)
class _Call:
    """The arguments of one call, as the caller passed them."""

    image: Any
    perturbation: Any
    mask: Mask
    bounds: Bounds

    def criteria(self, *, of_object: bool) -> Sequence[Criterion]:
        """The criteria. Raises HeatmapError for bounds and masks that say nothing."""
        criteria = self.bounds.criteria(self.mask, of_object=of_object)
        if not criteria:
            raise HeatmapError(
                "no bound is set, so there is nothing to check; pass at least one of same_class=True, score_within=, "
                "mass_at_least= with mask=, similarity_at_least="
            )
        if self.mask is not None and self.bounds.mass_at_least is None:
            raise HeatmapError("a mask without a bound says nothing; pass mass_at_least=, or leave the mask out")
        return criteria

    def replay(self, perturbation: Any, target: Target) -> str:
        """The call as code; an argument that has no code is replaced by its name."""
        arguments = [_code(self.image, "image"), repr(perturbation) if _is_one(perturbation) else "perturbations"]
        if target is not None:
            arguments.append(f"target={target!r}" if isinstance(target, (str, int, Box)) else "target=target")
        if self.mask is not None:
            arguments.append(f"mask={_code(self.mask, 'mask')}")
        if self.bounds.same_class is not True:
            arguments.append(f"same_class={self.bounds.same_class!r}")
        for name in ("score_within", "mass_at_least", "similarity_at_least"):
            if (value := getattr(self.bounds, name)) is not None:
                arguments.append(f"{name}={value!r}")
        return f"gradcam.assert_stable({', '.join(arguments)})"


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


@dataclass(frozen=True)
class Stable(Check):
    """Everything that is bounded survives. `bound` are the caller's `Bounds`; the record reports one criterion on one image."""

    reported: _Judged | None = None

    name, measure = "stable", "what survives"

    def reports(self, record: Record, reported: _Judged) -> Record:
        """The record decided by this criterion on this image."""
        criterion = reported.criterion
        record = replace(record, measure=criterion.measure, bound=criterion.bound, direction=criterion.direction)
        if reported.error is not None:
            return undecided(record, reported.error)
        assert reported.figure is not None
        return replace(self, reported=reported).decided(record, reported.figure)

    def holds(self, figure: float, bound: float) -> bool:
        return self.reported is not None and self.reported.criterion.holds(figure)

    def finding(self, record: Record, figure: float, bound: float) -> str:
        assert self.reported is not None
        image = self.reported.image
        return f"under {image.perturbation!r} {self.reported.criterion.finding(image, figure)}"

    def advice(self, record: Record) -> str:
        assert self.reported is not None
        image, criterion = self.reported.image, self.reported.criterion
        if isinstance(criterion, OnMask) and self.reported.breaks and not criterion.holds(criterion.before(image)):
            return "the original is not within this bound either; check that first, with assert_focus_within"
        return (
            "look at the picture; if the model has to withstand this change, train it on such images; if not, "
            "require less: a lower severity, or a wider bound"
        )


class _Run:
    """One question of a call: it measures, and remembers which image its picture shows."""

    def __init__(self, call: _Call, perturbed: PerturbedImages, target: Target) -> None:
        self._call = call
        self._perturbed = perturbed
        self._target = target
        self._check = Stable(call.bounds)
        self._mask: Bools | None = None
        self._shown: PerturbedImage | None = None

    def started(self) -> Record:
        perturbation = self._call.perturbation
        return self._check.on(
            self._perturbed.before,
            perturbation=repr(perturbation) if _is_one(perturbation) else "",
            seed=_seed(perturbation),
            details=(self._replay(perturbation),),
        )

    def judged(self, record: Record) -> Record:
        criteria = self._call.criteria(of_object=self._perturbed.object is not None)
        perturbations = _several(self._call.perturbation)
        self._mask = None if self._call.mask is None else self._perturbed.mask(self._call.mask)
        images = self._perturbed.of(perturbations, self._mask)
        judged = [_judge(image, criterion) for image in images for criterion in criteria]
        reported = _reported(judged)
        passes = reported.error is None and not reported.breaks
        if passes and self._perturbed.alike and not under_given():  # a search may draw it, as one of many
            raise HeatmapError(_alike(perturbations))
        self._shown = image = reported.image
        own = [each for each in judged if each.image is image]
        record = replace(
            record,
            **asdict(image.after.subject),
            perturbation=repr(image.perturbation),
            seed=_seed(image.perturbation),
            details=(*_details(own), *_others(judged), self._replay(image.perturbation)),
        )
        return self._check.reports(_with_mass(record, own), reported)

    def draw(self, record: Record) -> Image:
        """The original, the perturbed view, and both heatmaps on one scale."""
        before, image = self._perturbed.before, self._shown
        drawn = self._mask
        if drawn is None and self._perturbed.object is not None:
            drawn = self._perturbed.object.outline
        mask = None if drawn is None else self._perturbed.carried(drawn)
        views = [(before.view, mask, "original", "original")]
        if image is not None:
            moved = None if drawn is None else image.after.carry(image.perturbation.mask(drawn)).pixels
            views.append((image.after.view, moved, _cut(repr(image.perturbation)), "perturbed"))
        panels = [Panel(view, mask=region, caption=caption) for view, region, caption, _ in views]
        heatmaps = self._perturbed.shown(image)
        top = max((float(heatmap.values.max()) for heatmap in heatmaps), default=0.0)
        for heatmap, (view, region, _, word) in zip(heatmaps, views, strict=False):
            panels.append(Panel(view, heatmap.values, region, f"{heatmap.subject.target}, {word}", top))
        return overlay.draw_panels(
            panels, title=messages.title(record), lines=messages.lines(record, without=_NOT_DRAWN)
        )

    def _replay(self, perturbation: Any) -> tuple[str, str]:
        return "replay", self._call.replay(perturbation, self._target)


def _judge(image: PerturbedImage, criterion: Criterion) -> _Judged:
    try:
        return _Judged(image, criterion, criterion.figure(image))
    except HeatmapError as error:
        return _Judged(image, criterion, None, type(error)(f"under {image.perturbation!r}: {error}"))


def _reported(judged: Sequence[_Judged]) -> _Judged:
    """The first that breaks; else the first undecided one; else the first criterion where it is nearest to its bound."""
    for each in (*(each for each in judged if each.breaks), *(each for each in judged if each.error is not None)):
        return each
    alike = [each for each in judged if each.criterion == judged[0].criterion]
    sign = 1 if judged[0].criterion.direction == "at_least" else -1
    return min(alike, key=lambda each: sign * (each.figure or 0.0))


def _details(own: Sequence[_Judged]) -> list[tuple[str, str]]:
    return [
        (each.criterion.label, each.criterion.phrase(each.image, each.figure) + ("; broken" if each.breaks else ""))
        for each in own
        if each.figure is not None
    ]


def _others(judged: Sequence[_Judged]) -> list[tuple[str, str]]:
    """Which of several perturbations break a bound."""
    perturbed = list(dict.fromkeys(each.image for each in judged))
    broken = list(dict.fromkeys(each.image for each in judged if each.breaks))
    if len(perturbed) == 1:
        return []
    names = ", ".join(repr(image.perturbation) for image in broken[:_SHOWN]) + (", ..." if len(broken) > _SHOWN else "")
    return [("broken by", f"{len(broken)} of {len(perturbed)} perturbations" + (f": {names}" if names else ""))]


def _with_mass(record: Record, own: Sequence[_Judged]) -> Record:
    """The record with the figures on the moved mask, if the mass is bounded and could be measured."""
    for each in own:
        if isinstance(each.criterion, OnMask) and each.figure is not None:
            image = each.image
            return replace(record, mass=image.mass, mask_area=float(image.region.mean()), lift=image.lift)
    return record


def _several(perturbation: Any) -> list[Perturbation]:
    if isinstance(perturbation, Perturbation):
        return [perturbation]
    try:
        several = list(perturbation)
    except TypeError:
        several = [perturbation]
    wrong = [each for each in several if not isinstance(each, Perturbation)]
    if wrong:
        raise HeatmapError(
            f"{wrong[0]!r:.80} is not a perturbation; expected one or several from pytest_gradcam.perturbations, such as "
            "fog(0.3); use @given to draw from a strategy"
        )
    if not several:
        raise HeatmapError("there are no perturbations; pass at least one")
    return several


def _alike(perturbations: Sequence[Perturbation]) -> str:
    if len(perturbations) == 1:
        what = f"{perturbations[0]!r} changes no pixel"
    else:
        what = f"none of the {len(perturbations)} perturbations changes a pixel"
    return (
        f"{what} of what the model sees of this image, so nothing was tested; expected an image that differs. Pass a higher "
        "severity, or an image on which it shows"
    )


def _seed(perturbation: Any) -> int | None:
    """The seed that the random parts have in common, if there is one; the repr shows all of them."""
    if not isinstance(perturbation, Perturbation):
        return None
    seeds = {getattr(part, field.name) for part in perturbation for field in fields(part) if field.name == "seed"}
    return seeds.pop() if len(seeds) == 1 else None


def _is_one(perturbation: Any) -> bool:
    return isinstance(perturbation, Perturbation)


def _code(value: Any, name: str) -> str:
    """A path as code; anything else is called by its name."""
    return repr(os.fspath(value)) if isinstance(value, (str, os.PathLike)) else name


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
