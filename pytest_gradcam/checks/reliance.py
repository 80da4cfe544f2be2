"""A masked place replaced in a set of images, in the way that they allow, for the verdict on reliance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import metrics, overlay
from pytest_gradcam.checks import margins
from pytest_gradcam.checks.donors import Patches, arrange
from pytest_gradcam.checks.margins import Floats, Intervention
from pytest_gradcam.checks.masked_image import (
    MaskedImage,
    common_level,
    heat_of,
    one_each,
    read_masked_images,
    scores_of,
)
from pytest_gradcam.checks.reliance_rule import Falls, Reliance, judged, kept
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import messages, settle
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.questions.explained_model import ExplainedModel, ModelInput
from pytest_gradcam.questions.lead import Lead
from pytest_gradcam.questions.lead import margins as margins_of
from pytest_gradcam.replacement import control_regions, fills
from pytest_gradcam.targets import Target

if TYPE_CHECKING:
    from PIL.Image import Image

Indices = NDArray[np.intp]
Change = tuple[int, ModelInput]  # the number of an image, and the image with its place replaced
_SHOWN = 3  # images in a picture


def reliance(
    model: ExplainedModel,
    images: Sequence[Any],
    masks: Any,
    targets: Sequence[Target] | None = None,
    *,
    without: Sequence[Any] = (),
) -> Reliance:
    """Whether the model relies on the masked pixels of these images: yes, no, or undecided.

    The pixels are replaced, and the fall of the logit margin of each image's target (an index or a name; by default
    the predicted class) is averaged, in units of the model's mean margin over the images. `masks` is one mask for
    all images or one for each, in the coordinates of the images that are passed. Which pixels come in depends on
    what the images allow: those of an image predicted as another class (swap), of any other image (paste), or the
    mean colour, in that order of certainty. The model relies on the pixels if the one-sided 95 % lower bound of
    the mean fall lies above the intervention's bound, and does not if the upper bound lies below; it is undecided
    in between, where the interventions contradict each other, where the pixels right around the mask matter about as
    much, and, for a no, where most images are of the class that the model answers to the mean colour alone and none
    lends another class's pixels (docs/reliance.md). It costs about five forward passes an image.

    Where the artefact lies across the object, pass two or more images `without` it: the place is inpainted in both,
    and what that costs without the artefact is taken off.
    Raises HeatmapError for malformed images, masks and targets, and for a model without a margin.
    """
    return _measured(model, images, masks, targets, without, None)


def _measured(
    model: ExplainedModel, images: Any, masks: Any, targets: Any, without: Any, at_most: float | None
) -> Reliance:
    """Held to another bound than the default one where `at_most` is given."""
    places = read_masked_images(model.engine, images, masks)
    lacking = _lacking(model, places, masks, without)
    inputs = [place.one for place in (*places, *lacking)]
    before = scores_of(model.engine, inputs)
    classes = _classes(model, before, len(places), targets)
    plan = _plan([*places, *lacking], len(places), classes, before, alone=model.engine.multi_label)
    falls, changes = _tried(model, plan, [*places, *lacking], len(places), before, classes)
    draw = partial(_draw, model, places, changes, classes)
    heat = _mean_heat(model, places, classes)
    return replace(judged(replace(falls, mean_heat=heat), at_most), draw=draw)


def assert_no_reliance(
    model: ExplainedModel,
    images: Sequence[Any],
    masks: Any,
    *,
    without: Sequence[Any] = (),
    at_most: float | None = None,
) -> None:
    """The model does not rely on the masked pixels of these images: `reliance(images, masks)` says no.

    `at_most` is the mean fall of the margin above which it does, in units of the model's mean margin, above 0 and
    up to 1; by default the bound that was measured for the intervention (docs/reliance.md).
    Raises FocusError if the model relies on them; HeatmapError if that is undecided.
    """
    found: list[Reliance] = []

    def measure(check: Record) -> Record:
        bound = None if at_most is None else margins.margin_bound("at_most", at_most)
        found.append(_measured(model, images, masks, None, without, bound))
        return _recorded(check, found[0])

    def draw(record: Record) -> Image:
        if found:
            return found[0].picture
        nothing = overlay.Panel(np.full((32, 64, 3), 255, np.uint8))
        return overlay.draw_panels([nothing], title=messages.headline(record))

    check = Record(check="no_reliance", measure="fall of the margin", bound=at_most, direction="at_most")
    settle.judge(model.engine.identified(check), measure, draw)


def _recorded(check: Record, found: Reliance) -> Record:
    record = replace(check, bound=found.bound, details=tuple(found.rows()))
    if found.relies is None:
        return replace(record, outcome="invalid", reason=found.reason)
    return replace(
        record,
        outcome="failed" if found.relies else "passed",
        figure=found.effect,
        finding=found.verdict,
        advice=(
            "look at the picture: if the mask holds nothing of the object, break the tie between these pixels and the "
            "class in the training data (crop or cover them, or mix them over the classes), and train again"
        ),
    )


@dataclass(frozen=True)
class _Plan:
    """How the place is replaced in each image, and why in this way."""

    intervention: Intervention
    why: str
    patches: Patches | None = None

    def changes(self, places: Sequence[MaskedImage], level: fills.Floats) -> list[Change]:
        if self.patches is not None:
            return [
                (patch.to, places[patch.to].filled(fills.paste, other=patch.content)) for patch in self.patches.patches
            ]
        fill = fills.inpaint if self.intervention == "inpaint" else partial(fills.colour, level=level)
        return [(i, place.filled(fill)) for i, place in enumerate(places)]


def _plan(
    places: Sequence[MaskedImage], count: int, classes: Indices, before: NDArray[np.float32], *, alone: bool
) -> _Plan:
    """The intervention that changes the place the most naturally, of those that the first `count` images allow.

    Images after those lack the artefact. There, both lots are inpainted: other images' pixels bring objects of their own,
    and a colour in the shape of a text is that text again.
    """
    if count < len(places):
        return _Plan("inpaint", "the same in the images without the artefact, which show what that costs by itself")
    if count == 1:
        return _Plan("colour", "with one image there are no others to take pixels from")
    predicted = before.argmax(axis=1)
    swap = arrange(places, predicted, lambda i, j: not Lead(classes[i], alone=alone).is_predicted(before[j]))
    if swap.enough and not swap.same:
        return _Plan("swap", "the images are predicted as different classes, and the place differs between them", swap)
    paste = swap if swap.same else arrange(places, predicted, lambda i, j: True)
    if paste.same:
        return _Plan("colour", "the place holds the same on the images, so other images would bring it back")
    if paste.enough:
        return _Plan("paste", "too few images are predicted as another class", paste)
    return _Plan("colour", "too few images hold other pixels in the same place")


def _tried(
    model: ExplainedModel,
    plan: _Plan,
    places: Sequence[MaskedImage],
    count: int,
    before: NDArray[np.float32],
    classes: Indices,
) -> tuple[Falls, list[Change]]:
    """The falls by all interventions, scored together, and the changes of the first; units of the first `count`."""
    level, own = common_level(places[:count]), list(places[:count])
    removal = [_Plan("colour", "")] if plan.intervention != "colour" else [_Plan("inpaint", "")]
    compared = places if count < len(places) else own
    inner = _cores(compared)
    groups = [
        plan.changes(places, level),
        _once(plan.changes([place.at(control_regions.around(place.mask, place.padding)) for place in compared], level)),
        *(one.changes(compared, level) for one in removal),
        _once(plan.changes(inner, level)) if inner else [],
    ]
    rest = [own[0].at(~own[0].mask).filled(fills.colour, level=level)] if len(places) == 1 else []
    after = scores_of(
        model.engine, [*(changed for group in groups for _, changed in group), *rest, own[0].emptied(level)]
    )
    of = partial(margins_of, alone=model.engine.multi_label)
    lead = of(before, classes)
    unit = margins.unit(before[:count], lead[:count] if model.engine.multi_label else None)
    falls, start = [], 0
    for group in groups:
        sources = np.array([i for i, _ in group], np.intp)
        after_fill = of(after[start : start + len(group)], classes[sources])
        falls.append(_means((lead[sources] - after_fill) / unit, sources, len(places)))
        start += len(group)
    main, around, *others, cores = falls
    return Falls(
        plan.intervention,
        plan.why,
        main=kept(main[:count]),
        around=_beyond(around, count),
        removed={one.intervention: _beyond(each, count) for one, each in zip(removal, others, strict=True)},
        core=_beyond(cores, count) if inner else None,
        without=kept(main[count:]) if count < len(places) else None,
        worth=None if plan.patches is None else plan.patches.worth,
        alive=bool(np.ptp(np.concatenate([before, after]), axis=0).any()),
        fallback=float((of(after[[-1] * count], classes[:count]) > margins.LEVEL * unit).mean()),
        alike=len(set(classes[:count])) == 1 and len(set(_found(model, before[:count], classes))) == 1,
    ), groups[0]


def _cores(places: Sequence[MaskedImage]) -> list[MaskedImage]:
    """The places without their outlines; none for a single image, nor where any of them is no more than half of the view."""
    inner = [place.at(control_regions.core(place.mask, place.padding)) for place in places]
    return inner if len(inner) > 1 and all(place.mask.any() for place in inner) else []


def _lacking(model: ExplainedModel, places: Sequence[MaskedImage], masks: Any, without: Any) -> list[MaskedImage]:
    """The same place in images without the artefact."""
    if not len(without):
        return []
    if len(without) < 2:
        raise HeatmapError("without= holds one image; expected two at least, to see how much they differ")
    if any(not np.array_equal(place.mask, places[0].mask) for place in places):
        raise HeatmapError("without= needs the same place in all images; pass one mask for all")
    own = one_each(masks)
    return read_masked_images(model.engine, without, masks if own is None else own[0])


def _classes(model: ExplainedModel, scores: NDArray[np.float32], count: int, targets: Any) -> Indices:
    """The class of each image whose margin is read: its target's, by default the predicted one."""
    leads = model.classes(scores[:count], targets)
    if any(lead.against is not None for lead in leads):
        raise HeatmapError(
            "a Contrast has no margin over all other classes; expected class indices or names as targets"
        )
    return np.array([*(lead.index for lead in leads), *scores[count:].argmax(axis=1)])


