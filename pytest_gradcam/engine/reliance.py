"""Whether a model relies on a masked place: the place's pixels are replaced, and its margins fall or do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import controls, effects, evidence, fills, messages, metrics, overlay
from pytest_gradcam.effects import Estimate, Intervention
from pytest_gradcam.engine.donors import Loans, arrange
from pytest_gradcam.engine.inputs import Input
from pytest_gradcam.engine.places import Place, common_level, heat_of, read_places, scores_of
from pytest_gradcam.engine.targets import lead_of
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import Record

if TYPE_CHECKING:
    from PIL.Image import Image

    from pytest_gradcam.engine.heatmaps import Heatmaps

Indices = NDArray[np.intp]

#: What each intervention does to the place, and why it was the one to use.
WAYS: dict[Intervention, str] = {
    "swap": "the place's pixels came from images predicted as another class",
    "paste": "the place's pixels came from other images",
    "colour": "the place took the mean colour",
    "inpaint": "the place was inpainted",
}
_SHOWN = 3  # images in a picture


@dataclass(frozen=True)
class Reliance:
    """Whether a model relies on the masked pixels of some images: `relies` True, False, or None if it is undecided.

    `effect` is the mean fall of the logit margin when the pixels are replaced, in units of the model's mean margin;
    `interval` its one-sided 95 % bounds, lower and upper; `bound` what it was held to; `p_value` one-sided, for a mean
    at or below the bound (None for a single image). `intervention` says how the pixels were replaced, `why` in words,
    `reason` why there is no verdict. `around` is the same fall for the pixels right around the mask. `mean_heat` is
    the heatmaps' figure in the mask, `agreement` whether it speaks for the same verdict: information, not a gate.
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
    others: dict[str, float] = field(default_factory=dict)
    mean_heat: float | None = None
    agreement: bool | None = None
    draw: Callable[[str, Sequence[str]], Image] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def picture(self) -> Image:
        """Up to three of the images: with the mask's outline, with the place replaced, and with the heatmap."""
        if self.draw is None:
            raise HeatmapError("this Reliance was not made by an explainer, so there is no picture of it")
        return self.draw(self.verdict, [f"{label:<11}{phrase}" for label, phrase in self.rows()])

    @property
    def verdict(self) -> str:
        """The verdict in one sentence."""
        figure = f"replacing them costs {_units(self.effect)} of the margin, {self._range()}, bound {self.bound:.3g}"
        if self.relies is None:
            return f"undecided whether the model relies on the masked pixels: {self.reason}"
        return f"the model {'relies' if self.relies else 'does not rely'} on the masked pixels: {figure}"

    def rows(self) -> list[tuple[str, str]]:
        """The figures, a label and a phrase each."""
        p_value = "" if self.p_value is None else f", p {self.p_value:.2g}"
        rows = [
            ("effect", f"{_units(self.effect)} of the margin, {self._range()}, bound {self.bound:.3g}{p_value}"),
            ("replaced", f"{WAYS[self.intervention]}: {self.why}"),
        ]
        if self.around is not None:
            rows.append(("around", f"{_units(self.around)} when the pixels right around the mask are replaced"))
        rows += [(name, f"{_units(fall)} with {WAYS[name]}") for name, fall in self.others.items()]  # type: ignore[index]
        if self.mean_heat is not None:
            side = "" if self.agreement is None else ", which agrees" if self.agreement else ", which does not agree"
            rows.append(("mean heat", f"{self.mean_heat:.2f} of the heatmaps' maxima in the mask{side}"))
        return [*rows, ("images", str(self.images))]

    def _range(self) -> str:
        return f"{self.interval[0]:.2f} to {self.interval[1]:.2f}"

    def __repr__(self) -> str:
        p_value = "none" if self.p_value is None else f"{self.p_value:.2g}"
        reason = f", reason={self.reason!r}" if self.reason else ""
        return (
            f"Reliance(relies={self.relies}, effect={self.effect:.3f} ({self._range()}), bound={self.bound:.3g}, "
            f"p_value={p_value}, intervention={self.intervention!r}, images={self.images}{reason})"
        )


def reliance(
    explainer: Heatmaps, images: Any, masks: Any, targets: Any = None, *, at_most: float | None = None
) -> Reliance:
    """What `Explainer.reliance` returns."""
    trial = _trial(explainer, read_places(explainer, images, masks), targets)
    bound = effects.BOUNDS[trial.plan.intervention] if at_most is None else at_most
    return _judged(trial, bound)


def assert_no_reliance(explainer: Heatmaps, images: Any, masks: Any, *, at_most: float | None) -> None:
    """What `Explainer.assert_no_reliance` does."""
    found: list[Reliance] = []

    def measure(check: Record) -> Record:
        checked = None if at_most is None else effects.margin_bound("at_most", at_most)
        found.append(reliance(explainer, images, masks, at_most=checked))
        return _record(check, found[0])

    def draw(record: Record) -> Image:
        if not found or found[0].draw is None:
            return overlay.draw_panels(
                [overlay.Panel(np.zeros((32, 64, 3), np.uint8))], title=messages.headline(record)
            )
        return found[0].picture

    check = Record(check="no_reliance", measure="fall of the margin", bound=at_most, direction="at_most")
    check = explainer.identified(check)
    evidence.judge(check, measure, draw)


