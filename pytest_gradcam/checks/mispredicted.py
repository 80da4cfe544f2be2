"""What becomes of a test that names a class where the model predicts another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import messages, settle
from pytest_gradcam.evidence.current_test import current
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.heatmap import Heatmap


def settled(heatmap: Heatmap, policy: str, predicted: Callable[[], Heatmap]) -> Heatmap:
    """The heatmap that the policy wants: of the label, of the prediction, or of the label with the prediction beside it.

    `policy` is one of `settings.MISPREDICTED`. Raises FocusError under "fail", and ends the test under "skip".
    """
    if policy == "label" or not messages.is_mispredicted(heatmap.subject):
        return heatmap
    if policy == "prediction":
        return predicted()
    if policy == "both":
        heatmap.also = (predicted(),)
        return heatmap
    if policy == "skip":
        _skip(heatmap)
    settle.settle(verdict(heatmap), lambda record: heatmap.overlay())
    return heatmap


def verdict(heatmap: Heatmap) -> Record:
    """The failed check of the prediction."""
    subject = heatmap.subject
    (high, wide), (height, width) = heatmap.grid.shape, heatmap.values.shape
    return Record(
        check="prediction",
        measure="rank of the class",
        outcome="failed",
        figure=float(subject.rank or 0),
        bound=1.0,
        direction="at_most",
        finding=f"{_what(heatmap)}; expected {subject.target!r} to come first",
        advice="look at the image and its label, or explain the class anyway with gradcam_mispredicted = label",
        grid=(high, wide),
        view=(height, width),
        **asdict(subject),
    )


def _what(heatmap: Heatmap) -> str:
    subject = heatmap.subject
    rank = f" (rank {subject.rank} of {subject.classes})" if subject.rank is not None else ""
    return f"the model predicts {subject.predicted!r}, not {subject.target!r}{rank}"


def _skip(heatmap: Heatmap) -> None:
    test = current()
    if test is None:
        raise HeatmapError(f"{_what(heatmap)}, and there is no test to skip; set mispredicted to label or prediction")
    test.skip(f"{_what(heatmap)} in {heatmap.subject.image}")
