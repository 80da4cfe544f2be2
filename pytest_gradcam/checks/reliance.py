"""Masked pixels replaced in a set of images, in the most natural way that the images allow, for the verdict on reliance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from pytest_gradcam.checks.reliance_rule import Falls, Reliance, finite, judged
from pytest_gradcam.checks.samples import distinct
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import messages, settle
from pytest_gradcam.evidence.check import Check
from pytest_gradcam.evidence.record import Record, Subject
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.lead import Lead
from pytest_gradcam.questions.lead import margins as margins_of
from pytest_gradcam.questions.protocols import ModelInput
from pytest_gradcam.replacement import control_regions, fills
from pytest_gradcam.targets import Target

if TYPE_CHECKING:
    from PIL.Image import Image

Indices = NDArray[np.intp]
Change = tuple[int, ModelInput]  # the index of an image, and the image with its masked pixels replaced
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
    all images or one per image, in the coordinates of the images that are passed. What replaces the pixels depends on
    what the images allow: pixels of an image predicted as another class (swap), of any other image (paste), or the
    mean colour, in that order of certainty. The model relies on the pixels if the one-sided 95 % lower bound of
    the mean fall lies above the intervention's bound, and does not if the upper bound lies below. It is undecided
    in between, if the interventions contradict each other, if the pixels right around the mask matter about as
    much, and, instead of a no, if most images are of the class that the model answers to the mean colour alone and none
    brings in another class's pixels (docs/reliance.md). It costs about five forward passes per image.

    If the artefact covers the object, pass two or more images `without` it: the same pixels are inpainted in all images,
    and what that costs without the artefact is subtracted.
    Raises HeatmapError for malformed images, masks and targets, and for a model without a margin.
    """
    falls, draw = _measured(model, images, masks, targets, without)
    return replace(judged(falls), draw=draw)


def _measured(
    model: ExplainedModel, images: Any, masks: Any, targets: Any, without: Any
) -> tuple[Falls, Callable[[str, Sequence[str]], Image]]:
    """The falls, and what draws the picture of them under a title and above some lines."""
    passed = read_masked_images(model.engine, images, masks)
    wanted = model.targets(targets, len(passed))
    counted = distinct(passed, wanted)
    own, wanted = [passed[i] for i in counted], [wanted[i] for i in counted]
    every = [*own, *_lacking(model, own, masks, without)]
    scores = scores_of(model.engine, [image.image_input for image in every])
    asked = _Images(every, len(own), scores, _classes(model, scores, len(own), wanted), model.engine.multi_label)
    falls, changes = _falls(model, _plan(asked), asked)
    copies = len(passed) - len(own)
    return replace(falls, mean_heat=_mean_heat(model, asked), copies=copies), partial(_draw, model, asked, changes)


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
    check, found = NoReliance(at_most), list[Reliance]()

    def measure(record: Record) -> Record:
        bound = check.plain_bound()
        falls, draw = _measured(model, images, masks, None, without)
        found.append(replace(judged(falls, bound), draw=draw))
        return check.judged(model.engine.identified(record), found[0])  # now it is known what the output means

    def draw(record: Record) -> Image:
        if found:
            return found[0].picture
        nothing = overlay.Panel(np.full((32, 64, 3), 255, np.uint8))
        return overlay.draw_panels([nothing], title=messages.headline(record))

    settle.judge(model.engine.identified(check.record(Subject())), measure, draw)


@dataclass(frozen=True)
class NoReliance(Check):
    """The verdict on reliance is no. The interval of the mean fall decides, rather than the mean itself."""

    found: Reliance | None = None

    name, measure, direction = "no_reliance", "fall of the margin", "at_most"

    def plain_bound(self) -> float | None:
        return None if self.bound is None else margins.margin_bound("at_most", self.bound)

    def judged(self, record: Record, found: Reliance) -> Record:
        """The record decided by the verdict on reliance, or undecided for its reason."""
        record = replace(record, bound=found.bound, details=tuple(found.rows()))
        if found.relies is None:
            return replace(record, outcome="invalid", reason=found.reason)
        return replace(self, found=found).decided(record, found.effect)

    def holds(self, figure: float, bound: float) -> bool:
        assert self.found is not None
        return self.found.relies is False

    def finding(self, record: Record, figure: float, bound: float) -> str:
        assert self.found is not None
        return self.found.verdict

    def advice(self, record: Record) -> str:
        return (
            "look at the picture: if the mask contains nothing of the object, break the link between these pixels and the "
            "class in the training data (crop or cover them, or mix them over the classes), and train again"
        )


