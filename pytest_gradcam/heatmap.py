"""A heatmap, what can be measured on it, and the checks on where it lies."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_gradcam import images, masks, metrics, overlay
from pytest_gradcam.checks import baseline, similarity
from pytest_gradcam.errors import FocusError, GradcamWarning, HeatmapError, NoEvidenceError
from pytest_gradcam.evidence import bounds, messages, settle
from pytest_gradcam.evidence.bounds import Lift
from pytest_gradcam.evidence.record import Record, Subject
from pytest_gradcam.metrics import Similarity

if TYPE_CHECKING:
    from PIL.Image import Image

Mask = Any  # whatever masks.as_mask reads: an array, a PIL image, a path
BoolArray = NDArray[np.bool_]
ROUNDING = 1e-6  # a spread, relative to the maximum, that float32 arithmetic leaves on a map of one value
_FEW = 16  # cells a side, up to which two products of matrices are the fastest way to resize a grid


class Peak(NamedTuple):
    """The first pixel that holds the maximum, in pixels of the view, and how many pixels hold it."""

    x: int
    y: int
    maxima: int


@dataclass(frozen=True)
class MaskInView:
    """A mask where the model saw it: `pixels` (H, W) in the view; `seen` says what part of the image the view shows."""

    pixels: BoolArray
    seen: str = ""


Carry = Callable[[Mask], MaskInView]
Figure = Callable[[NDArray[np.float32], BoolArray], float]
#: The image as the model saw it, uint8 (H, W, 3), and the pixels (H, W) that the preprocess added, None for none.
View = tuple[NDArray[np.uint8], BoolArray | None]


class Heatmap:
    """Where the evidence for one target lies in one image: a class activation map and what it explains.

    `grid` float32 (h, w) is the map at the target layer's own resolution, `values` float32 (H, W) the same resized
    bilinearly to the model's input; both are non-negative and not normalised. `view` uint8 (H, W, 3) is the image as
    the model saw it; `padding` bool (H, W) are pixels of the view that the preprocess added.
    Masks are in the coordinates of the image that was passed to the explainer; `padding` itself may be passed as one.
    """

    def __init__(
        self,
        grid: NDArray[np.float32],
        shape: tuple[int, int],
        look: Callable[[], View],
        *,
        subject: Subject | None = None,
        carry: Carry | None = None,
    ) -> None:
        self.grid = np.maximum(grid, 0).astype(np.float32)
        self.subject = subject or Subject()
        self._shape = shape
        self._look = look
        self._carry = carry or (lambda mask: MaskInView(masks.as_mask(mask, shape=shape)))
        #: Says why checks on where the heatmap lies can have no verdict; nothing, where they can.
        self.gate: Callable[[], str] = str
        #: Engine for which these checks must hold as well.
        self.also: tuple[Heatmap, ...] = ()

    @classmethod
    def from_array(cls, values: ArrayLike, image: Any = None) -> Heatmap:
        """The heatmap of real numbers (h, w) from elsewhere, on an image (path, PIL, uint8 array) of any size.

        Negative values are clipped to 0. Without an image the view is black and of the size of the values.
        Raises HeatmapError if the values are no two-dimensional array; on NaN and infinity no check can be decided.
        """
        grid = np.asarray(values)
        if grid.ndim != 2 or grid.size == 0 or grid.dtype.kind not in "fiub":
            raise HeatmapError(
                f"values of shape {grid.shape} and type {grid.dtype} are no heatmap; expected real numbers (h, w)"
            )
        if image is None:
            black = np.zeros((*grid.shape, 3), np.uint8)
            return cls(grid.astype(np.float32), grid.shape, lambda: (black, None))
        picture = images.read(image)
        view = np.asarray(picture.pil.convert("RGB"))
        return cls(grid.astype(np.float32), picture.shape, lambda: (view, None), subject=Subject(image=picture.name))

    @cached_property
    def values(self) -> NDArray[np.float32]:
        return resize(self.grid, self._shape)

    @property
    def view(self) -> NDArray[np.uint8]:
        return self._seen[0]

    @cached_property
    def padding(self) -> BoolArray:
        padding = self._seen[1]
        return np.zeros(self._shape, bool) if padding is None else padding

    @cached_property
    def _seen(self) -> View:
        return self._look()  # when first asked for: most heatmaps are never shown

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
        return self._measure(metrics.mass, mask)

    def lift(self, mask: Mask) -> float:
        """Relevance mass over the mask's share of the view; 1 is chance."""
        return self._measure(metrics.lift, mask)

    def mean_heat(self, mask: Mask) -> float:
        """Mean over the mask of the heatmap divided by its maximum, in [0, 1]."""
        return self._measure(metrics.mean_heat, mask)

    def rank_accuracy(self, mask: Mask) -> float:
        """Relevance rank accuracy: the share of the |mask| highest pixels that lie in the mask (Arras et al. 2022)."""
        return self._measure(metrics.rank_accuracy, mask)

    def hits(self, mask: Mask, tolerance: float = 0) -> bool:
        """The pointing game: every maximum lies within `tolerance` pixels of the mask (Zhang et al. 2018)."""
        region, values = self._region(mask), self._evident()
        return metrics.hits(values, region.pixels, tolerance=tolerance)

    def iou(self, mask: Mask, threshold: float = 0.5) -> float:
        """IoU of the mask and the pixels at or above `threshold` x maximum, in [0, 1] (Zhou et al., CVPR 2016)."""
        region, values = self._region(mask), self._evident()
        return metrics.iou(values, region.pixels, threshold=threshold)

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
        places = metrics.peaks(self._evident())
        return Peak(int(places[0][1]), int(places[0][0]), len(places))

    def overlay(self, mask: Mask | None = None) -> Image:
        """A picture: the view, the heatmap on it with a colour bar, and the mask's outline."""
        region = None if mask is None else self._region(mask).pixels
        title = f"{self.target} {self.score:.4g}" if self.target and self.score is not None else self.target
        return overlay.draw(self.values, self.view, mask=region, title=title)

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
        self._judge(_on_mass("focus_within", "at_least", at_least), mask, metrics.mass)

    def assert_focus_avoids(self, mask: Mask, *, at_most: float | Lift = 0.1) -> None:
        """At most this share of the heatmap lies inside the mask (relevance mass; 0 <= at_most < 1).

        `masks.lift(0.5)` in place of a share is half of the mask's own share of the view, whatever its size.
        Raises FocusError if more does; HeatmapError if the check cannot be decided, also by a lift of 1 / area or more.
        """
        self._judge(_on_mass("focus_avoids", "at_most", at_most), mask, metrics.mass)

    def assert_peak_within(self, mask: Mask, *, tolerance: float = 0) -> None:
        """Every maximum of the heatmap lies in the mask, or within `tolerance` pixels of the view (pointing game).

        Raises FocusError if one does not; HeatmapError if the check cannot be decided.
        """
        check = Record(
            check="peak_within", measure="distance of the peak from the mask", bound=tolerance, direction="at_most"
        )
        self._judge(check, mask, metrics.peak_distance)

    def assert_overlap(self, mask: Mask, *, at_least: float = 0.3, threshold: float = 0.5) -> None:
        """The IoU of the mask and the heatmap over `threshold` x its maximum is at least this (0 < at_least <= 1).

        Raises FocusError if it is less; HeatmapError if the check cannot be decided.
        """
        check = Record(check="overlap", measure="IoU", bound=at_least, parameters={"threshold": threshold})
        self._judge(check, mask, lambda values, region: metrics.iou(values, region, threshold=threshold))

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

    def record(self, check: Record) -> Record:
        """The check with what it is about filled in: this heatmap's target, model, layer, image and sizes."""
        (h, w), (height, width) = self.grid.shape, self._shape
        return replace(check, **asdict(self.subject), grid=(h, w), view=(height, width))

    def _judge(self, check: Record, mask: Mask, figure: Figure) -> None:
        """Settle the check on this heatmap and on those for which it must hold as well, and raise what the first did."""
        errors = []
        for heatmap in (self, *self.also):
            try:
                heatmap._settle(check, mask, figure)
            except (FocusError, HeatmapError) as error:
                errors.append(error)
        for other in errors[1:]:
            errors[0].add_note(f"and on the other heatmap:\n{other}")
        if errors:
            raise errors[0]

    def _settle(self, check: Record, mask: Mask, figure: Figure) -> None:
        """Measure, compare with the bound, settle."""
        record, region = self.record(check), None
        try:
            record = bounds.settled(record)
            if reason := self.gate():
                raise HeatmapError(reason)
            region = self._region(mask)
            record = bounds.within_reach(replace(record, mask_area=float(region.pixels.mean())))
            _refuse_far(record, region.pixels)
            values = self._evident()
            record = self._measured(record, values, region.pixels, float(figure(values, region.pixels)))
        except HeatmapError as error:
            record = settle.undecided(record, error)
        doubts = list(self._doubts(record))
        record = replace(record, details=(*record.details, *(("note", doubt) for doubt in doubts)))
        settle.settle(record, lambda kept: self._picture(kept, region))
        for doubt in doubts:  # of a check that passed; where warnings are errors, its record is kept before
            warnings.warn(doubt, GradcamWarning, stacklevel=4)

    def _measured(self, record: Record, values: NDArray[np.float32], region: BoolArray, figure: float) -> Record:
        assert record.bound is not None
        lift, peak = metrics.lift(values, region), self.peak
        if record.measure == bounds.LIFT:
            figure = lift
        holds = figure >= record.bound if record.direction == "at_least" else figure <= record.bound
        return replace(
            record,
            outcome="passed" if holds else "failed",
            figure=figure,
            mass=metrics.mass(values, region),
            lift=lift,
            peak=(peak.x, peak.y),
            peaks=peak.maxima,
        )

    def _doubts(self, record: Record) -> Iterator[str]:
        """Why a check was decided on ground that is thin, a sentence each."""
        if record.outcome not in ("passed", "failed") or record.mask_area is None or record.lift is None:
            return
        if record.mask_area * self.grid.size < 1:
            h, w = (round(v / g) for v, g in zip(self._shape, self.grid.shape, strict=True))
            yield f"one cell of the heatmap, {h} x {w} px, is coarser than the mask; choose a layer with a finer grid"
        if record.check == "focus_within" and record.outcome == "passed" and record.lift < 1:
            yield (
                f"focus_within passed on less attention than chance (lift {record.lift:.2f}): the mask covers "
                f"{messages.percent(record.mask_area)} of the view; raise at_least above that"
            )

    def _picture(self, record: Record, region: MaskInView | None) -> Image:
        threshold = record.parameters.get("threshold")
        return overlay.draw(
            self.values,
            self.view,
            mask=None if region is None else region.pixels,
            level=None if threshold is None else threshold * float(self.values.max()),
            peak=record.peak if record.check == "peak_within" else None,
            title=messages.title(record),
            lines=[f"{label:<11}{phrase}" for label, phrase in messages.rows(record) if label != "picture"],
        )

    def _measure(self, metric: Callable[[NDArray[np.float32], BoolArray], float], mask: Mask) -> float:
        region, values = self._region(mask), self._evident()
        return metric(values, region.pixels)

    def _region(self, mask: Mask) -> MaskInView:
        """The mask in the view. Raises HeatmapError if nothing of it, or nothing but it, is left there."""
        region = MaskInView(self.padding) if mask is self.padding else self._carry(mask)
        if not region.pixels.any():
            raise HeatmapError(_nothing_left(mask is self.padding, region.seen))
        if region.pixels.all():
            raise HeatmapError("the mask covers the whole view, so there is nothing to test; pass a smaller mask")
        return region

    def _evident(self) -> NDArray[np.float32]:
        """The values, if they can bear a verdict. Raises NoEvidenceError if they are all zero or constant."""
        if not np.isfinite(self.grid).all():
            raise HeatmapError("the heatmap holds NaN or infinite values; check the model's activations and weights")
        where = f" at layer {self.layer}" if self.layer else ""
        whose = f" for {self.target!r} (score {self.score:.4g})" if self.target and self.score is not None else ""
        if not self.grid.any():
            raise NoEvidenceError(
                f"the heatmap is zero everywhere{whose}{where}: there is no positive evidence for the target; "
                "explain another target, or choose another layer or method (hirescam)"
            )
        if np.ptp(self.grid) <= ROUNDING * self.grid.max():
            raise NoEvidenceError(
                f"the heatmap has the same value everywhere{whose}{where}, so it points nowhere; "
                "choose a layer with a finer grid, and check that the weights are trained"
            )
        return self.values


