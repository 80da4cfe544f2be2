"""How images exchange their masked pixels: with donors of other classes and of their own, and elsewhere as a control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.checks import outline
from pytest_gradcam.checks.averages import Averages
from pytest_gradcam.checks.donors import Patch, Patches, arrange
from pytest_gradcam.checks.exchange import Exchange
from pytest_gradcam.checks.loss import THROUGH, Exchanged
from pytest_gradcam.checks.masked_image import MaskedImage
from pytest_gradcam.questions.protocols import ModelInput
from pytest_gradcam.replacement import control_regions, fills

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Three = tuple[Floats, Floats, Floats]
Change = tuple[int, ModelInput]  # the index of an image, and the image with its masked pixels replaced
#: Draws for each image where the scene shows through the mask: the control costs as many again.
_FEW = 2


@dataclass(frozen=True)
class Exchanges:
    """The patches of an exchange between `images`: from `others`, and from donors of the image's `own` class, the yardstick.

    `predicted` (N,) are the images' classes, `continuity` says how far the scene shows through the masks. If it does, means are
    exchanged as well, unless the masks leave no mirrored place for the control.
    """

    images: Sequence[MaskedImage]
    predicted: Indices
    others: Patches
    own: Patches
    continuity: float
    averages: Averages | None = None

    @classmethod
    def between(cls, images: Sequence[MaskedImage], predicted: Indices, others: Patches) -> Exchanges:
        """The exchanges that begin with these patches from other classes."""
        continuity = outline.continuity(images)
        averages = Averages.between(images, predicted) if continuity > THROUGH else None
        return cls(images, predicted, others, own_class(images, predicted), continuity, averages)

    @property
    def through(self) -> bool:
        """Whether the scene shows through the masks, so that donors bring in their objects."""
        return self.continuity > THROUGH

    @property
    def heated(self) -> bool:
        """Whether the control lies where the heatmaps are hottest."""
        return self.through and self.averages is None

    @property
    def main(self) -> list[Patch]:
        """The patches from other classes."""
        if not self.through:
            return self.others.patches
        taken, kept = np.zeros(len(self.images), int), []
        for patch in self.others.patches:
            taken[patch.to] += 1
            if taken[patch.to] <= _FEW:
                kept.append(patch)
        return kept

    def yardstick(self) -> list[Change]:
        """The images with patches from their own classes."""
        return pasted(self.images, self.own.patches)

    def control(self, heats: Sequence[Floats | None]) -> list[Change]:
        """Exchanged means, in the masks and then mirrored. Without these the same exchange elsewhere, where the heatmap is
        hottest, or right around the mask if its shape fits nowhere else.
        """
        if self.averages is not None:
            changed = [*self.averages.inside, *self.averages.mirrored]
            return list(zip([*self.averages.to, *self.averages.to], changed, strict=True))
        if not self.through:
            return []
        regions = []
        for image, heat in zip(self.images, heats, strict=True):
            region = None if heat is None else control_regions.hottest(image.mask, image.padding, heat)
            regions.append(control_regions.around(image.mask, image.padding) if region is None else region)
        return [
            (to, self.images[to].at(regions[to]).filled(fills.paste, other=self.images[donor].pixels))
            for to, donor in self._controls()
        ]

    def found(
        self,
        leads: Floats,
        falls: Three,
        costs: Three,
        name: Callable[[int], str],
    ) -> Exchanged:
        """What the falls of the margin after patches of `main`, `yardstick` and `control` show, with the leads (N,) before,
        and what they cost in accuracy.
        """
        (changes, yardstick, control), (cost, own_cost, control_cost) = falls, costs
        main = [(patch.to, patch.donors[0]) for patch in [*self.main, *self.own.patches]]
        return Exchanged(
            self._exchange(main, leads, np.concatenate([changes, yardstick]), np.concatenate([cost, own_cost])),
            self._exchange(self._controls(), leads, control, control_cost) if self.heated else None,
            self.continuity,
            name,
            None if self.averages is None else self.averages.found(self.predicted, leads, control, control_cost),
        )

    def _controls(self) -> list[tuple[int, int]]:
        """The receiver and donor of each control: the first donor of another class, and of the own one."""
        return [(patch.to, patch.donors[0]) for each in (self.main, self.own.patches) for patch in firsts(each)]

    def _exchange(self, pairs: Sequence[tuple[int, int]], leads: Floats, falls: Floats, costs: Floats) -> Exchange:
        to, donors = np.array(pairs, np.intp).reshape(-1, 2).T
        return Exchange(self.predicted, leads, to, donors, falls, costs)


def own_class(images: Sequence[MaskedImage], predicted: Indices) -> Patches:
    """Patches from images of the same predicted class: what they change is the price of any exchange."""
    return arrange(images, predicted, lambda i, j: bool(predicted[i] == predicted[j]), share=1 / 3)


def pasted(images: Sequence[MaskedImage], patches: Sequence[Patch]) -> list[Change]:
    """The images with these patches."""
    return [(patch.to, images[patch.to].filled(fills.paste, other=patch.content)) for patch in patches]


def firsts(patches: Sequence[Patch]) -> list[Patch]:
    """The first patch of each image."""
    return sorted({patch.to: patch for patch in reversed(patches)}.values(), key=lambda patch: patch.to)