@dataclass(frozen=True)
class _Images:
    """The images of a call: the first `count` may have the artefact, the others lack it.

    `scores` (N, classes) are those of the unchanged images, `classes` (N,) those whose margin is read; `alone` says that
    the classes do not compete, so that a margin is the class's own logit.
    """

    every: list[MaskedImage]
    count: int
    scores: NDArray[np.float32]
    classes: Indices
    alone: bool

    @property
    def own(self) -> list[MaskedImage]:
        """The images that may have the artefact."""
        return self.every[: self.count]

    @property
    def compared(self) -> bool:
        """Whether there are images without the artefact to compare with."""
        return self.count < len(self.every)

    @property
    def alike(self) -> bool:
        """Whether one class is asked about in all images that may have the artefact, and found in all or in none."""
        found = {bool(row[index] > 0) for row, index in zip(self.scores[: self.count], self.classes, strict=False)}
        return len(set(self.classes[: self.count])) == 1 and (not self.alone or len(found) == 1)

    def lead(self, place: int) -> Lead:
        """What the margin of an image is."""
        return Lead(int(self.classes[place]), alone=self.alone)

    def margins(self, scores: NDArray[np.float32], places: Indices) -> Floats:
        """The margins (M,) in scores (M, classes) of the images at these places (M,), changed or not."""
        return margins_of(scores, self.classes[places], alone=self.alone)


@dataclass(frozen=True)
class _Plan:
    """How the masked pixels are replaced in each image, and why in this way."""

    intervention: Intervention
    why: str
    patches: Patches | None = None

    def changes(self, images: Sequence[MaskedImage], level: fills.Floats) -> list[Change]:
        if self.patches is not None:
            return [
                (patch.to, images[patch.to].filled(fills.paste, other=patch.content)) for patch in self.patches.patches
            ]
        fill = fills.inpaint if self.intervention == "inpaint" else partial(fills.colour, level=level)
        return [(i, image.filled(fill)) for i, image in enumerate(images)]


def _plan(asked: _Images) -> _Plan:
    """The most natural intervention that the images allow.

    If some lack the artefact, all are inpainted: other images' pixels bring in objects of their own, and one colour in
    the shape of a text is that text again.
    """
    images, predicted = asked.own, asked.scores.argmax(axis=1)
    if asked.compared:
        return _Plan("inpaint", "the same in the images without the artefact, which show what that costs by itself")
    if len(images) == 1:
        return _Plan("colour", "with one image there are no others to take pixels from")
    swap = arrange(images, predicted, lambda i, j: not asked.lead(i).is_predicted(asked.scores[j]))
    if swap.enough and not swap.same:
        return _Plan(
            "swap", "the images are predicted as different classes, and these pixels differ between them", swap
        )
    paste = swap if swap.same else arrange(images, predicted, lambda i, j: True)
    if paste.same:
        return _Plan("colour", "these pixels are the same in all images, so other images would bring them back")
    if paste.enough:
        return _Plan("paste", "too few images are predicted as another class", paste)
    return _Plan("colour", "too few images have other pixels in the same place")


def _falls(model: ExplainedModel, plan: _Plan, asked: _Images) -> tuple[Falls, list[Change]]:
    """The falls under all interventions, scored together, and the changes of the first."""
    images, count, own = asked.every, asked.count, asked.own
    level = common_level(own)
    removal = _Plan("colour", "") if plan.intervention != "colour" else _Plan("inpaint", "")
    inner = _cores(images)
    groups = [
        plan.changes(images, level),
        _once(plan.changes([image.at(control_regions.around(image.mask, image.padding)) for image in images], level)),
        removal.changes(images, level),
        _once(plan.changes(inner, level)) if inner else [],
    ]
    rest = [own[0].at(~own[0].mask).filled(fills.colour, level=level)] if len(images) == 1 else []
    after = scores_of(
        model.engine, [*(changed for group in groups for _, changed in group), *rest, own[0].emptied(level)]
    )
    lead = asked.margins(asked.scores, np.arange(len(images)))
    unit = margins.unit(asked.scores[:count], lead[:count] if asked.alone else None)
    main, around, removed, cores = _mean_falls(groups, after, asked, unit)
    return Falls(
        plan.intervention,
        plan.why,
        main=finite(main[:count]),
        around=_beyond(around, count),
        removed={removal.intervention: _beyond(removed, count)},
        core=_beyond(cores, count) if inner else None,
        without=finite(main[count:]) if asked.compared else None,
        worth=None if plan.patches is None else plan.patches.worth,
        alive=bool(np.ptp(np.concatenate([asked.scores, after]), axis=0).any()),
        fallback=float((asked.margins(after[[-1] * count], np.arange(count)) > margins.LEVEL * unit).mean()),
        alike=asked.alike,
    ), groups[0]


