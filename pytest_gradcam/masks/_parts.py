"""The connected parts of a mask, without SciPy, which takes longer to import than ten pictures take to paint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Run = tuple[int, int, int]


def parts(mask: NDArray[np.bool_]) -> list[list[Run]]:
    """The parts of a mask (H, W), each by its runs (row, first column, the one behind the last); corners connect."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).view(np.int8), axis=1)
    (rows, first), behind = np.nonzero(edges == 1), np.nonzero(edges == -1)[1]
    runs: list[Run] = list(zip(rows.tolist(), first.tolist(), behind.tolist(), strict=True))
    parent, above = list(range(len(runs))), 0
    for number, (row, start, end) in enumerate(runs):
        while runs[above][0] < row - 1 or (runs[above][0] == row - 1 and runs[above][2] < start):
            above += 1
        other = above
        while runs[other][0] == row - 1 and runs[other][1] <= end:
            parent[_root(parent, other)] = _root(parent, number)
            other += 1
    found: dict[int, list[Run]] = {}
    for number, run in enumerate(runs):
        found.setdefault(_root(parent, number), []).append(run)
    return list(found.values())


def _root(parent: list[int], number: int) -> int:
    while parent[number] != number:
        parent[number] = parent[parent[number]]
        number = parent[number]
    return number
