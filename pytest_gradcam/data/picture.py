"""The picture of a check on a data set: its figures against the bound, slices with intervals, and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_gradcam import overlay, plots
from pytest_gradcam.data.plan import Row
from pytest_gradcam.data.results import Results, View, figures
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

_SHOWN = 5  # images in a row of a contact sheet
_BINS = 30
_GROUPS = 12
_SHEET = 8  # rows of a contact sheet
#: What is shown where there is no image.
NOTHING = overlay.Panel(np.full((32, 64, 3), 255, np.uint8))
_PASSED, _FAILED, _OUTLINE = "#2a7f62", "#b3261e", "#00e5ff"


def worst_first(rows: Sequence[Row]) -> list[Row]:
    """The rows that have a figure, the one that is furthest on the wrong side of the bound first."""
    known = [row for row in rows if row["figure"] is not None]
    return sorted(known, key=lambda row: row["figure"] if row["direction"] == "at_least" else -row["figure"])


def typical(rows: Sequence[Row]) -> list[Row]:
    """The rows whose figures are closest to the median, closest first."""
    known = [row for row in rows if row["figure"] is not None]
    if not known:
        return []
    middle = float(np.median(figures(known)))
    return sorted(known, key=lambda row: abs(row["figure"] - middle))


def of_check(audit: Results, check: str, record: Record) -> Image:
    """The picture of a verdict on the check."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = audit.distinct(check) if check in audit.checks else []
    sheets = [("worst", worst_first(rows)[:_SHOWN]), ("typical", typical(rows)[:_SHOWN])]
    figure = Figure(figsize=(12, 9.5), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(plots.plain(fill(messages.title(record), 130)), fontsize=11)
    grid = figure.add_gridspec(3, _SHOWN, height_ratios=[1.3, 1, 1])
    _distribution(figure.add_subplot(grid[0, :3]), check, rows)
    _slices(figure.add_subplot(grid[0, 3:]), audit, check)
    for place, (label, chosen) in enumerate(sheets, 1):
        panels = thumbnails(audit, chosen)
        for column in range(_SHOWN):
            axes = figure.add_subplot(grid[place, column])
            axes.set_axis_off()
            if column < len(panels):
                _show(axes, panels[column])
                axes.set_title(plots.plain(f"{label}: {panels[column].caption}"), fontsize=8)
    return plots.rendered(canvas)


def contact_sheet(audit: Results, shown: Sequence[tuple[str, Any, Sequence[Row]]]) -> Image:
    """Of each label, mean heatmap (h, w) and rows of an audit: that heatmap beside the first of its images."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not shown:
        return overlay.draw_panels([NOTHING], title="no group of images has clusters of attention")
    count = min(len(shown), _SHEET)
    figure = Figure(figsize=(12, 2.2 * count), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for number, (label, heat, rows) in enumerate(shown[:count]):
        axes = figure.add_subplot(count, _SHOWN, number * _SHOWN + 1)
        axes.set_axis_off()
        axes.imshow(heat, cmap="inferno", vmin=0)
        axes.set_title(plots.plain(label[:30]), fontsize=8)
        for place, panel in enumerate(thumbnails(audit, rows[: _SHOWN - 1]), 2):
            axes = figure.add_subplot(count, _SHOWN, number * _SHOWN + place)
            axes.set_axis_off()
            _show(axes, panel)
            axes.set_title(plots.plain(panel.caption.rsplit(" ", 1)[0]), fontsize=8)
    return plots.rendered(canvas)


def below(above: Image, view: View | None) -> Image:
    """The picture of a verdict with that of a view of the same audit below it, if there was one."""
    from PIL import Image

    if view is None:
        return above
    other = view.picture
    whole = Image.new("RGB", (max(above.width, other.width), above.height + other.height), "white")
    whole.paste(above, (0, 0))
    whole.paste(other, (0, above.height))
    return whole


def _show(axes: Axes, panel: overlay.Panel) -> None:
    """A small panel, without a colour bar."""
    axes.imshow(panel.view)
    if panel.heat is not None:
        axes.imshow(np.nan_to_num(panel.heat), cmap="inferno", alpha=0.45)
    if panel.mask is not None and panel.mask.any() and not panel.mask.all():
        axes.contour(panel.mask, levels=[0.5], colors=[_OUTLINE], linewidths=1)


def thumbnails(audit: Results, rows: Sequence[Row]) -> list[overlay.Panel]:
    """The images of the rows with their heatmaps and masks; what cannot be read is left out, as is all without a model."""
    panels = []
    for row in rows:
        try:
            panels.append(_panel(audit, row))
        except HeatmapError:
            continue
    return panels


def _panel(audit: Results, row: Row) -> overlay.Panel:
    model, cases = audit.model, audit.cases
    assert cases is not None
    case = cases[row["place"]]
    image_input = model.engine.read(case.read_image())
    heatmap = model.labelled([image_input], [case.target])[0]
    mask = case.read_mask("invalid" if row["check"] == "focus_avoids" else "mask")
    pixels = None if mask is None else image_input.carry(mask).pixels
    return overlay.Panel(heatmap.view, heatmap.values, pixels, f"{row['case'][-24:]} {row['figure'] or 0:.3g}")


def _distribution(axes: Axes, check: str, rows: Sequence[Row]) -> None:
    axes.set_title(plots.plain(f"{check}: figures of {len(rows)} images"), fontsize=9)
    values, bounds = figures(rows), sorted({row["bound"] for row in rows if row["bound"] is not None})
    if not len(values):
        return
    edges = np.histogram_bin_edges(np.append(values, bounds), _BINS).tolist()
    for outcome, colour in (("passed", _PASSED), ("failed", _FAILED)):
        own = figures([row for row in rows if row["outcome"] == outcome])
        axes.hist(own, bins=edges, color=colour, alpha=0.8, label=f"{len(own)} {outcome}")
    for bound in bounds:
        axes.axvline(bound, color="black", linestyle="--", linewidth=1)
    axes.legend(fontsize=8)


def _slices(axes: Axes, audit: Results, check: str) -> None:
    """Rates with their intervals: of all images, and of the lowest groups."""
    if check not in audit.checks:
        axes.set_axis_off()
        return
    found: list[tuple[str, Any]] = [("all images", audit.rate(check))]
    for name in audit.slices:
        found += [(f"{name} {rate.group}", rate) for rate in audit.rates(check, by=name).values()]
    found = [found[0], *sorted(found[1:], key=lambda each: each[1].upper)[: _GROUPS - 1]]
    for place, (_, rate) in enumerate(found):
        axes.plot([rate.lower, rate.upper], [-place] * 2, color="black", linewidth=1.5)
        axes.plot([rate.interval.value], [-place], "o", color=_PASSED, markersize=5)
    axes.set_yticks(
        [-place for place in range(len(found))], [plots.plain(label[:28]) for label, _ in found], fontsize=7
    )
    axes.set_xlim(-0.02, 1.02)
    axes.set_title("rates with 95 % intervals", fontsize=9)
