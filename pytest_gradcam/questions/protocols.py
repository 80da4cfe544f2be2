"""What a model, an image and a heatmap have to offer to be asked about: the checks know them by these protocols alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.images import Picture
from pytest_gradcam.perturbations.movement import Placement
from pytest_gradcam.targets import ClassNames, Detection, Target

if TYPE_CHECKING:
    from PIL.Image import Image

Mask = Any  # whatever masks.as_mask reads: an array, a PIL image, a path
Bools = NDArray[np.bool_]
Values = NDArray[np.float32]
_Subject = TypeVar("_Subject", bound=Subject)


@dataclass(frozen=True)
class MaskInView:
    """A mask where the model saw it: `pixels` (H, W) in the view; `seen` says what part of the image the view shows."""

    pixels: Bools
    seen: str = ""


class MapOnView(Protocol):
    """A grid (h, w), the same resized to the size (H, W) of the view, the view (H, W, 3), and what it explains."""

    @property
    def grid(self) -> Values: ...
    @property
    def values(self) -> Values: ...
    @property
    def view(self) -> NDArray[np.uint8]: ...
    @property
    def subject(self) -> Subject: ...


class HeatmapLike(MapOnView, Protocol):
    """A heatmap of an image, whose masks can be carried into the view."""

    #: Says why checks on where the heatmap lies can have no verdict; an empty text if they can.
    gate: Callable[[], str]
    #: Bootstrap replicates (h, w) of a grid that is an estimate from random masks; none for others.
    resampled: Sequence[Values]
    #: Other heatmaps for which these checks must hold as well.
    also: Sequence[HeatmapLike]
    #: The model's logits (classes,) for the image, where the pass that made the heatmap gave them.
    logits: Values | None

    @property
    def padding(self) -> Bools: ...
    @property
    def carry(self) -> Callable[[Mask], MaskInView]:
        """Carries a mask of the image into the view."""

    @property
    def peak(self) -> tuple[int, int, int]:
        """x, y and the number of maxima. Raises NoEvidenceError if there is none."""

    def overlay(self) -> Image: ...


class ModelInput(Protocol):
    """One image ready for the model; `pixels` float32 (C, H, W) are in the units of the model's input."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of the picture before the preprocess; None for a tensor."""

    @property
    def place(self) -> Callable[[], Placement] | None:
        """Says where the view lies in that picture; None for a tensor."""

    @property
    def carry(self) -> Callable[[Mask], MaskInView]:
        """Carries a mask of the image into the view."""

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the view."""

    @property
    def pixels(self) -> Values: ...

    def with_pixels(self, pixels: NDArray[np.floating]) -> Self:
        """The same image with these pixels (C, H, W)."""

    def named(self, name: str) -> Self:
        """The same image under another name."""

    def variant_of(self, original: Any) -> Self:
        """This image as a changed version of another: a record names, and identifies, the original."""

    def look(self) -> tuple[NDArray[np.uint8], Bools | None]:
        """The image as the model sees it, uint8 (H, W, 3), and the pixels that the preprocess added."""


class TargetScore(Protocol):
    """What one target is worth in one image, where it is not a class, and how far that falls in changed versions of it.

    `unit` is what a fall is measured in, None where only other images can say, and `unit_said` what that is; `noun` is what
    the score is called; where `two_sided`, a rise counts like a fall.
    """

    @property
    def subject(self) -> Subject: ...
    @property
    def value(self) -> float: ...
    @property
    def falls(self) -> Callable[[Sequence[Any]], NDArray[np.float64]]: ...
    @property
    def unit(self) -> float | None: ...
    @property
    def unit_said(self) -> str: ...
    @property
    def noun(self) -> str: ...
    @property
    def two_sided(self) -> bool: ...


class Engine(Protocol):
    """What answers questions about a model, by numbers alone: `cam.engine.Engine` for a torch model."""

    @property
    def names(self) -> ClassNames: ...
    @property
    def multi_label(self) -> bool:
        """Whether the classes do not compete, as far as the images so far have shown."""

    @property
    def exact(self) -> bool:
        """Whether the same computation gives the same bits each time, as on a CPU."""

    def heatmaps_by(self, layer: str | None, method: str | None) -> dict[str, str | None]:
        """What heatmaps come from: the digest of the weights, the layer if one is named, and the method."""

    def read(self, image: Any) -> ModelInput:
        """The input for the model; a `ModelInput` comes back as it is."""

    def picture(self, image: Any) -> Picture:
        """The picture of an image that is no tensor, before the preprocess."""

    def predict(self, images: Sequence[Any]) -> NDArray[np.float32]:
        """The scores (N, classes)."""

    def scores(self, images: Sequence[Any], target: Target = None) -> NDArray[np.float64]:
        """The score (N,) of one target in images of one size."""

    def scored(self, images: Sequence[Any], targets: Sequence[Target]) -> Sequence[TargetScore]:
        """What each image's target, a Box, a Region or a callable, is worth there."""

    def detections(self, image: Any) -> Sequence[Detection]:
        """What a detector finds in the image, the surest first. Raises HeatmapError for other models."""

    def unexplained(self, image: Any, subject: Subject) -> HeatmapLike:
        """The image as what a check without a heatmap is about: its heatmap is empty."""

    def heatmaps(
        self, images: Sequence[Any], targets: Sequence[Target], *, layer: str | None = None, method: str | None = None
    ) -> Sequence[HeatmapLike]: ...

    def compare(
        self, image: Any, targets: Sequence[Target], *, layer: str | None = None, method: str | None = None
    ) -> Sequence[HeatmapLike]: ...

    def identified(self, subject: _Subject, image: Any = None) -> _Subject:
        """The subject, or record, with what is known of the model and of the image."""

    def without_heatmaps(self, method: str | None) -> str:
        """Why this model has no heatmaps by this method (None for its own), but scores; empty if it has."""

    def fresh(self) -> Engine:
        """The same engine, which computes every heatmap anew."""

    def seeded(self, seed: int) -> AbstractContextManager[None]:
        """Inside, all random states start from this seed; afterwards they are what they were."""

    def any_draw(self) -> AbstractContextManager[None]:
        """Inside, a model that gives the same image other scores each time is not refused."""

    def redraw(self) -> Redraw:
        """A copy of the model whose weights can be redrawn. Raises HeatmapError if the model cannot be copied."""


class Redraw(Protocol):
    """A copy of a model whose weights are redrawn."""

    def stages(self, seed: int, count: int, image: Any) -> Iterator[Engine]:
        """The engine of the copy after each of at most `count` stages from the output down, drawn with the seed."""


def is_heatmap(value: Any) -> TypeGuard[MapOnView]:
    """Whether the value is a heatmap. Its type is asked, since a heatmap draws its view when the view is looked at."""
    return all(hasattr(type(value), name) for name in ("values", "view", "peak"))
