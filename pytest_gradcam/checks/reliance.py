"""Masked pixels replaced in a set of images, in the most natural way that the images allow, for the verdict on reliance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import overlay
from pytest_gradcam.checks import heats, margins, outline
from pytest_gradcam.checks.asked import Asked, Indices, classes_of, means
from pytest_gradcam.checks.better_masks import better_masks, better_panels
from pytest_gradcam.checks.donors import Patches, arrange
from pytest_gradcam.checks.doubts import Falls
from pytest_gradcam.checks.exchange import costs
from pytest_gradcam.checks.exchanges import Change, Exchanges, firsts, pasted
from pytest_gradcam.checks.margins import Floats, Intervention
from pytest_gradcam.checks.masked_image import (
    MaskedImage,
    common_level,
    heat_of,
    one_each,
    read_masked_images,
    scores_of,
)
from pytest_gradcam.checks.pairs import pair_falls
from pytest_gradcam.checks.reliance_rule import Reliance, finite, judged
from pytest_gradcam.checks.samples import distinct
from pytest_gradcam.checks.score_reliance import score_falls
from pytest_gradcam.checks.several_masks import combined
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.lead import has_margin
from pytest_gradcam.replacement import control_regions, fills
from pytest_gradcam.targets import Target
from pytest_gradcam.validation import listed

if TYPE_CHECKING:
    from PIL.Image import Image

Fall = tuple[Floats, Indices]  # falls of the margin, and the indices of the images
_SHOWN = 3  # images in a picture
_INFORMED = 24  # images for figures that only inform, where exchanges decide


def reliance(
    model: ExplainedModel,
    images: Sequence[Any],
    masks: Any,
    targets: Sequence[Target] | None = None,
    *,
    without: Sequence[Any] | None = None,
    pairs: Sequence[Any] | None = None,
) -> Reliance:
    """Whether the model relies on the masked pixels of these images: yes, weakly, no, or undecided.

    `masks` is one mask for all images or one per image, in the coordinates of the images that are passed. Several masks are
    passed in a dict, by their names: then `alone` has the verdict on each, `added` what each costs beyond the others, and the
    other figures are those of all masks together.

    Where the images are predicted as several classes and differ in these pixels, they exchange them: `loss` is the accuracy that
    is lost to the pixels of other classes, beyond what is lost to pixels of the same class, with a 90 % interval, by the model's
    own probabilities, since the images need no labels.
    It decides: the model relies on the pixels if its lower bound lies above 0.10, or that of one class above 0.20;
    it does not if the upper bounds of all that was examined are low enough; between them it relies weakly, or it is undecided
    and `reason` says what would decide.

    Otherwise the pixels of any other image (paste) or the mean colour replace them, and the fall of the logit margin decides,
    in units of the model's mean margin: that of each image's target (an index or a name; by default the predicted class). The
    model relies on the pixels if the one-sided 95 % lower bound of the mean fall lies above the intervention's bound, and does
    not if the upper bound lies below it, unless there is a doubt (docs/reliance.md). It costs up to eight forward passes per
    image.

    If the artefact covers the object, pass two or more images `without` it: the same pixels are inpainted in all images, and
    the fall in the images without the artefact is subtracted.

    `pairs` holds one image for each of `images`: the same scene without the artefact, or with another one. Then the exchange is
    exact, and decisions that differ within a pair are lost. An image and its pair may differ nowhere but in the mask, up to two
    levels of 256. A 'no' needs images of two or more predicted classes.

    Targets that are not classes (a `Box`, `Region`, `Value` or other callable for each image) have scores of their own, in units
    that `rows()` name: a detection's own score, a region's mean margin, the spread of a value over the images, or the unit that
    a `Value` states. A value may move either way; with pixels of images that have another value, it has to move towards theirs.
    Raises HeatmapError for malformed images, masks and targets, and for a model without a margin.
    """
    return judged_masks(model, images, masks, Terms(targets, without, pairs))


@dataclass(frozen=True)
class Terms:
    """The target of each image, by default its predicted class; images without the artefact, or one for each of the images;
    with a bound, the fall of the margin decides.
    """

    targets: Sequence[Target] | None = None
    without: Any = None
    pairs: Any = None
    bound: float | None = None

    def __post_init__(self) -> None:
        for name in ("without", "pairs"):
            given = getattr(self, name)
            found = [] if given is None else listed(name, given)
            if given is not None and not found:
                raise HeatmapError(
                    f"{name}= is empty; expected images, or leave it out. If they come from a search for files, it found none"
                )
            object.__setattr__(self, name, found)


def judged_masks(model: ExplainedModel, images: Any, masks: Any, terms: Terms) -> Reliance:
    """The verdict on one mask, or on several by their names."""
    if not isinstance(masks, Mapping):
        passed = read_masked_images(model.engine, images, masks)
        return _judged(model, passed, terms, _lacking(model, passed, terms, masks))
    if not masks or len(terms.without) or len(terms.pairs):
        what = "without= and pairs= take one mask at a time" if masks else "masks is empty"
        raise HeatmapError(
            f"{what}; expected masks by their names, as in {{'date': mask, 'border': other}}, and neither without= nor pairs="
        )
    read = {str(name): read_masked_images(model.engine, images, mask) for name, mask in masks.items()}
    alone = {name: _judged(model, passed, terms) for name, passed in read.items()}
    if len(read) == 1:
        return combined(alone, next(iter(alone.values())), {})
    rest = {name: [passed for other, passed in read.items() if other != name] for name in read}
    others = {
        name: alone[next(other for other in read if other != name)]
        if len(read) == 2
        else _judged(model, _united(passed), terms)
        for name, passed in rest.items()
    }
    return combined(alone, _judged(model, _united(list(read.values())), terms), others)


def _united(masks: Sequence[Sequence[MaskedImage]]) -> list[MaskedImage]:
    """The images, each with all of its masks in one."""
    united = [each[0].at(np.logical_or.reduce([image.mask for image in each])) for each in zip(*masks, strict=True)]
    if any((image.mask | image.padding).all() for image in united):
        raise HeatmapError("the masks together cover the whole view of an image, so nothing would be left; pass fewer")
    return united


def _judged(
    model: ExplainedModel, passed: list[MaskedImage], terms: Terms, lacking: Sequence[MaskedImage] = ()
) -> Reliance:
    asked = [model.question(target).target for target in model.targets(terms.targets, len(passed))]
    if all(map(has_margin, asked)):
        falls, draw = (_paired if len(terms.pairs) else _measured)(model, passed, terms, lacking)
    else:
        if lacking or len(terms.pairs):
            raise HeatmapError(
                "without= and pairs= take classes as targets, not a Box, a Region or a callable; leave them out. The score of "
                "such a target in each image is its own yardstick; to compare with images that lack the artefact, ask about "
                "these with reliance(images, ...) of their own, and look at both effects"
            )
        falls, draw = score_falls(model, passed, asked, terms.bound)
    return replace(judged(falls, terms.bound), draw=draw, mend=partial(better_masks, passed, falls.fault))


def _measured(
    model: ExplainedModel, passed: list[MaskedImage], terms: Terms, lacking: Sequence[MaskedImage]
) -> tuple[Falls, Callable[[str, Sequence[str]], Image]]:
    """The falls, and what draws the picture of them under a title and above some lines.

    `lacking` are images without the artefact. Where the images can exchange pixels, it is to see which decisions are lost,
    unless the fall of the margin decides.
    """
    wanted = model.targets(terms.targets, len(passed))
    counted = distinct(passed, wanted)
    own, wanted = [passed[i] for i in counted], [wanted[i] for i in counted]
    every = [*own, *lacking]
    scores, explained = heats.scored(model, [image.image_input for image in every], wanted[:_INFORMED])
    classes = classes_of(model, scores, len(own), wanted)
    asked = Asked(every, len(own), scores, classes, model.engine.multi_label, outline.fault(own))
    plan = _plan(asked, decisions=terms.bound is None)
    most = _INFORMED if plan.exchanges is not None and not plan.exchanges.heated else len(own)
    found = heats.of(model, asked, most, explained)
    falls, changes = _falls(model, plan, asked, found)
    falls = replace(
        falls, mean_heat=heats.mean_in_masks(asked, found), copies=len(passed) - len(own), fault=asked.fault
    )
    return falls, partial(_draw, model, asked, changes)


def _paired(
    model: ExplainedModel, passed: list[MaskedImage], terms: Terms, lacking: Sequence[MaskedImage]
) -> tuple[Falls, Callable[[str, Sequence[str]], Image]]:
    """As `_measured`, from images in pairs."""
    if lacking:
        raise HeatmapError(
            "without= and pairs= are both given; expected one of them: pairs= if the scenes are those of the images"
        )
    wanted = model.targets(terms.targets, len(passed))
    falls, asked, changes = pair_falls(model, passed, terms.pairs, wanted, decisions=terms.bound is None)
    falls = replace(falls, mean_heat=heats.mean_in_masks(asked, heats.of(model, asked, _INFORMED)))
    return falls, partial(_draw, model, asked, changes)


@dataclass(frozen=True)
class _Plan:
    """How the masked pixels are replaced in each image, and why in this way."""

    intervention: Intervention
    why: str
    patches: Patches | None = None
    #: Where decisions are what is asked about.
    exchanges: Exchanges | None = None

    def changes(self, images: Sequence[MaskedImage], level: fills.Floats) -> list[Change]:
        """The changed images, some of them several times."""
        if self.patches is None:
            return self._filled(images, level)
        return pasted(images, self.patches.patches if self.exchanges is None else self.exchanges.main)

    def first_changes(self, images: Sequence[MaskedImage], level: fills.Floats) -> list[Change]:
        """The first change of each of these images, which are the first ones or all."""
        if self.patches is None:
            return self._filled(images, level)
        return pasted(images, [patch for patch in firsts(self.patches.patches) if patch.to < len(images)])

    def _filled(self, images: Sequence[MaskedImage], level: fills.Floats) -> list[Change]:
        fill = fills.inpaint if self.intervention == "inpaint" else partial(fills.colour, level=level)
        return [(i, image.filled(fill)) for i, image in enumerate(images)]


def _decided(asked: Asked) -> bool:
    """Whether the margins are those of the model's decisions for one of the classes."""
    return not asked.alone and bool((asked.classes == asked.scores.argmax(axis=1)).all())