def _mean_falls(
    groups: Sequence[list[Change]], after: NDArray[np.float32], asked: _Images, unit: float
) -> list[Floats]:
    """The mean fall of each image (N,) in each group of changes, whose scores follow each other in `after`."""
    lead, falls, start = asked.margins(asked.scores, np.arange(len(asked.every))), [], 0
    for group in groups:
        sources = np.array([i for i, _ in group], np.intp)
        changed = asked.margins(after[start : start + len(group)], sources)
        falls.append(_means((lead[sources] - changed) / unit, sources, len(asked.every)))
        start += len(group)
    return falls


def _cores(images: Sequence[MaskedImage]) -> list[MaskedImage]:
    """The masks without their outlines; none for a single image, nor if any mask is at most half of the view."""
    inner = [image.at(control_regions.core(image.mask, image.padding)) for image in images]
    return inner if len(inner) > 1 and all(image.mask.any() for image in inner) else []


def _lacking(model: ExplainedModel, images: Sequence[MaskedImage], masks: Any, without: Any) -> list[MaskedImage]:
    """The images without the artefact, with the same mask."""
    if not len(without):
        return []
    if len(without) < 2:
        raise HeatmapError("without= is one image; expected at least two, to see how much they differ")
    if any(not np.array_equal(image.mask, images[0].mask) for image in images):
        raise HeatmapError("without= needs the same mask in all images; pass one mask for all")
    own = one_each(masks)
    lacking = read_masked_images(model.engine, without, masks if own is None else own[0])
    return [lacking[i] for i in distinct(lacking, [None] * len(lacking))]


def _classes(model: ExplainedModel, scores: NDArray[np.float32], count: int, targets: Any) -> Indices:
    """The class of each image whose margin is read: its target's, by default the predicted one."""
    leads = model.classes(scores[:count], targets)
    if any(lead.against is not None for lead in leads):
        raise HeatmapError(
            "a Contrast has no margin over all other classes; expected class indices or names as targets"
        )
    return np.array([*(lead.index for lead in leads), *scores[count:].argmax(axis=1)])


def _once(changes: list[Change]) -> list[Change]:
    """The first change of each image."""
    return sorted(dict(reversed(changes)).items(), key=lambda change: change[0])


def _beyond(falls: Floats, count: int) -> Floats:
    """The falls of the first `count` images, less the mean of the others, if there are others."""
    rest = finite(falls[count:])
    return np.asarray(finite(falls[:count]) - (rest.mean() if len(rest) else 0))


def _means(falls: Floats, sources: Indices, count: int) -> Floats:
    """The mean fall of each image (count,) over its changes; NaN for an image without any."""
    times = np.bincount(sources, minlength=count)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(sources, falls, minlength=count) / times)


def _mean_heat(model: ExplainedModel, asked: _Images) -> float | None:
    """The mean over the images of the heatmap's mean heat in the mask; None if there is no heatmap."""
    figures, question = [], model.question()
    try:
        made = model.engine.heatmaps(
            [image.image_input for image in asked.own],
            [int(index) for index in asked.classes[: asked.count]],
            layer=question.layer,
            method=question.method,
        )
    except HeatmapError:  # no layer to read a heatmap at: the intervention needs none
        return None
    for heatmap, image in zip(made, asked.own, strict=True):
        if np.isfinite(heatmap.grid).all() and heatmap.grid.any():
            figures.append(metrics.mean_heat(heatmap.values, image.mask))
    return float(np.mean(figures)) if figures else None


def _draw(model: ExplainedModel, asked: _Images, changes: list[Change], title: str, lines: Sequence[str]) -> Image:
    panels = []
    for i, changed in [change for change in _once(changes) if change[0] < asked.count][:_SHOWN]:
        unchanged, mask, index = asked.every[i].image_input, asked.every[i].mask, int(asked.classes[i])
        view, score = unchanged.look()[0], scores_of(model.engine, [unchanged, changed])[:, index]
        name, heat = model.engine.names.name(index), heat_of(model.engine, unchanged, index, model.question())
        panels.append(overlay.Panel(view, mask=mask, caption=f"{name}: {score[0]:.3g}"))
        panels.append(overlay.Panel(changed.look()[0], mask=mask, caption=f"replaced: {score[1]:.3g}"))
        panels.append(overlay.Panel(view, heat, mask, caption=f"heatmap of {name}"))
    return overlay.draw_panels(panels, title=title, lines=lines)
