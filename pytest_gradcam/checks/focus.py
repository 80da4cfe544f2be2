"""The checks on where one heatmap lies: each holds a figure of the heatmap and a mask against a bound.

Relevance mass (Arras et al. 2022), the pointing game (Zhang et al. 2018), IoU (Zhou et al., CVPR 2016).
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pytest_gradcam import metrics, overlay
from pytest_gradcam.checks.resampled import require_certain
from pytest_gradcam.errors import FocusError, GradcamWarning, HeatmapError
from pytest_gradcam.evidence import bounds, messages, settle
from pytest_gradcam.evidence.bounds import Lift
from pytest_gradcam.evidence.check import Check
from pytest_gradcam.evidence.messages import attention, expected, number, percent
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.grids import require_evidence
from pytest_gradcam.questions import padding
from pytest_gradcam.questions.protocols import Bools, HeatmapLike, Mask, MaskInView, Values

if TYPE_CHECKING:
    from PIL.Image import Image

Figure = TypeVar("Figure")


class OnMask(Check):
    """A check on a heatmap and a mask."""

    #: The check that replaces the masked pixels, and so tells whether they matter to the prediction.
    causal: ClassVar[str] = "assert_relies_on"

    @abstractmethod
    def figure(self, values: Values, pixels: Bools) -> float:
        """What is bounded, of the heatmap (H, W) and the mask in its view."""

    def within_reach(self, record: Record, pixels: Bools) -> Record:
        """The record with the bound that it can have on this mask. Raises HeatmapError for one that decides nothing."""
        return record

    def doubts(self, record: Record) -> Iterator[str]:
        """Why the verdict deserves a second look, a sentence each."""
        (h, w), (height, width) = record.grid or (1, 1), record.view or (1, 1)
        if (record.mask_area or 0) * h * w < 1:
            cell = f"{round(height / h)} x {round(width / w)}"
            yield f"one cell of the heatmap, {cell} px, is coarser than the mask; choose a layer with a finer grid"

    def marks(self, record: Record, values: Values) -> dict[str, Any]:
        """What the picture marks besides the mask, as keywords of `overlay.Panel`."""
        return {}

    def advice(self, record: Record) -> str:
        return f"{messages.LOOK}; {self._next(record)}"

    def _next(self, record: Record) -> str:
        if messages.is_mispredicted(record):
            return (
                f"the model {messages.predicts(record)}, so look into the prediction first, or leave target out to "
                "see what the prediction is based on"
            )
        if excuse := self.excuse(record):
            return excuse
        if record.target_index is None:  # the checks that replace pixels are about classes
            return "if the outline is right, change these pixels and see whether the prediction follows them"
        return (
            f"if the outline is right, gradcam.{self.causal}(image, mask) tells whether the prediction depends on these "
            "pixels"
        )

    def excuse(self, record: Record) -> str:
        """What to try where the heatmap is right, and the bound may be wrong; nothing where it is not."""
        return _favours(record) if self.direction == "at_least" else ""


class _OnMass(OnMask):
    """A bound on relevance mass, in shares or in lifts: the mask's own share of the view is a lift of 1."""

    measure = bounds.RELEVANCE_MASS
    where: ClassVar[str]

    def figure(self, values: Values, pixels: Bools) -> float:
        return (metrics.lift if isinstance(self.bound, Lift) else metrics.mass)(values, pixels)

    def plain_bound(self) -> float:
        if isinstance(self.bound, Lift):
            return bounds.lift_times(self.direction, self.bound, may_be_zero=self.direction == "at_most")
        or_else = ", or masks.lift(2) for twice what chance would give"
        return bounds.share(self.direction, self.bound, what=self.what, or_else=or_else)

    def checked(self, record: Record) -> Record:
        record = super().checked(record)
        return replace(record, measure=bounds.LIFT) if isinstance(self.bound, Lift) else record

    def within_reach(self, record: Record, pixels: Bools) -> Record:
        if not isinstance(self.bound, Lift):
            return record
        assert record.bound is not None
        return replace(record, bound=bounds.lift_within_reach(self.direction, record.bound, float(pixels.mean())))

    def finding(self, record: Record, figure: float, bound: float) -> str:
        limit = expected(self.direction)
        if not isinstance(self.bound, Lift):
            found, wanted = percent(figure, unlike=bound), percent(bound, unlike=figure)
            return f"{found} of the {attention(record)} lies inside {self.where}; {limit} {wanted}"
        area, mass = record.mask_area or 0.0, record.mass or 0.0
        return (
            f"the {attention(record)} has a lift of {number(figure, unlike=bound)} on {self.where}, "
            f"{percent(mass, unlike=bound * area)} of it; {limit} {number(bound, unlike=figure)}, "
            f"{percent(bound * area, unlike=mass)} on {percent(area)} of the view"
        )


