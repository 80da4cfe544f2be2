"""Run lengths: right, or refused before they take time or memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_gradcam import masks
from pytest_gradcam.errors import HeatmapError

SHAPE = (12, 20)


def decoded(counts: Any) -> Any:
    return masks.from_coco({"id": 7, "segmentation": {"size": [12, 20], "counts": counts}}, SHAPE)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint64])
def test_arrays_of_any_integers(kind: Any) -> None:
    mask = decoded(np.array([24, 216], kind))
    assert not mask[:, :2].any()
    assert mask[:, 2:].all()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([2**62, 2**62, 2**62, 2**62, 240], "hold 4611686018427387904; expected integers of 0 or more"),
        (np.array([2**64 - 1, 241], np.uint64), "hold 18446744073709551615"),
        ([2**63 - 1, 2**63 - 1, 242], "hold 9223372036854775807"),
        ([-5, 245], "hold -5"),
        ([240.0], r"\[240\.0\] are not a list of integers"),
        ([True, 239], "are not a list of integers"),
        ([10**5000], "too long to print are not a list of integers"),
        ([[240]], "are not a list of integers"),
        ([], "are not a list of integers"),
        ([0] * 1000 + [240], "there are 1001 run lengths; .* at most 496 of them"),
        ("", "have 0 characters; expected 1 to 496"),
        ("o" * 1_000_000 + "0", "have 1000001 characters; expected 1 to 496 for a mask of 240 pixels"),
        ("o" * 30 + "0", "hold a number of 31 digits; expected at most 7"),
        ("o" * 6 + "O", "hold -1"),
        ("oo", "the last number finished"),
        ("P7 ", "expected the characters '0' to 'o'"),
        ("\ud800", "expected the characters '0' to 'o'"),
        (b"\xff\x00", "expected the characters '0' to 'o'"),
        (None, "None are not a list of integers"),
        ({"a": 1}, "are not a list of integers"),
    ],
)
def test_refused(counts: Any, message: str) -> None:
    with pytest.raises(HeatmapError, match=f"^COCO annotation 7: .*{message}") as caught:
        decoded(counts)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "stated", [None, 240, [12], [20, 12], ["12", "20"], [12.0, 20.0], [10**9, 10**9], [10**5000, 1]]
)
def test_another_size(stated: Any) -> None:
    with pytest.raises(HeatmapError, match=r"encoding is of size .*, the image \[12, 20\] \(H, W\)"):
        masks.from_coco({"segmentation": {"size": stated, "counts": [240]}}, SHAPE)
