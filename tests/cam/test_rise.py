"""RISE and occlusion, on models that read one place, and against the paper's formula."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, FocusError, HeatmapError, NoEvidenceError, masks
from pytest_gradcam.cam.masked_scores import cells, of_image
from pytest_gradcam.cam.outputs import Goal
from pytest_gradcam.cam.rise import _masks, rise

SIDE, PATCH = 56, 10


class Patch(nn.Module):
    """Class 0 scores the red of one patch, class 1 the green of the whole image; it counts its images."""

    def __init__(self, x, y):
        super().__init__()
        self.place, self.count = (slice(y, y + PATCH), slice(x, x + PATCH)), 0

    def forward(self, batch):
        self.count += len(batch)
        down, across = self.place
        return torch.stack([batch[:, 0, down, across].mean((1, 2)).tanh(), 0.3 * batch[:, 1].mean((1, 2))], 1)


def picture(x, y, seed=0):
    image = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    image[0, y : y + PATCH, x : x + PATCH] = 1.5
    return image


def box(x, y):
    return masks.box((SIDE, SIDE), (x, y, x + PATCH, y + PATCH))


PLACES = [tuple(map(int, place)) for place in np.random.default_rng(0).integers(0, SIDE - PATCH, (12, 2))]


def test_rise_peaks_where_the_patch_decides_in_at_most_1000_passes():
    hits = 0
    for x, y in PLACES:
        model = Patch(x, y)
        heatmap = Explainer(model, method="rise", rise_masks=900)(picture(x, y), 0)
        hits += heatmap.hits(box(x, y), tolerance=SIDE / 14)  # a cell of the map
        assert model.count <= 1000
    assert hits >= 11


def test_occlusion_peaks_there_too():
    assert sum(
        Explainer(Patch(*place), method="occlusion")(picture(*place), 0).hits(box(*place), tolerance=SIDE / 14)
        for place in PLACES
    ) == len(PLACES)


def test_rise_is_the_papers_map_but_for_a_factor_and_a_constant():
    """Its formula over full-size masks, each weighted by its score, averaged over the cells."""
    model, image, count = Patch(10, 30), picture(10, 30), 200
    with torch.no_grad():
        grids, _ = rise(of_image(model, image[None], [Goal(0)], 16), count)
        drawn = torch.stack(list(_masks((SIDE, SIDE), count)))
        mean = image.mean((1, 2), keepdim=True)
        scores = model(mean + drawn[:, None] * (image - mean))[:, 0]
    flat = torch.nn.functional.adaptive_avg_pool2d(drawn[None], (14, 14))[0].flatten(1)
    shares, scores = flat.double().numpy(), scores.double().numpy()
    expected = (scores @ shares) / shares.sum(0)  # E[score | shown], each cell by how often it is shown
    spread = shares.var(0) / shares.mean(0)
    np.testing.assert_allclose(expected, scores.mean() + grids[0].ravel() * spread, atol=1e-5)


def test_the_standard_error_is_that_of_other_masks(monkeypatch):
    from pytest_gradcam.cam import rise as module

    model, image = Patch(10, 30), picture(10, 30)
    said = Explainer(model, method="rise", rise_masks=100)(image, 0).standard_error
    maps = []
    for seed in range(1, 17):
        monkeypatch.setattr(module, "_SEED", seed)
        maps.append(rise(of_image(model, image[None], [Goal(0)], 64), 100)[0][0])
    found = np.std(maps, axis=0, ddof=1)
    assert np.median(said[said > 0] / found[said > 0]) == pytest.approx(1, abs=0.35)


def test_the_map_is_the_same_each_time_and_in_every_batch():
    image = picture(10, 30)
    one, other = (
        Explainer(Patch(10, 30), method="rise", rise_masks=100, batch_size=size)(image, 0) for size in (7, 64)
    )
    np.testing.assert_allclose(one.grid, other.grid, atol=1e-6)
    before = torch.get_rng_state()
    Explainer(Patch(10, 30), method="rise", rise_masks=100)(image, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_several_targets_share_the_passes():
    model, image = Patch(10, 30), picture(10, 30)
    both = Explainer(model, method="rise", rise_masks=200).compare(image, [0, 1])
    assert model.count < 250
    one = Explainer(model, method="rise", rise_masks=200)(image, 1)
    np.testing.assert_allclose(both[1].grid, one.grid, atol=1e-6)


def test_a_view_that_is_no_square_has_square_cells():
    assert cells((64, 128), 7) == (7, 14)
    heatmap = Explainer(Patch(10, 30), method="rise", rise_masks=60)(torch.rand(3, 64, 128), 0)
    assert heatmap.grid.shape == (14, 28)
    assert heatmap.values.shape == (64, 128)
    assert cells((3, 3), 7) == (3, 3)


def test_a_callable_target():
    heatmap = Explainer(Patch(10, 30), method="occlusion")(picture(10, 30), lambda output: output[0])
    assert heatmap.hits(box(10, 30), tolerance=5)


def test_a_verdict_that_the_masks_error_decides_is_none():
    x, y = 10, 30
    heatmap = Explainer(Patch(x, y), method="rise", rise_masks=100)(picture(x, y), 0)
    found = heatmap.mass(box(x, y))
    heatmap.assert_focus_within(box(x, y), at_least=found / 4)
    with pytest.raises(FocusError):
        heatmap.assert_focus_within(box(x, y), at_least=min(0.95, 4 * found))
    for bound in (found * 0.99, found * 1.01):
        with pytest.raises(
            HeatmapError, match=r"estimate from random masks, and its error decides.*raise gradcam_rise_masks"
        ):
            heatmap.assert_focus_within(box(x, y), at_least=bound)


def test_nothing_that_matters_is_no_evidence():
    constant = Explainer(lambda batch: batch.new_ones(len(batch), 2) * torch.tensor([2.0, 0.0]), method="occlusion")
    with pytest.raises(NoEvidenceError):
        constant(picture(10, 30), 0).assert_focus_within(box(10, 30))


def test_scores_that_are_not_finite_are_refused():
    def model(batch):
        scores = batch.mean((2, 3))
        return torch.where(batch[:, :1, 0, 0] == 0, torch.nan, scores) if len(batch) > 1 else scores / 0 * 0

    with pytest.raises(HeatmapError, match="NaN or infinite"):
        Explainer(model, method="rise", rise_masks=60)(picture(10, 30), 0)


@pytest.mark.parametrize("count", [0, 49, True, 2.5, "many"])
def test_too_few_masks_are_refused(count):
    with pytest.raises(HeatmapError, match="rise_masks=.* expected a whole number of at least 50"):
        Explainer(Patch(0, 0), rise_masks=count)
