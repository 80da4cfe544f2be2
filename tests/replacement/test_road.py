"""Linear imputation: against pytorch-grad-cam's ROAD, and where the answer is known."""

import warnings

import numpy as np
import pytest
import torch

from pytest_gradcam.replacement import road

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer


pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # theirs, on a tensor as an array


def image(side=24, seed=0):
    smooth = np.cumsum(np.random.default_rng(seed).normal(size=(3, side, side)), axis=1)
    return (smooth / smooth.std()).astype(np.float32)


def blob(side=24):
    y, x = np.mgrid[:side, :side]
    return (y - 5) ** 2 + (x - side) ** 2 < (side * 0.6) ** 2  # at the rim, where neighbours are missing


@pytest.mark.parametrize(
    "missing",
    [blob(), ~blob(), np.random.default_rng(1).random((24, 24)) < 0.5, np.arange(576).reshape(24, 24) != 300],
    ids=["at the rim", "all around", "scattered", "all but one"],
)
def test_it_is_roads_with_the_same_noise(missing):
    torch_image = torch.tensor(image())
    theirs = NoisyLinearImputer(noise=0)(torch_image, torch.tensor(~missing).float()).numpy()
    ours = road.linear(image(), missing)
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    torch.manual_seed(0)
    drawn = NoisyLinearImputer(noise=0.01)(torch_image, torch.tensor(~missing).float()).numpy()
    torch.manual_seed(0)
    ours[:, missing] += 0.01 * torch.randn(3, int(missing.sum())).numpy()  # in their order
    np.testing.assert_allclose(ours, drawn, atol=2e-4)


def test_a_slope_is_continued():
    slope = np.broadcast_to(np.arange(16.0), (2, 16, 16))
    missing = np.zeros((16, 16), bool)
    missing[4:12, 4:12] = True
    np.testing.assert_allclose(road.linear(slope, missing), slope, atol=1e-3)


def test_what_is_known_stays_and_nothing_leaves_the_range():
    given, missing = image(), blob()
    before = given.copy()
    filled = road.linear(given, missing)
    np.testing.assert_array_equal(given, before)
    np.testing.assert_array_equal(filled[:, ~missing], given[:, ~missing])
    assert filled.min() >= given.min() - 1e-3
    assert filled.max() <= given.max() + 1e-3


def test_where_nothing_is_missing_and_where_all_is():
    given = image()
    np.testing.assert_array_equal(road.linear(given, np.zeros((24, 24), bool)), given)
    np.testing.assert_allclose(
        road.linear(given, np.ones((24, 24), bool)),
        np.broadcast_to(given.mean((1, 2), keepdims=True), given.shape),
    )