def _record(check: Record, found: Reliance) -> Record:
    details = tuple(found.rows())
    check = replace(check, bound=found.bound, details=details, advice=_advice(found))
    if found.relies is None:
        return replace(check, outcome="invalid", reason=found.reason)
    return replace(
        check,
        outcome="failed" if found.relies else "passed",
        figure=found.effect,
        finding=found.verdict,
    )


def _advice(found: Reliance) -> str:
    return (
        "look at the picture: if the mask holds nothing of the object, break the tie between these pixels and the class "
        "in the training data (crop or cover them, or mix them over the classes) and train again"
    )


def _units(fall: float) -> str:
    return f"{fall:.2f} units"


@dataclass(frozen=True)
class _Plan:
    """How the place is replaced in each image, and why in this way; `worth` images are independent."""

    intervention: Intervention
    why: str
    loans: Loans | None = None

    def changes(self, places: Sequence[Place], level: fills.Floats) -> list[tuple[int, Input]]:
        """The changed images, each with the number of the image that it was made from."""
        if self.loans is not None:
            return [(loan.to, places[loan.to].filled(fills.paste, other=loan.content)) for loan in self.loans.loans]
        fill = fills.inpaint if self.intervention == "inpaint" else partial(fills.colour, level=level)
        return [(i, place.filled(fill)) for i, place in enumerate(places)]


@dataclass(frozen=True)
class _Trial:
    """What replacing the place did to the margins of each image (N,), in the model's units; NaN where it was not."""

    plan: _Plan
    falls: effects.Floats
    around: effects.Floats
    removed: dict[Intervention, effects.Floats]
    moved: bool
    mean_heat: float | None
    draw: Callable[[str, Sequence[str]], Image]


def _trial(explainer: Heatmaps, places: list[Place], targets: Any) -> _Trial:
    inputs = [place.one for place in places]
    before = scores_of(explainer, inputs)
    classes = _classes(explainer, before, targets)
    unit, lead = effects.unit(before), effects.margins(before, classes)
    plan, level = _plan(places, classes, before.argmax(axis=1)), common_level(places)
    removal: list[_Plan] = [_Plan("colour", "")] + ([_Plan("inpaint", "")] if plan.intervention == "colour" else [])
    groups = [
        plan.changes(places, level),
        _once(plan.changes([place.at(controls.around(place.mask, place.padding)) for place in places], level)),
        *(one.changes(places, level) for one in removal),
    ]
    rest = [places[0].at(~places[0].mask).filled(fills.colour, level=level)] if len(places) == 1 else []
    after = scores_of(explainer, [*(changed for group in groups for _, changed in group), *rest])
    falls, start = [], 0
    for group in groups:
        sources = np.array([i for i, _ in group])
        margin = effects.margins(after[start : start + len(group)], classes[sources])
        falls.append(_means((lead[sources] - margin) / unit, sources, len(places)))
        start += len(group)
    return _Trial(
        plan,
        falls[0],
        falls[1],
        {one.intervention: fall for one, fall in zip(removal, falls[2:], strict=True)},
        bool(np.ptp(np.concatenate([before, after]), axis=0).any()),
        _mean_heat(explainer, places, classes),
        partial(_draw, explainer, places, groups[0], classes),
    )


def _judged(trial: _Trial, bound: float) -> Reliance:
    """The verdict that the falls bear: every doubt makes it undecided."""
    used = trial.falls[np.isfinite(trial.falls)]
    worth = trial.plan.loans.worth if trial.plan.loans is not None else None
    found = effects.estimate(used, bound, independent=worth)
    around = float(np.nanmean(trial.around))
    relies, reason = _settled(trial, found, around, bound)
    agreement = None
    if relies is not None and trial.mean_heat is not None:
        agreement = (trial.mean_heat > effects.MEAN_HEAT) == relies
    return Reliance(
        relies,
        found.p_value,
        found.mean,
        (found.lower, found.upper),
        bound,
        trial.plan.intervention,
        trial.plan.why,
        found.count,
        reason,
        around,
        {name: float(fall.mean()) for name, fall in trial.removed.items() if name != trial.plan.intervention},
        trial.mean_heat,
        agreement,
        trial.draw,
    )


