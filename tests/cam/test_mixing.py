"""Whether the images of a batch change each other's output, and what becomes of their heatmaps if they do."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer
from pytest_gradcam.cam.mixing import Mixing
from pytest_gradcam.state.guard import untouched


class Net(nn.Sequential):
    """A small classifier."""

    def __init__(self, norm):
        torch.manual_seed(0)
        conv, head = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 3)
        super().__init__(conv, norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
        self.eval()


class MinusMeanOfBatch(nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True) / 2


MIXING = [nn.BatchNorm2d(8, track_running_stats=False), MinusMeanOfBatch()]
APART = [nn.BatchNorm2d(8), nn.InstanceNorm2d(8), nn.GroupNorm(2, 8), nn.Identity()]


def images(count=5):
    return list(torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("norm", "mixes"), [(n, True) for n in MIXING] + [(n, False) for n in APART], ids=repr)
def test_is_measured(norm, mixes, dtype):
    model = Net(norm).to(dtype)
    with untouched(model):
        assert Mixing().of(model, torch.stack(images()).to(dtype)) is mixes
    norm.to(torch.float32)


def test_is_measured_once_for_a_structure():
    model, mixing, sizes = Net(nn.BatchNorm2d(8)), Mixing(), []
    model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    with untouched(model):
        assert [mixing.of(model, torch.stack(images())) for _ in range(3)] == [False] * 3
        assert sorted(sizes) == [1, 2]
        norm = model[1]
        norm.running_mean = norm.running_var = None
        assert mixing.of(model, torch.stack(images()))


@pytest.mark.parametrize("norm", MIXING, ids=repr)
@pytest.mark.parametrize("method", ["gradcam", "scorecam", "fullgrad"])
def test_the_map_of_a_batch_is_that_of_the_single_image(norm, method):
    if method == "fullgrad":
        norm = MinusMeanOfBatch()
    explainer = Explainer(Net(norm), method=method, layer="0", batch_size=3)
    together = explainer.batch(images(), [0] * 5)
    for image, found in zip(images(), together, strict=True):
        alone = explainer(image, 0)
        assert found.subject.score == pytest.approx(alone.subject.score, rel=1e-5)
        np.testing.assert_allclose(found.grid, alone.grid, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(explainer.predict(images()), [explainer.predict([i])[0] for i in images()], rtol=1e-5)


def test_images_that_do_not_mix_share_a_forward_pass_and_a_single_one_is_not_measured():
    model, sizes = Net(nn.BatchNorm2d(8)), []
    model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    explainer = Explainer(model)
    explainer.predict(images(1))
    assert sizes == [1, 1, 1, 1]  # three to see once what the outputs are, and whether they repeat themselves
    explainer.predict(images())
    assert sizes[4:] == [2, 1, 5]


def test_a_copy_of_one_image_beside_itself_does_not_hide_it():
    explainer = Explainer(Net(MinusMeanOfBatch()))
    same, other = images(2)
    explainer.batch([same, same], [0, 0])
    np.testing.assert_allclose(explainer.batch([same, other], [0, 0])[0].grid, explainer(same, 0).grid, rtol=1e-5)
