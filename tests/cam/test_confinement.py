"""How far a replaced part of the input shows in its own cell, on functions whose answer is known."""

from __future__ import annotations

from math import inf, isnan

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from pytest_gradcam.cam.confinement import confinement

IMAGE = torch.randn(1, 3, 24, 36, generator=torch.Generator().manual_seed(0))


def _shared(share: float, x: Tensor) -> Tensor:
    """Each cell holds its own place, and this share of the average place."""
    own = avg_pool2d(x, 6)
    return own + share * own.sum((2, 3), keepdim=True)


def test_a_layer_of_patches_changes_nowhere_else() -> None:
    assert confinement(lambda x: avg_pool2d(x, 6), IMAGE) == inf


@pytest.mark.parametrize(("share", "expected"), [(1.0, 2.0), (0.5, 3.0), (10.0, 1.1)])
def test_what_all_cells_share_shows_everywhere(share: float, expected: float) -> None:
    assert confinement(lambda x: _shared(share, x), IMAGE) == pytest.approx(expected, rel=1e-4)


def test_a_layer_without_places_has_one() -> None:
    assert confinement(lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 2, 3), IMAGE) == pytest.approx(1)


def test_a_mirrored_layer_has_less_than_one() -> None:
    assert confinement(lambda x: avg_pool2d(x.flip(2, 3), 6), IMAGE) < 0.5


def test_a_layer_that_never_changes_has_none() -> None:
    assert isnan(confinement(lambda x: torch.ones(1, 3, 2, 3), IMAGE))


@pytest.mark.parametrize(("share", "passes"), [(0.5, 3), (1.0, 6)])
def test_two_blocks_are_enough_where_they_show_clearly(share: float, passes: int) -> None:
    seen = []

    def look(x: Tensor) -> Tensor:
        seen.append(x)
        return _shared(share, x)

    confinement(look, IMAGE, 2.5)
    assert len(seen) == passes  # with one of the image itself


def test_the_image_is_left_alone() -> None:
    before = IMAGE.clone()
    confinement(lambda x: avg_pool2d(x, 6), IMAGE)
    assert torch.equal(IMAGE, before)
