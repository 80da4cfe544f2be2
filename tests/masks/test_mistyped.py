"""A value of a wrong type in any place of an annotation file leads to the right mask or to one line that refuses it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pytest_gradcam.errors import HeatmapError
from tests.masks.mistyped import cases


def test_every_mistyped_file_is_read_right_or_refused_in_one_line(tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for name, read, right in cases(tmp_path):
        try:
            mask = read()
        except HeatmapError as error:
            message = str(error)
            assert "\n" not in message, name
            assert len(message) < 700, name
            outcomes["refused"] += 1
        else:
            assert mask.shape == right.shape, name
            assert (mask == right).all(), name
            outcomes["right"] += 1
    assert outcomes["refused"] > 1500
    assert outcomes["right"] > 1000  # what no mask depends on may hold anything