def _plan(asked: Asked, *, decisions: bool) -> _Plan:
    """The most natural intervention that the images allow; where they can, they exchange pixels for the sake of `decisions`.

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
        why = "the images are predicted as different classes, and these pixels differ between them"
        decides = decisions and _decided(asked)
        return _Plan("swap", why, swap, Exchanges.between(images, predicted, swap) if decides else None)
    paste = swap if swap.same else arrange(images, predicted, lambda i, j: True)
    if paste.same:
        return _Plan("colour", "these pixels are the same in all images, so other images would bring them back")
    if paste.enough:
        return _Plan("paste", "too few images are predicted as another class", paste)
    return _Plan("colour", "too few images have other pixels in the same place")


def _falls(
    model: ExplainedModel, plan: _Plan, asked: Asked, hot: Sequence[Floats | None]
) -> tuple[Falls, list[Change]]:
    """The falls under all interventions, scored together, and the changes of the first."""
    images, count, own, exchanges = asked.every, asked.count, asked.own, plan.exchanges
    level = common_level(own)
    removal = _Plan("colour", "") if plan.intervention != "colour" else _Plan("inpaint", "")
    informing = compared = len(images)
    if exchanges is not None:
        informing = _INFORMED
        compared = (
            _INFORMED // 2 if exchanges.through else max(_INFORMED, -(-count // 2))
        )  # else another control decides
    inner = _cores(images)
    groups = [
        plan.changes(images, level),
        plan.first_changes(_surrounded(images[:compared]), level),
        removal.changes(images[:informing], level),
        plan.first_changes(inner[:compared], level),
        *((exchanges.yardstick(), exchanges.control(hot)) if exchanges is not None else ([], [])),
    ]
    rest = [own[0].at(~own[0].mask).filled(fills.colour, level=level)] if len(images) == 1 else []
    after = scores_of(
        model.engine, [*(changed for group in groups for _, changed in group), *rest, own[0].emptied(level)]
    )
    lead = asked.margins(asked.scores, np.arange(len(images)))
    unit = margins.unit(asked.scores[:count], lead[:count] if asked.alone else None)
    each = _falls_of(groups, after, asked, unit)
    main, around, removed, cores, *_ = (means(*fall, len(images)) for fall in each)
    cost, exchanged = _costs_of(groups, asked.scores, after, unit), None
    if exchanges is not None:
        exchanged = exchanges.found(
            lead / unit, (each[0][0], each[4][0], each[5][0]), (cost[0], cost[4], cost[5]), model.engine.names.name
        )
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
        exchanged=exchanged,
        costs=np.where(cost[1] > 0, 0, cost[0]) if plan.intervention == "colour" and _decided(asked) else None,
    ), groups[0]


def _falls_of(groups: Sequence[list[Change]], after: NDArray[np.float32], asked: Asked, unit: float) -> list[Fall]:
    """The falls (M,) in each group of M changes, whose scores follow each other in `after`, and the images' places (M,)."""
    lead, falls, start = asked.margins(asked.scores, np.arange(len(asked.every))), [], 0
    for group in groups:
        sources = np.array([i for i, _ in group], np.intp)
        changed = asked.margins(after[start : start + len(group)], sources)
        falls.append(((lead[sources] - changed) / unit, sources))
        start += len(group)
    return falls


