"""Two heatmaps beside each other: how alike they are, the check that they are, and the picture of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import metrics, overlay
from pytest_gradcam.errors import HeatmapError, NoEvidenceError
from pytest_gradcam.evidence import bounds, messages, settle
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.metrics import Similarity

if TYPE_CHECKING:
    from PIL.Image import Image

    from pytest_gradcam.heatmap import Heatmap

Grid = NDArray[np.float32]


_PHRASES: dict[Similarity, str] = {
    "spearman": "has a rank correlation of {}",
    "ssim": "has a structural similarity of {}",
    "iou": "above 0.2 of its maximum has an IoU of {}",
}


def similarity(one: Heatmap, other: Heatmap, *, kind: Similarity = "spearman") -> float:
    """How alike the grids of two heatmaps are, as `metrics.similarity` defines it: 1 if equal up to a positive factor.

    Where the grids differ in size, the finer one is averaged over the cells of the coarser one.
    Raises NoEvidenceError if either is zero or the same everywhere; HeatmapError if their views differ in aspect.
    """
    return metrics.similarity(*_one_size(one, other), kind=kind)


def assert_similar(one: Heatmap, other: Heatmap, *, at_least: float, kind: Similarity) -> None:
    """As `Heatmap.assert_similar` says."""

    def measure(check: Record) -> Record:
        check = bounds.settled(check)
        if other is one:
            raise HeatmapError("other is this very heatmap, which is always similar to itself; pass another one")
        figure = similarity(one, other, kind=kind)
        details = (("other", _described(other)), *_sizes(one, other))
        return judged(replace(check, details=details), figure, kind, f"the one{_whose(other)}")

    check = one.record(Record(check="similar", measure="similarity", bound=at_least))
    settle.judge(check, measure, lambda record: draw(one, other, ("this heatmap", "the other"), record))


def judged(check: Record, figure: float, kind: Similarity, with_what: str) -> Record:
    """The check with its verdict and, in one sentence, how alike this heatmap and the other are."""
    bound = check.bound
    assert bound is not None
    whose = f" for {check.target!r}" if check.target else ""
    has = _PHRASES[kind].format(messages.number(figure, unlike=bound))
    found = f"the heatmap{whose} {has} with {with_what}"
    return replace(
        check,
        outcome="passed" if figure >= bound else "failed",
        figure=figure,
        finding=f"{found}; expected at least {messages.number(bound, unlike=figure)}",
        advice=check.advice or "look at the picture: it shows what is missing and what is new in this heatmap",
    )


def draw(one: Heatmap, other: Heatmap | None, captions: tuple[str, str], record: Record) -> Image:
    """Both heatmaps, what is missing from the first and what is new in it; each was divided by its maximum before."""
    from pytest_gradcam.heatmap import Heatmap, resize

    title = messages.title(record)
    lines = [f"{label:<11}{phrase}" for label, phrase in messages.rows(record) if label != "picture"]
    panels = [overlay.Panel(one.view, one.values)]
    if isinstance(other, Heatmap) and _comparable(one, other):
        this, that = _scaled(one.values), _scaled(resize(other.grid, one.values.shape))
        panels = [
            overlay.Panel(one.view, this, caption=captions[0], top=1),
            overlay.Panel(other.view, _scaled(other.values), caption=captions[1], top=1),
            overlay.Panel(one.view, (that - this).clip(0), caption="missing here", top=1),
            overlay.Panel(one.view, (this - that).clip(0), caption="new here", top=1),
        ]
    return overlay.draw_panels(panels, title=title, lines=lines)


def cells(grid: Grid, shape: tuple[int, int]) -> Grid:
    """The grid averaged over the cells of one of this shape, each part of a cell by its area."""
    from skimage.transform import resize_local_mean

    return grid if grid.shape == shape else resize_local_mean(grid, shape).astype(np.float32)


def _one_size(one: Heatmap, other: Heatmap) -> Iterator[Grid]:
    from pytest_gradcam.heatmap import ROUNDING, Heatmap

    if not isinstance(other, Heatmap):
        raise HeatmapError(f"{type(other).__name__} is no heatmap to compare with; pass a Heatmap (Heatmap.from_array)")
    for which, heatmap in (("this", one), ("the other", other)):
        try:
            _ = heatmap.peak
        except HeatmapError as error:
            raise type(error)(f"{which} heatmap cannot be compared: {error}") from None
    if not _comparable(one, other):
        sizes = " and ".join(f"{h} x {w}" for h, w in (one.values.shape, other.values.shape))
        raise HeatmapError(f"views of {sizes} px differ in aspect, so no cell has a counterpart; compare equal crops")
    height, width = _coarser(one, other)
    for which, heatmap in (("this", one), ("the other", other)):
        grid = cells(heatmap.grid, (height, width))
        if np.ptp(grid) <= ROUNDING * grid.max():
            raise NoEvidenceError(
                f"on {height} x {width} cells {which} heatmap is the same everywhere, so no likeness means anything; "
                "choose a layer with a finer grid"
            )
        yield grid


def _coarser(one: Heatmap, other: Heatmap) -> tuple[int, int]:
    """(h, w) of the smaller grid."""
    (h, w), (high, wide) = one.grid.shape, other.grid.shape
    return min(h, high), min(w, wide)


def _comparable(one: Heatmap, other: Heatmap) -> bool:
    """Whether the views are of one aspect: brought to one height they are less than a pixel apart in width."""
    (height, width), (high, wide) = one.values.shape, other.values.shape
    return bool(abs(width * high - wide * height) < max(height, high))


def _scaled(values: Grid) -> Grid:
    finite = np.nan_to_num(values, nan=0, posinf=0)
    top = finite.max()
    return finite / top if top > 0 else finite


def _whose(heatmap: Heatmap) -> str:
    return f" for {heatmap.target!r}" if heatmap.target else " that it was compared with"


def _described(heatmap: Heatmap) -> str:
    subject = heatmap.subject
    h, w = heatmap.grid.shape
    score = f", score {subject.score:.4g}" if subject.score is not None else ""
    parts = [f"{subject.target!r}{score}" if subject.target else "", subject.layer, subject.method, subject.image]
    return ", ".join([*(part for part in parts if part), f"grid {h} x {w}"])


def _sizes(one: Heatmap, other: Heatmap) -> tuple[tuple[str, str], ...]:
    if one.grid.shape == other.grid.shape:
        return ()
    height, width = _coarser(one, other)
    return (("compared", f"on {height} x {width} cells, each the mean of what it covers"),)