def resize(grid: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """The grid (h, w) resized bilinearly to `shape` (H, W), pixel centres aligned, edges held."""
    if max(grid.shape) <= _FEW and grid.shape[0] <= shape[0] and grid.shape[1] <= shape[1] and np.isfinite(grid).all():
        down, across = (_weights(*sizes) for sizes in zip(grid.shape, shape, strict=True))
        return (down @ grid @ across.T).astype(np.float32)
    from PIL.Image import Resampling, fromarray  # ten times as fast as scikit-image here, to the same 1e-6

    return np.array(fromarray(grid).resize((shape[1], shape[0]), Resampling.BILINEAR))


@lru_cache(maxsize=64)
def _weights(few: int, many: int) -> NDArray[np.float64]:
    """(many, few): what each of `many` pixels takes of `few` cells. In float64, so that equal cells stay equal."""
    centres = np.clip((np.arange(many) + 0.5) * few / many - 0.5, 0, few - 1)
    shares: NDArray[np.float64] = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(few)))
    return shares


def _refuse_far(record: Record, region: BoolArray) -> None:
    """Raise HeatmapError for a tolerance within which every pixel lies."""
    if record.check != "peak_within" or not record.bound:
        return
    farthest = metrics.farthest(region, record.view or (0, 0))
    if record.bound >= farthest:
        raise HeatmapError(
            f"tolerance={record.bound:g} holds for every heatmap: no pixel of the view lies more than {farthest:.4g} px "
            "from the mask; pass a lower one"
        )


def _on_mass(check: str, direction: Literal["at_least", "at_most"], bound: Any) -> Record:
    return Record(check=check, measure=bounds.RELEVANCE_MASS, bound=bound, direction=direction)


def _nothing_left(is_padding: bool, seen: str) -> str:
    if is_padding:
        return "the preprocess added no padding to this image; leave the check out where there is none"
    if seen:
        return f"the preprocess kept 0 % of the mask: {seen}; check the mask, or the crop of the preprocess"
    return "the mask has no pixel; check how it was made"