class FocusWithin(_OnMass):
    """At least this share of the heatmap lies inside the mask."""

    name, where = "focus_within", "the mask"

    def doubts(self, record: Record) -> Iterator[str]:
        yield from super().doubts(record)
        if record.outcome == "passed" and record.lift is not None and record.lift < 1:
            yield (
                f"focus_within passed on less attention than chance (lift {record.lift:.2f}): the mask covers "
                f"{percent(record.mask_area or 0)} of the view; raise at_least above that"
            )


class FocusAvoids(_OnMass):
    """At most this share of the heatmap lies inside the mask."""

    name, where, causal = "focus_avoids", "the mask to avoid", "assert_ignores"
    direction = "at_most"

    def excuse(self, record: Record) -> str:
        if record.lift is None or record.lift > 1 / 1.5:
            return ""
        return (
            f"the attention does avoid the mask (lift {record.lift:.2g}): if its outline is right, a mask of "
            f"{percent(record.mask_area or 0)} of the view may need a higher bound, or a lift: at_most=masks.lift(0.5)"
        )


class PeakWithin(OnMask):
    """Every maximum of the heatmap lies within a distance of the mask."""

    name, measure = "peak_within", bounds.DISTANCE
    direction = "at_most"

    def figure(self, values: Values, pixels: Bools) -> float:
        return metrics.peak_distance(values, pixels)

    def plain_bound(self) -> float:
        return bounds.distance("tolerance", self.bound, what=self.what)

    def within_reach(self, record: Record, pixels: Bools) -> Record:
        if record.bound and record.bound >= (farthest := metrics.farthest(pixels, record.view or (0, 0))):
            raise HeatmapError(
                f"tolerance={record.bound:g} holds for every heatmap: no pixel of the view lies more than {farthest:.4g} px "
                "from the mask; pass a lower one"
            )
        return record

    def marks(self, record: Record, values: Values) -> dict[str, Any]:
        return {"peak": record.peak}

    def finding(self, record: Record, figure: float, bound: float) -> str:
        place = "inside the mask" if figure == 0 else f"{number(figure, unlike=bound)} px away from the mask"
        wanted = "it inside" if bound == 0 else f"at most {number(bound, unlike=figure)} px"
        return f"the {attention(record)} peaks {place}; expected {wanted}"


@dataclass(frozen=True)
class Overlap(OnMask):
    """The IoU of the mask and the heatmap above `threshold` times its maximum is at least this."""

    threshold: Any

    name, measure = "overlap", "IoU"

    @property
    def parameters(self) -> dict[str, Any]:
        return {"threshold": self.threshold}

    def figure(self, values: Values, pixels: Bools) -> float:
        return metrics.iou(values, pixels, threshold=self.threshold)

    def marks(self, record: Record, values: Values) -> dict[str, Any]:
        threshold = record.parameters.get("threshold")
        return {} if threshold is None else {"level": threshold * float(values.max())}

    def finding(self, record: Record, figure: float, bound: float) -> str:
        above = f"above {number(record.parameters['threshold'])} of its maximum"
        found, wanted = number(figure, unlike=bound), number(bound, unlike=figure)
        return (
            f"the {attention(record)} {above} has an IoU of {found} with the mask; {expected(self.direction)} {wanted}"
        )