def _costs_of(
    groups: Sequence[list[Change]], before: NDArray[np.float32], after: NDArray[np.float32], unit: float
) -> list[Floats]:
    """What the changes of each group cost in accuracy (M,), from scores as in `_falls_of`."""
    sources = np.array([i for group in groups for i, _ in group], np.intp)
    cost = costs(before, after[: len(sources)], sources, unit)
    return np.split(cost, np.cumsum([len(group) for group in groups])[:-1])


def _surrounded(images: Sequence[MaskedImage]) -> list[MaskedImage]:
    """The pixels right around the masks."""
    return [image.at(control_regions.around(image.mask, image.padding)) for image in images]


def _cores(images: Sequence[MaskedImage]) -> list[MaskedImage]:
    """The masks without their outlines; none for a single image, nor if any mask is at most half of the view."""
    inner = [image.at(control_regions.core(image.mask, image.padding)) for image in images]
    return inner if len(inner) > 1 and all(image.mask.any() for image in inner) else []


def _lacking(model: ExplainedModel, images: Sequence[MaskedImage], terms: Terms, masks: Any) -> list[MaskedImage]:
    """The images without the artefact, with the same mask."""
    without = terms.without
    if not len(without):
        return []
    if len(without) < 2:
        raise HeatmapError("without= is one image; expected at least two, to see how much they differ")
    if any(not np.array_equal(image.mask, images[0].mask) for image in images):
        raise HeatmapError("without= needs the same mask in all images; pass one mask for all")
    own = one_each(masks)
    lacking = read_masked_images(model.engine, without, masks if own is None else own[0], "without")
    return [lacking[i] for i in distinct(lacking, [None] * len(lacking))]


