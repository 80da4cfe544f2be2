"""A heatmap, what can be measured on it, and the checks on where it lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_gradcam import images, masks, metrics, overlay
from pytest_gradcam.checks import baseline, focus, similarity
from pytest_gradcam.checks.focus import FocusAvoids, FocusWithin, Overlap, PeakWithin
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.bounds import Lift
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.grids import require_evidence, resize
from pytest_gradcam.metrics import Similarity
from pytest_gradcam.questions.padding import PaddingMask
from pytest_gradcam.questions.protocols import Bools, HeatmapLike, Mask, MaskInView
from pytest_gradcam.validation import knows_its_keywords

if TYPE_CHECKING:
    from PIL.Image import Image


class Peak(NamedTuple):
    """The first pixel that holds the maximum, in pixels of the view, and how many pixels hold it."""

    x: int
    y: int
    maxima: int


#: The image as the model saw it, uint8 (H, W, 3), and the pixels (H, W) that the preprocess added, None for none.
View = tuple[NDArray[np.uint8], Bools | None]
Carry = Callable[[Mask], MaskInView]


@dataclass(frozen=True)
class SeenImage:
    """An image as the model saw it: the size (H, W) of the view, the view itself, made when it is first looked at, and what
    carries a mask of the image into it. Without a `carry` masks are in the coordinates of the view."""

    shape: tuple[int, int]
    look: Callable[[], View]
    carry: Carry | None = None


@knows_its_keywords
class Heatmap:
    """Where the evidence for one target lies in one image: a class activation map and what it explains.

    `grid` float32 (h, w) is the map at the target layer's own resolution, `values` float32 (H, W) the same resized
    bilinearly to the model's input, with each cell where it looks; both are non-negative and not normalised. `view` uint8
    (H, W, 3) is the image as the model saw it; `padding` bool (H, W) are pixels of the view that the preprocess added.
    Masks are in the coordinates of the image that was passed to the explainer; `padding` itself may be passed as one.
    """

    def __init__(
        self,
        grid: NDArray[np.float32],
        seen: SeenImage,
        subject: Subject | None = None,
        resampled: Sequence[NDArray[np.float32]] = (),
        logits: NDArray[np.float32] | None = None,
    ) -> None:
        self.grid = np.maximum(grid, 0).astype(np.float32)
        self.subject = subject or Subject()
        self._shape = seen.shape
        self._look = seen.look
        #: Carries a mask of the image into the view.
        self.carry = seen.carry or (lambda mask: MaskInView(masks.as_mask(mask, shape=seen.shape)))
        #: Says why checks on where the heatmap lies can have no verdict; nothing, where they can.
        self.gate: Callable[[], str] = str
        #: Bootstrap replicates (h, w) of a grid that is an estimate from random masks; none for others.
        self.resampled: Sequence[NDArray[np.float32]] = [np.maximum(each, 0) for each in resampled]
        #: Other heatmaps for which these checks must hold as well.
        self.also: Sequence[HeatmapLike] = ()
        #: The model's logits (classes,) for the image, where the pass that made this gave them.
        self.logits = logits

    @classmethod
    def from_array(cls, values: ArrayLike, image: Any = None) -> Heatmap:
        """The heatmap of real numbers (h, w) from elsewhere, on an image (path, PIL, uint8 array) of any size.

        Negative values are clipped to 0. Without an image the view is black and of the size of the values.
        Raises HeatmapError if the values are not a two-dimensional array; with NaN or infinite ones no check can be decided.
        """
        try:
            grid = np.asarray(values)
        except (
            TypeError,
            ValueError,
            RuntimeError,
        ) as error:  # of lists of different lengths, of a tensor with a gradient
            raise HeatmapError(
                f"values cannot be read as an array ({next(iter(str(error).splitlines()), '')}); expected real numbers (h, w)"
            ) from None
        if grid.ndim != 2 or grid.size == 0 or grid.dtype.kind not in "fiub":
            raise HeatmapError(
                f"values of shape {grid.shape} and type {grid.dtype} are not a heatmap; expected real numbers (h, w)"
            )
        if image is None:
            black = np.zeros((*grid.shape, 3), np.uint8)
            return cls(grid.astype(np.float32), SeenImage(grid.shape, lambda: (black, None)))
        picture = images.read(image)
        view = np.asarray(picture.pil.convert("RGB"))
        seen = SeenImage(picture.shape, lambda: (view, None))
        return cls(grid.astype(np.float32), seen, Subject(image=picture.name))

    @cached_property
    def values(self) -> NDArray[np.float32]:
        return resize(self.grid, self._shape, self.subject.centres)

    @property
    def view(self) -> NDArray[np.uint8]:
        return self._seen[0]

    @cached_property
    def padding(self) -> Bools:
        padding = self._seen[1]
        found = np.zeros(self._shape, bool) if padding is None else padding
        return found.view(PaddingMask)

    @cached_property
    def _seen(self) -> View:
        return self._look()  # when first asked for: most heatmaps are never shown

    @property
    def standard_error(self) -> NDArray[np.float32] | None:
        """The standard error (h, w) of each cell of the grid where it is an estimate (RISE); None where it is not."""
        return np.std(self.resampled, axis=0) if len(self.resampled) else None

    @property
    def target(self) -> str:
        return self.subject.target

    @property
    def score(self) -> float | None:
        return self.subject.score

    @property
    def layer(self) -> str:
        return self.subject.layer

    @property
    def method(self) -> str:
        return self.subject.method

    def mass(self, mask: Mask) -> float:
        """Relevance mass accuracy: the share of the heatmap inside the mask, in [0, 1] (Arras et al. 2022)."""
        return focus.measured(self, mask, metrics.mass)

    def lift(self, mask: Mask) -> float:
        """Relevance mass over the mask's share of the view; 1 is chance."""
        return focus.measured(self, mask, metrics.lift)

    def mean_heat(self, mask: Mask) -> float:
        """Mean over the mask of the heatmap divided by its maximum, in [0, 1]."""
        return focus.measured(self, mask, metrics.mean_heat)

    def rank_accuracy(self, mask: Mask) -> float:
        """Relevance rank accuracy: the share of the |mask| highest pixels that lie in the mask (Arras et al. 2022)."""
        return focus.measured(self, mask, metrics.rank_accuracy)

    def hits(self, mask: Mask, tolerance: float = 0) -> bool:
        """The pointing game: every maximum lies within `tolerance` pixels of the mask (Zhang et al. 2018)."""
        return focus.measured(self, mask, partial(metrics.hits, tolerance=tolerance))

    def iou(self, mask: Mask, threshold: float = 0.5) -> float:
        """IoU of the mask and the pixels at or above `threshold` x maximum, in [0, 1] (Zhou et al., CVPR 2016)."""
        return focus.measured(self, mask, partial(metrics.iou, threshold=threshold))

    def similarity(self, other: Heatmap, *, kind: Similarity = "spearman") -> float:
        """How alike the grids of two heatmaps are: 1 if they are equal up to a positive factor.

        `kind` is "spearman" (rank correlation) or "ssim", both in [-1, 1], or "iou" (of the parts above 0.2 x maximum),
        in [0, 1]. Where the grids differ in size, the finer one is averaged over the cells of the coarser one.
        Raises NoEvidenceError if either is zero or the same everywhere; HeatmapError if their views differ in aspect.
        """
        return similarity.similarity(self, other, kind=kind)

    @property
    def peak(self) -> Peak:
        """The place of the maximum. Raises NoEvidenceError if there is none."""
        require_evidence(self.grid, self.subject)
        places = metrics.peaks(self.values)
        return Peak(int(places[0][1]), int(places[0][0]), len(places))

    def overlay(self, mask: Mask | None = None) -> Image:
        """A picture: the view, the heatmap on it with a colour bar, and the mask's outline."""
        region = None if mask is None else focus.in_view(self, mask)
        title = f"{self.target} {self.score:.4g}" if self.target and self.score is not None else self.target
        return overlay.draw(overlay.Panel(self.view, self.values, region), title=title)

    def save(self, path: str | Path) -> None:
        """Write `overlay()` to an image file."""
        self.overlay().save(path)

    def _repr_png_(self) -> bytes:
        return images.png(self.overlay())

    def __repr__(self) -> str:
        (h, w), (height, width) = self.grid.shape, self._shape
        of = f" of {self.target!r}" if self.target else ""
        at = f" at {self.layer}" if self.layer else ""
        return f"<Heatmap{of}{at}: grid {h} x {w} on a view of {height} x {width} px>"

    def assert_focus_within(self, mask: Mask, *, at_least: float | Lift = 0.5) -> None:
        """At least this share of the heatmap lies inside the mask (relevance mass; 0 < at_least <= 1).

        `masks.lift(2)` in place of a share is twice the mask's own share of the view, whatever its size.
        Raises FocusError if less does; HeatmapError if the check cannot be decided, also by a lift above 1 / area.
        """
        focus.judge(self, FocusWithin(at_least), mask)

    def assert_focus_avoids(self, mask: Mask, *, at_most: float | Lift = 0.1) -> None:
        """At most this share of the heatmap lies inside the mask (relevance mass; 0 <= at_most < 1).

        `masks.lift(0.5)` in place of a share is half of the mask's own share of the view, whatever its size.
        Raises FocusError if more does; HeatmapError if the check cannot be decided, also by a lift of 1 / area or more.
        """
        focus.judge(self, FocusAvoids(at_most), mask)

    def assert_peak_within(self, mask: Mask, *, tolerance: float = 0) -> None:
        """Every maximum of the heatmap lies in the mask, or within `tolerance` pixels of the view (pointing game).

        Raises FocusError if one does not; HeatmapError if the check cannot be decided.
        """
        focus.judge(self, PeakWithin(tolerance), mask)

    def assert_overlap(self, mask: Mask, *, at_least: float = 0.3, threshold: float = 0.5) -> None:
        """The IoU of the mask and the heatmap over `threshold` x its maximum is at least this (0 < at_least <= 1).

        Raises FocusError if it is less; HeatmapError if the check cannot be decided.
        """
        focus.judge(self, Overlap(at_least, threshold), mask)

    def assert_similar(self, other: Heatmap, *, at_least: float = 0.8, kind: Similarity = "spearman") -> None:
        """The `similarity` to another heatmap is at least this (0 < at_least <= 1).

        Raises FocusError if it is less; HeatmapError if the check cannot be decided.
        """
        similarity.assert_similar(self, other, at_least=at_least, kind=kind)

    def assert_matches_baseline(self, *, at_least: float = 0.95, name: str | None = None) -> None:
        """The `similarity` (rank correlation) to the heatmap kept beside the test is at least this (0 < at_least <= 1).

        `pytest --gradcam-update` keeps this heatmap in `__gradcam__` beside the test's file, and checks nothing. A
        test's baselines are told apart by their order, or by `name` (ASCII letters, digits, `_`, `.`).
        Raises FocusError if it is less; HeatmapError if the check cannot be decided: there is no baseline, or it is of
        another image, target, layer, method or grid; or outside a test, and under Hypothesis' @given.
        """
        baseline.assert_matches(self, at_least=at_least, name=name)