def _settled(trial: _Trial, found: Estimate, around: float, bound: float) -> tuple[bool | None, str]:
    """Whether the model relies, or None and the reason why that is undecided."""
    relies = effects.exceeds(found, bound)
    if not trial.moved:
        return None, "the model gives every image the same scores, so it ignores them altogether; check the weights"
    if relies is None:
        more = "one image is too few" if found.count == 1 else f"{found.count} images are too few, or too different"
        return None, (
            f"the margin falls by {_units(found.mean)} in the mean, and by {found.lower:.2f} to {found.upper:.2f} with "
            f"95 % confidence on either side, which holds the bound of {bound:.3g}: {more}; pass more images"
        )
    if relies and around >= effects.OUTLINE * found.mean:
        return None, (
            f"replacing the pixels right around the mask costs {_units(around)} as well, against {_units(found.mean)} for "
            "those in it: the mask touches the object, or the artefact reaches beyond it; correct its outline"
        )
    if not relies and around > bound and found.lower > effects.PART * bound:
        return None, (
            f"replacing the masked pixels costs {_units(found.mean)}, and those right around the mask {_units(around)}: the "
            "mask may hold only a part of what the model relies on, or touch the object; correct its outline"
        )
    for name, falls in trial.removed.items():
        if name == trial.plan.intervention:
            continue
        other = effects.estimate(falls, bound)
        contrary = effects.exceeds(other, max(bound, effects.BOUNDS[name]))
        if (not relies and contrary) or (relies and trial.plan.intervention == "colour" and contrary is False):
            return None, (
                f"the margin falls by {_units(found.mean)} where {WAYS[trial.plan.intervention]}, but by "
                f"{_units(other.mean)} where {WAYS[name]}: the interventions contradict each other; pass images that "
                "differ in these pixels, or look at the picture"
            )
    return relies, ""


def _plan(places: Sequence[Place], classes: Indices, predicted: Indices) -> _Plan:
    """The intervention that changes the place the most naturally, of those that the images allow."""
    if len(places) == 1:
        return _Plan("colour", "with one image there are no others to take pixels from")
    swap = arrange(places, predicted, lambda i, j: bool(predicted[j] != classes[i]))
    if swap.enough and not swap.same:
        return _Plan("swap", "the images are predicted as different classes, and the place differs between them", swap)
    paste = swap if swap.same else arrange(places, predicted, lambda i, j: True)
    if paste.same:
        return _Plan("colour", "the place holds the same on the images, so other images would bring it back")
    if paste.enough:
        return _Plan("paste", "too few images are predicted as another class", paste)
    return _Plan("colour", "too few images hold other pixels in the same place")


def _classes(explainer: Heatmaps, scores: NDArray[np.float32], targets: Any) -> Indices:
    """The class of each image whose margin is read: its target's, by default the predicted one."""
    predicted = scores.argmax(axis=1)
    if targets is None:
        return np.asarray(predicted)
    if isinstance(targets, str) or not hasattr(targets, "__len__") or len(targets) != len(scores):
        count = 1 if isinstance(targets, str) or not hasattr(targets, "__len__") else len(targets)
        raise HeatmapError(f"there are {count} targets for {len(scores)} images; expected one per image, in a list")
    leads = [lead_of(target, row, explainer.names) for target, row in zip(targets, scores, strict=True)]
    if any(lead.against is not None for lead in leads):
        raise HeatmapError(
            "a Contrast has no margin over all other classes; expected class indices or names as targets"
        )
    return np.array([lead.index for lead in leads])


def _once(changes: list[tuple[int, Input]]) -> list[tuple[int, Input]]:
    """The first change of each image."""
    return list({i: (i, changed) for i, changed in reversed(changes)}.values())[::-1]


def _means(falls: effects.Floats, sources: Indices, count: int) -> effects.Floats:
    """The mean fall of each image (count,), over what was done to it; NaN for an image to which nothing was."""
    times = np.bincount(sources, minlength=count)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(sources, falls, minlength=count) / times)


def _mean_heat(explainer: Heatmaps, places: Sequence[Place], classes: Indices) -> float | None:
    """The mean over the images of the heatmap's mean heat in the mask; None where there is no heatmap."""
    figures = []
    try:
        made = explainer.batch([place.one for place in places], [int(index) for index in classes])
    except HeatmapError:  # no layer to read a heatmap at: the intervention does without
        return None
    for heatmap, place in zip(made, places, strict=True):
        if np.isfinite(heatmap.grid).all() and heatmap.grid.any():
            figures.append(metrics.mean_heat(heatmap.values, place.mask))
    return float(np.mean(figures)) if figures else None


def _draw(
    explainer: Heatmaps,
    places: Sequence[Place],
    changes: Sequence[tuple[int, Input]],
    classes: Indices,
    title: str,
    lines: Sequence[str],
) -> Image:
    panels = []
    for i, changed in _once(list(changes))[:_SHOWN]:
        place, name = places[i], explainer.names.name(int(classes[i]))
        panels.append(overlay.Panel(place.one.look()[0], mask=place.mask, caption=f"{place.one.name}: {name}"))
        score = scores_of(explainer, [place.one, changed])[:, classes[i]]
        caption = f"replaced: {name} {score[0]:.3g} to {score[1]:.3g}"
        panels.append(overlay.Panel(changed.look()[0], mask=place.mask, caption=caption))
        heat = heat_of(explainer, place.one, int(classes[i]))
        panels.append(overlay.Panel(place.one.look()[0], heat, place.mask, caption=f"heatmap of {name}"))
    return overlay.draw_panels(panels, title=title, lines=lines)