def _once(changes: list[Change]) -> list[Change]:
    """The first change of each image."""
    return sorted(dict(reversed(changes)).items(), key=lambda change: change[0])


def _beyond(falls: Floats, count: int) -> Floats:
    """The falls of the first `count` images, less the mean of the others, if there are others."""
    rest = finite(falls[count:])
    return np.asarray(finite(falls[:count]) - (rest.mean() if len(rest) else 0))


def _draw(model: ExplainedModel, asked: Asked, changes: list[Change], title: str, lines: Sequence[str]) -> Image:
    panels = []
    for i, changed in [change for change in _once(changes) if change[0] < asked.count][:_SHOWN]:
        unchanged, mask, index = asked.every[i].image_input, asked.every[i].mask, int(asked.classes[i])
        view, score = unchanged.look()[0], scores_of(model.engine, [unchanged, changed])[:, index]
        name, heat = model.engine.names.name(index), heat_of(model.engine, unchanged, index, model.question())
        panels.append(overlay.Panel(view, mask=mask, caption=f"{name}: {score[0]:.3g}"))
        panels.append(overlay.Panel(changed.look()[0], mask=mask, caption=f"replaced: {score[1]:.3g}"))
        panels.append(overlay.Panel(view, heat, mask, caption=f"heatmap of {name}"))
    panels += better_panels(asked.own[:_SHOWN], asked.fault)
    return overlay.draw_panels(panels, title=title, lines=lines)