def judge(heatmap: HeatmapLike, check: OnMask, mask: Mask) -> None:
    """Settle the check on the heatmap and on those for which it must hold as well, and raise what the first did.

    Raises as `settle` does.
    """
    errors: list[FocusError | HeatmapError] = []
    for each in (heatmap, *heatmap.also):
        try:
            _settle(each, check, mask)
        except (FocusError, HeatmapError) as error:
            errors.append(error)
    for other in errors[1:]:
        errors[0].add_note(f"and on the other heatmap:\n{other}")
    if errors:
        raise errors[0]


def measured(heatmap: HeatmapLike, mask: Mask, metric: Callable[[Values, Bools], Figure]) -> Figure:
    """The figure of the heatmap and the mask. Raises NoEvidenceError or HeatmapError where it has none."""
    pixels = in_view(heatmap, mask)
    require_evidence(heatmap.grid, heatmap.subject)
    return metric(heatmap.values, pixels)


def in_view(heatmap: HeatmapLike, mask: Mask) -> Bools:
    """The mask in the view, bool (H, W). Raises HeatmapError if nothing of it, or nothing but it, is left there."""
    own = padding.in_view(mask, heatmap)
    carried = heatmap.carry(mask) if own is None else MaskInView(own)
    pixels, seen = carried.pixels, carried.seen
    if pixels.all():
        raise HeatmapError("the mask covers the whole view, so there is nothing to test; pass a smaller mask")
    if pixels.any():
        return pixels
    if own is not None:
        raise HeatmapError("the preprocess added no padding to this image; leave the check out where there is none")
    if seen:
        raise HeatmapError(
            f"the preprocess kept 0 % of the mask: {seen}; check the mask, or the crop of the preprocess"
        )
    raise HeatmapError("the mask has no pixel; check how it was made")


def decided(heatmap: HeatmapLike, check: OnMask, mask: Mask) -> tuple[Record, Bools | None]:
    """The record of the check, passed, failed or undecided, not settled; and the mask in the view, if it has a place there."""
    record, pixels = check.on(heatmap), None
    try:
        record = check.checked(record)
        if reason := heatmap.gate():
            raise HeatmapError(reason)
        pixels = in_view(heatmap, mask)
        record = check.within_reach(replace(record, mask_area=float(pixels.mean())), pixels)
        require_evidence(heatmap.grid, heatmap.subject)
        record = check.decided(_described(record, heatmap.values, pixels), check.figure(heatmap.values, pixels))
        record = require_certain(check, record, heatmap, pixels)
    except HeatmapError as error:
        record = settle.undecided(record, error)
    return record, pixels


def _settle(heatmap: HeatmapLike, check: OnMask, mask: Mask) -> None:
    """Measure, decide, settle; warn of what deserves a second look in a check that passed."""
    record, pixels = decided(heatmap, check, mask)
    doubts = list(check.doubts(record)) if record.figure is not None else []
    record = replace(record, details=(*record.details, *(("note", doubt) for doubt in doubts)))
    settle.settle(record, lambda kept: _draw(heatmap, check, pixels, kept))
    for doubt in doubts:  # after the record is kept, since a warning may be an error
        warnings.warn(doubt, GradcamWarning, stacklevel=5)


def _described(record: Record, values: Values, pixels: Bools) -> Record:
    """The record with the figures that every check on a mask shows."""
    places, share = metrics.peaks(values), metrics.mass(values, pixels)
    return replace(
        record,
        mass=share,
        lift=share / float(pixels.mean()),  # as metrics.lift, which would measure the mass again
        peak=(int(places[0][1]), int(places[0][0])),
        peaks=len(places),
    )


def _draw(heatmap: HeatmapLike, check: OnMask, pixels: Bools | None, record: Record) -> Image:
    panel = overlay.Panel(heatmap.view, heatmap.values, pixels, **check.marks(record, heatmap.values))
    return overlay.draw(panel, title=messages.title(record), lines=messages.lines(record))


def _favours(record: Record) -> str:
    if record.lift is None or record.lift < 1.5:
        return ""
    return (
        f"the attention does favour the mask (lift {record.lift:.1f}): if its outline is right, a mask of this size may need "
        "a lower bound, or a target layer with a finer grid"
    )
