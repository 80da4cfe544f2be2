"""The connected parts of a mask are those that SciPy finds."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from pytest_gradcam.masks._parts import parts


@pytest.mark.parametrize("seed", range(200))
def test_they_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.random(rng.integers(1, 50, 2)), rng.uniform(0, 3))
    mask = field > np.quantile(field, rng.uniform(0, 1))
    expected, count = label(mask, np.ones((3, 3)))
    found = np.zeros_like(expected)
    for number, runs in enumerate(parts(mask), 1):
        for row, start, end in runs:
            found[row, start:end] = number
    assert found.max(initial=0) == count
    assert len(np.unique(np.stack([found, expected])[:, mask], axis=1).T) == count


@pytest.mark.parametrize("value", [False, True])
def test_an_even_mask(value):
    assert parts(np.full((2, 3), value)) == ([[(0, 0, 3), (1, 0, 3)]] if value else [])