def _found(model: ExplainedModel, scores: NDArray[np.float32], classes: Indices) -> list[bool]:
    """Whether the class is found in each image, where classes do not compete; else nothing is asked."""
    alone = model.engine.multi_label
    return [not alone or Lead(index, alone=True).is_predicted(row) for row, index in zip(scores, classes, strict=False)]


def _once(changes: list[Change]) -> list[Change]:
    """The first change of each image."""
    return sorted(dict(reversed(changes)).items(), key=lambda change: change[0])


def _beyond(falls: Floats, count: int) -> Floats:
    """The falls of the first `count` images, less the mean of those after them, where there are some."""
    rest = kept(falls[count:])
    return np.asarray(kept(falls[:count]) - (rest.mean() if len(rest) else 0))


def _means(falls: Floats, sources: Indices, count: int) -> Floats:
    """The mean fall of each image (count,), over what was done to it; NaN for an image to which nothing was."""
    times = np.bincount(sources, minlength=count)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(sources, falls, minlength=count) / times)


def _mean_heat(model: ExplainedModel, places: Sequence[MaskedImage], classes: Indices) -> float | None:
    """The mean over the images of the heatmap's mean heat in the mask; None where there is no heatmap."""
    figures, question = [], model.question()
    try:
        made = model.engine.heatmaps(
            [place.one for place in places],
            [int(index) for index in classes[: len(places)]],
            layer=question.layer,
            method=question.method,
        )
    except HeatmapError:  # no layer to read a heatmap at: the intervention does without
        return None
    for heatmap, place in zip(made, places, strict=True):
        if np.isfinite(heatmap.grid).all() and heatmap.grid.any():
            figures.append(metrics.mean_heat(heatmap.values, place.mask))
    return float(np.mean(figures)) if figures else None


def _draw(
    model: ExplainedModel,
    places: Sequence[MaskedImage],
    changes: list[Change],
    classes: Indices,
    title: str,
    lines: Sequence[str],
) -> Image:
    panels = []
    for i, changed in _once(changes)[:_SHOWN]:
        place, name = places[i], model.engine.names.name(int(classes[i]))
        view, score = place.one.look()[0], scores_of(model.engine, [place.one, changed])[:, classes[i]]
        panels.append(overlay.Panel(view, mask=place.mask, caption=f"{name}: {score[0]:.3g}"))
        panels.append(overlay.Panel(changed.look()[0], mask=place.mask, caption=f"replaced: {score[1]:.3g}"))
        heat = heat_of(model.engine, place.one, int(classes[i]), model.question())
        panels.append(overlay.Panel(view, heat, place.mask, caption=f"heatmap of {name}"))
    return overlay.draw_panels(panels, title=title, lines=lines)
