"""Masked pixels replaced in a set of images whose targets are not classes: values, detected objects, regions of a segmenter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import overlay
from pytest_gradcam.checks import margins, outline
from pytest_gradcam.checks.answers import unit_of, wording_of
from pytest_gradcam.checks.better_masks import better_panels
from pytest_gradcam.checks.donors import Patch, Patches, arrange
from pytest_gradcam.checks.doubts import Falls
from pytest_gradcam.checks.exchanges import firsts, pasted
from pytest_gradcam.checks.margins import Floats, Intervention
from pytest_gradcam.checks.masked_image import MaskedImage, common_level, heat_of
from pytest_gradcam.checks.samples import distinct
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.lead import has_margin
from pytest_gradcam.questions.protocols import ModelInput, TargetScore
from pytest_gradcam.replacement import control_regions, fills
from pytest_gradcam.targets import Target

if TYPE_CHECKING:
    from PIL.Image import Image

_SHOWN = 3  # images in a picture
_Changed = dict[
    int, list[tuple[ModelInput, Patch | None]]
]  # the changed versions of each image, and what was pasted in


def score_falls(
    model: ExplainedModel, passed: Sequence[MaskedImage], targets: Sequence[Target], bound: float | None
) -> tuple[Falls, Callable[[str, Sequence[str]], Image]]:
    """How far replaced pixels move each image's score, and what draws the picture of it.

    Raises HeatmapError for a single image, and for targets whose scores cannot be compared.
    """
    counted = distinct(passed, targets)
    images, wanted = [passed[i] for i in counted], [targets[i] for i in counted]
    if any(map(has_margin, wanted)):
        raise HeatmapError("some targets are classes, and others are not; expected targets of one kind for all images")
    if len(images) < 2:
        raise HeatmapError(
            "one image cannot show whether a model relies on pixels; pass several, or ask about one: assert_ignores, "
            "assert_relies_on"
        )
    scores = list(model.engine.scored([image.image_input for image in images], wanted))
    if len({(score.noun, score.two_sided) for score in scores}) > 1:
        raise HeatmapError("the targets are of different kinds; expected targets of one kind for all images")
    asked = _Images(images, scores, wanted)
    return replace(asked.falls(bound), copies=len(passed) - len(counted)), partial(_draw, model, asked)


@dataclass(frozen=True)
class _Images:
    """Images (N,), each with its score and its target."""

    images: list[MaskedImage]
    scores: list[TargetScore]
    targets: list[Target]

    @cached_property
    def values(self) -> Floats:
        return np.array([score.value for score in self.scores])

    @cached_property
    def unit(self) -> tuple[float, str]:
        return unit_of(self.scores, self.values)

    @cached_property
    def level(self) -> fills.Floats:
        return common_level(self.images)

    @cached_property
    def plan(self) -> tuple[Intervention, str, Patches | None]:
        """The most natural intervention that the images allow, why, and its patches."""
        swap = arrange(self.images, self._kinds, self._differ)
        if swap.enough and not swap.same:
            what = "scores" if self.scores[0].two_sided else "labels"
            return "swap", f"the images have different {what}, and these pixels differ between them", swap
        paste = swap if swap.same else arrange(self.images, self._kinds, lambda i, j: True)
        if paste.same:
            return "colour", "these pixels are the same in all images, so other images would bring them back", None
        if paste.enough:
            return "paste", "too few images differ enough in what is asked about", paste
        return "colour", "no other image has pixels to put there", None

    @property
    def _kinds(self) -> NDArray[np.intp]:
        """What donors are taken from in turn: labels, or high and low scores."""
        if self.scores[0].two_sided:
            return (self.values > np.median(self.values)).astype(np.intp)
        return np.array([score.subject.target_index or 0 for score in self.scores], np.intp)

    def _differ(self, i: int, j: int) -> bool:
        if self.scores[i].two_sided:
            return bool(abs(self.values[i] - self.values[j]) >= self.unit[0])
        return bool(self._kinds[i] != self._kinds[j])

    def falls(self, bound: float | None) -> Falls:
        """Every fall. Raises HeatmapError where no change moves any score."""
        intervention, why, patches = self.plan
        every = None if patches is None else patches.patches
        around = [image.at(control_regions.around(image.mask, image.padding)) for image in self.images]
        removal: Intervention = "inpaint" if intervention == "colour" else "colour"
        main = self._means(self._changed(self.images, intervention, every))
        nearby = self._means(self._changed(around, intervention, None if every is None else firsts(every)))
        removed = self._means(self._changed(self.images, removal, None))
        emptied = self._means({i: [(image.emptied(self.level), None)] for i, image in enumerate(self.images)})
        moved = np.concatenate([main, nearby, removed, emptied])
        least = margins.BOUNDS[intervention] if bound is None else bound
        return Falls(
            intervention,
            why,
            main=main[np.isfinite(main)],
            around=nearby[np.isfinite(main)],
            removed={removal: removed},
            worth=None if patches is None else patches.worth,
            alive=bool(np.nan_to_num(moved).any()),
            fallback=float((emptied <= least).mean()),
            alike=self._alike,
            fault=self.fault,
            wording=wording_of(self.scores[0], self.unit[1]),
        )

    @cached_property
    def fault(self) -> outline.Fault | None:
        """What is wrong with the masks, if that can be seen."""
        return outline.fault(self.images)

    @property
    def _alike(self) -> bool:
        """Whether the images do not differ in what is asked about."""
        if not self.scores[0].two_sided:
            return len(set(self._kinds.tolist())) == 1
        return float(np.ptp(self.values)) < self.unit[0]

    def _changed(
        self, images: Sequence[MaskedImage], intervention: Intervention, patches: Sequence[Patch] | None
    ) -> _Changed:
        found: _Changed = {}
        if patches is None:
            fill = fills.inpaint if intervention == "inpaint" else partial(fills.colour, level=self.level)
            return {i: [(image.filled(fill), None)] for i, image in enumerate(images)}
        for patch, (i, changed) in zip(patches, pasted(images, patches), strict=True):
            found.setdefault(i, []).append((changed, patch))
        return found

    def _means(self, changed: _Changed) -> Floats:
        """The mean fall of each image (N,) over its changes, in units; NaN for an image without any."""
        means = np.full(len(self.images), np.nan)
        for i, each in changed.items():
            falls = self.scores[i].falls([image for image, _ in each]) / self.unit[0]
            means[i] = np.mean([self._fall(i, fall, patch) for fall, (_, patch) in zip(falls, each, strict=True)])
        return means

    def _fall(self, i: int, fall: float, patch: Patch | None) -> float:
        """The fall; of a score without a better and a worse how far it moves, towards the score of the donors.

        A model that reads the pasted pixels answers like the images that they come from; what any change does besides has
        either sign, and cancels out over the images.
        """
        if not self.scores[i].two_sided:
            return fall
        if patch is None or self.plan[0] != "swap":
            return abs(fall)
        return -fall * float(np.sign(self.values[list(patch.donors)].mean() - self.values[i]))

    def shown(self) -> dict[int, ModelInput]:
        """The first change of each image."""
        intervention, _, patches = self.plan
        first = None if patches is None else firsts(patches.patches)
        return {i: each[0][0] for i, each in sorted(self._changed(self.images, intervention, first).items())}


def _draw(model: ExplainedModel, asked: _Images, title: str, lines: Sequence[str]) -> Image:
    panels = list[overlay.Panel]()
    for i, changed in list(asked.shown().items())[:_SHOWN]:
        image, score = asked.images[i], asked.scores[i]
        view, now = image.image_input.look()[0], score.value - float(score.falls([changed])[0])
        name, heat = score.subject.target, heat_of(model.engine, image.image_input, asked.targets[i], model.question())
        panels.append(overlay.Panel(view, mask=image.mask, caption=f"{name}: {score.value:.3g}"))
        panels.append(overlay.Panel(changed.look()[0], mask=image.mask, caption=f"replaced: {now:.3g}"))
        panels.append(overlay.Panel(view, heat, image.mask, caption=f"heatmap of {name}"))
    panels += better_panels(asked.images[:_SHOWN], asked.fault)
    return overlay.draw_panels(panels, title=title, lines=lines)
