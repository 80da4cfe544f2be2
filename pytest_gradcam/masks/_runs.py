"""Run lengths: the pixels of a mask as runs of 0 and 1 in turn, 0 first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks._arguments import Bools, holds_flags, shown

_FIRST, _CONTINUES, _NEGATIVE = 48, 0x20, 0x10
_MOST_DIGITS = 7  # of 5 bits each: COCO's own runs have 32 bits
Ints = NDArray[np.int64]


def unrolled(runs: Any, pixels: int) -> Bools:
    """The mask as one row of `pixels` pixels. Raises HeatmapError unless the runs, integers of 0 or more, add up to it."""
    expected = f"expected integers of 0 or more that add up to the {pixels} pixels of the mask"
    try:
        lengths = np.asarray(runs)
    except (ValueError, OverflowError, RecursionError) as error:
        raise HeatmapError(f"the run lengths {shown(runs)} are not a list of integers; {expected}") from error
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or not lengths.size or holds_flags(runs):
        raise HeatmapError(f"the run lengths {shown(runs)} are not a list of integers; {expected}")
    if lengths.size > _most(pixels):
        raise HeatmapError(f"there are {lengths.size} run lengths; {expected}, at most {_most(pixels)} of them")
    # Each is compared before they are added up: a sum can overflow to the right number.
    if lengths.min() < 0 or lengths.max() > pixels:
        wrong = lengths.min() if lengths.min() < 0 else lengths.max()
        raise HeatmapError(f"the run lengths hold {wrong}; {expected}; the encoding is damaged or of another image")
    lengths = lengths.astype(np.int64)
    total = int(lengths.sum())
    if total != pixels:
        raise HeatmapError(
            f"the run lengths add up to {total} pixels; {expected}; the encoding is cut off or of another image"
        )
    return np.repeat(np.arange(lengths.size) % 2 == 1, lengths)


def decompressed(text: str | bytes, pixels: int) -> Ints:
    """The runs of COCO's compressed encoding of a mask of `pixels` pixels; they may still be of a wrong length.

    The text holds numbers of base 32, low digit first, in the characters '0' to 'o'; from the fourth run on a number is
    what the run differs from the one two before. Raises HeatmapError for other characters, numbers of more than 7 digits,
    an unfinished number, and a longer text than any mask of this size needs.
    """
    coded = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if not coded or len(coded) > _most(pixels):
        raise HeatmapError(
            f"the compressed run lengths have {len(coded)} characters; expected 1 to {_most(pixels)} for a mask of "
            f"{pixels} pixels; export the annotation again"
        )
    digits = np.frombuffer(coded, np.uint8) - np.uint8(_FIRST)  # characters before '0' wrap round to large numbers
    if digits.max() >= 64 or digits[-1] & _CONTINUES:
        raise HeatmapError(
            f"{shown(text)} is not a compressed run-length encoding; expected the characters '0' to 'o', and the last "
            "number finished; the text may be cut off, or escaped twice"
        )
    return _runs(_numbers(digits.astype(np.int64)))


def _most(pixels: int) -> int:
    """More runs, and more characters of compressed text, than any mask of this many pixels needs."""
    return 2 * pixels + 16


def _numbers(digits: Ints) -> Ints:
    ends = np.flatnonzero(~digits & _CONTINUES)
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends - starts + 1
    if lengths.max() > _MOST_DIGITS:
        raise HeatmapError(
            f"the compressed run lengths hold a number of {lengths.max()} digits; expected at most {_MOST_DIGITS}; "
            "export the annotation again"
        )
    places = np.arange(digits.size) - np.repeat(starts, lengths)
    values: Ints = np.add.reduceat((digits & 0x1F) << (5 * places), starts)
    negative = (digits[ends] & _NEGATIVE) != 0
    values[negative] -= np.int64(1) << (5 * lengths[negative])
    return values


def _runs(numbers: Ints) -> Ints:
    runs = numbers.copy()
    runs[1::2] = np.cumsum(numbers[1::2])
    runs[2::2] = np.cumsum(numbers[2::2])
    return runs
