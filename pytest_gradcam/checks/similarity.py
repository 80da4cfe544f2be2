"""Two heatmaps: how similar they are, the check on it, and the picture of both."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_gradcam import metrics, overlay
from pytest_gradcam.errors import HeatmapError, NoEvidenceError
from pytest_gradcam.evidence import messages, settle
from pytest_gradcam.evidence.check import Check
from pytest_gradcam.evidence.messages import expected, number
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.grids import averaged, is_flat, require_evidence, resize
from pytest_gradcam.metrics import Similarity
from pytest_gradcam.questions.protocols import MapOnView, Values, is_heatmap

if TYPE_CHECKING:
    from PIL.Image import Image

_PHRASES: dict[Similarity, str] = {
    "spearman": "has a rank correlation of {}",
    "ssim": "has a structural similarity of {}",
    "iou": "above 0.2 of its maximum has an IoU of {}",
}


@dataclass(frozen=True)
class Alike(Check):
    """A check that this heatmap is like another one."""

    kind: Similarity = "spearman"

    @property
    @abstractmethod
    def other_one(self) -> str:
        """The words for the other heatmap in a sentence."""

    def finding(self, record: Record, figure: float, bound: float) -> str:
        whose = f" for {record.target!r}" if record.target else ""
        has = _PHRASES[self.kind].format(number(figure, unlike=bound))
        return (
            f"the heatmap{whose} {has} with {self.other_one}; {expected(self.direction)} {number(bound, unlike=figure)}"
        )


@dataclass(frozen=True)
class Similar(Alike):
    """The heatmap is like another one that the test made."""

    other: Any = None

    name, measure = "similar", "similarity"

    @property
    def other_one(self) -> str:
        target = self.other.subject.target
        return f"the one for {target!r}" if target else "the one that it was compared with"

    def advice(self, record: Record) -> str:
        return "look at the picture: it shows what is missing and what is new in this heatmap"


def similarity(heatmap: MapOnView, other: Any, *, kind: Similarity = "spearman") -> float:
    """How similar the grids of two heatmaps are, as `metrics.similarity` defines it: 1 if equal up to a positive factor.

    If the grids differ in size, the finer one is averaged over the cells of the coarser one.
    Raises NoEvidenceError if either is zero or the same everywhere; HeatmapError if their views differ in aspect, or if
    the other is not a heatmap.
    """
    if not is_heatmap(other):
        raise HeatmapError(
            f"{type(other).__name__} is not a heatmap; pass a Heatmap to compare with (Heatmap.from_array)"
        )
    return between(heatmap, other, kind=kind)


def between(heatmap: MapOnView, other: MapOnView, *, kind: Similarity) -> float:
    """The `similarity` of two maps."""
    return metrics.similarity(*_in_one_size(heatmap, other), kind=kind)


def assert_similar(heatmap: MapOnView, other: Any, *, at_least: float, kind: Similarity) -> None:
    """As `Heatmap.assert_similar` says."""
    check = Similar(at_least, kind, other)

    def measure(record: Record) -> Record:
        record = check.checked(record)
        if other is heatmap:
            raise HeatmapError("other is this very heatmap, which is always similar to itself; pass another one")
        figure = similarity(heatmap, other, kind=kind)
        return check.decided(replace(record, details=(("other", _described(other)), *_sizes(heatmap, other))), figure)

    beside = other if is_heatmap(other) else None
    settle.judge(
        check.on(heatmap), measure, lambda record: draw(heatmap, beside, ("this heatmap", "the other"), record)
    )


def draw(heatmap: MapOnView, other: MapOnView | None, captions: tuple[str, str], record: Record) -> Image:
    """Both heatmaps, what is missing from the first and what is new in it; each was divided by its maximum before."""
    panels = [overlay.Panel(heatmap.view, heatmap.values)]
    if other is not None and _comparable(heatmap, other):
        this, that = _scaled(heatmap.values), _scaled(resize(other.values, heatmap.values.shape))
        panels = [
            overlay.Panel(heatmap.view, this, caption=captions[0], top=1),
            overlay.Panel(other.view, _scaled(other.values), caption=captions[1], top=1),
            overlay.Panel(heatmap.view, (that - this).clip(0), caption="missing here", top=1),
            overlay.Panel(heatmap.view, (this - that).clip(0), caption="new here", top=1),
        ]
    return overlay.draw_panels(panels, title=messages.title(record), lines=messages.lines(record))


def _in_one_size(heatmap: MapOnView, other: MapOnView) -> Iterator[Values]:
    for which, each in (("this", heatmap), ("the other", other)):
        try:
            require_evidence(each.grid, each.subject)
        except HeatmapError as error:
            raise type(error)(f"{which} heatmap cannot be compared: {error}") from None
    if not _comparable(heatmap, other):
        sizes = " and ".join(f"{h} x {w}" for h, w in (heatmap.values.shape, other.values.shape))
        raise HeatmapError(f"views of {sizes} px differ in aspect, so no cell has a counterpart; compare equal crops")
    height, width = _coarser(heatmap, other)
    alike = heatmap.subject.centres == other.subject.centres
    for which, each in (("this", heatmap), ("the other", other)):
        grid = averaged(each.grid if alike else each.values, (height, width))
        if is_flat(grid):
            raise NoEvidenceError(
                f"on {height} x {width} cells {which} heatmap is the same everywhere, so no similarity is defined; "
                "choose a layer with a finer grid"
            )
        yield grid


def _coarser(heatmap: MapOnView, other: MapOnView) -> tuple[int, int]:
    """(h, w) of the smaller grid."""
    (h, w), (high, wide) = heatmap.grid.shape, other.grid.shape
    return min(h, high), min(w, wide)


def _comparable(heatmap: MapOnView, other: MapOnView) -> bool:
    """Whether the views are of one aspect: brought to one height they are less than a pixel apart in width."""
    (height, width), (high, wide) = heatmap.values.shape, other.values.shape
    return bool(abs(width * high - wide * height) < max(height, high))


def _scaled(values: Values) -> Values:
    finite = np.nan_to_num(values, nan=0, posinf=0)
    top = finite.max()
    return finite / top if top > 0 else finite


def _described(heatmap: MapOnView) -> str:
    subject = heatmap.subject
    h, w = heatmap.grid.shape
    score = f", score {subject.score:.4g}" if subject.score is not None else ""
    parts = [f"{subject.target!r}{score}" if subject.target else "", subject.layer, subject.method, subject.image]
    return ", ".join([*(part for part in parts if part), f"grid {h} x {w}"])


def _sizes(heatmap: MapOnView, other: MapOnView) -> tuple[tuple[str, str], ...]:
    if heatmap.grid.shape == other.grid.shape:
        return ()
    height, width = _coarser(heatmap, other)
    return (("compared", f"on {height} x {width} cells, each the mean of what it covers"),)
