"""Images of other kinds than 8-bit colour: deep ones through a window, many channels, videos and volumes."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pytest_gradcam import Explainer, HeatmapError, masks
from pytest_gradcam.inputs.mask_transform import display
from pytest_gradcam.perturbations import brightness

SIDE = 32
SQUARE = masks.box((SIDE, SIDE), (0, 0, 16, 16))


class Mean(nn.Module):
    """Class 0 scores the mean of the first channel's left upper quarter, class 1 a constant."""

    def __init__(self, channels=1):
        super().__init__()
        self.features = nn.Conv2d(channels, 1, 4, stride=4, bias=False)
        with torch.no_grad():
            self.features.weight.zero_()
            self.features.weight[0, 0] = 1 / 16

    def forward(self, x):
        level = self.features(x)[:, 0, :4, :4].mean((1, 2))
        return torch.stack([10 * level, 3 + 0 * level], 1)


def grey(picture):
    return torch.from_numpy(np.asarray(picture, np.float32))[None] / 255


def xray():
    values = np.full((SIDE, SIDE), 200, np.uint16)
    values[:16, :16] = 4000
    return values


@pytest.mark.parametrize("kind", ["array", "float array", "PIL", "PIL float", "file"])
def test_deep_images_are_seen_through_the_window_that_is_stated(kind, tmp_path):
    values = xray()
    path = tmp_path / "xray.png"
    Image.fromarray(values).save(path)
    image = {
        "array": values,
        "float array": values.astype(np.float64),
        "PIL": Image.fromarray(values),
        "PIL float": Image.fromarray(values.astype(np.float32)),
        "file": path,
    }[kind]
    with pytest.raises(HeatmapError, match=r"state it: gradcam_window = lo hi \(window=\(lo, hi\) of an Explainer\)"):
        Explainer(Mean(), preprocess=grey)(image)
    explainer = Explainer(Mean(), preprocess=grey, window=(0, 5000))
    level = round(255 * 4000 / 5000) / 255
    assert explainer.predict([image])[0, 0] == pytest.approx(10 * level, rel=1e-5)
    explainer.assert_relies_on(image, SQUARE, target=0)
    explainer.assert_stable(image, brightness(0.01), same_class=True)
    clipped = Explainer(Mean(), preprocess=grey, window=(100, 1000))
    assert clipped.predict([image])[0, 0] == pytest.approx(10)


def test_images_of_8_bits_keep_their_values():
    image = np.full((SIDE, SIDE), 100, np.uint8)
    plain, windowed = Explainer(Mean(), preprocess=grey), Explainer(Mean(), preprocess=grey, window=(0, 4095))
    np.testing.assert_array_equal(plain.predict([image]), windowed.predict([image]))


def test_no_window_shows_nan():
    values = xray().astype(np.float32)
    values[0, 0] = np.nan
    with pytest.raises(HeatmapError, match="holds NaN or infinite values, which no window shows"):
        Explainer(Mean(), preprocess=grey, window=(0, 5000))(values)


@pytest.mark.parametrize("window", [(5, 5), (5, 1), (0,), "0 9", (0, float("inf")), (True, 9), 7])
def test_what_is_no_window_is_refused(window):
    with pytest.raises(HeatmapError, match="is not a window; expected two numbers"):
        Explainer(Mean(), preprocess=grey, window=window)


@pytest.mark.parametrize("count", [1, 2, 4, 6, 13])
def test_any_number_of_channels_is_explained_and_people_see_those_that_are_chosen(count):
    image = torch.zeros(count, SIDE, SIDE)
    image[0, :16, :16] = 1
    heatmap = Explainer(Mean(count), "features", channels=(count - 1,))(image, 0)
    assert heatmap.peak[0] < 16
    assert heatmap.peak[1] < 16
    assert heatmap.view.shape == (SIDE, SIDE, 3)
    assert (heatmap.view.max() == 0) == (count > 1)  # the last channel is empty
    heatmap.assert_focus_within(SQUARE)
    explained = Explainer(Mean(count), "features")(image, 0)
    np.testing.assert_array_equal(explained.grid, heatmap.grid)
    assert explained.view[0, 0, 0] > explained.view[20, 20, 0]  # the mean over the channels


def test_three_channels_are_red_green_and_blue():
    image = torch.zeros(5, SIDE, SIDE)
    image[4, :16], image[2, 16:] = 1, 1
    view = display(image, (4, 2, 0))
    assert view[0, 0].tolist() == [255, 0, 0]
    assert view[20, 0].tolist() == [0, 255, 0]


def test_a_preprocess_of_many_channels_is_shown_by_the_choice_too():
    def five(picture):
        return torch.cat([grey(picture.convert("L")), torch.zeros(4, SIDE, SIDE)])

    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[:16, :16] = 255
    seen = Explainer(Mean(5), "features", preprocess=five, channels=(0,))(picture, 0).view
    assert (seen[:16, :16] == 255).all()
    assert (seen[16:] == 0).all()


@pytest.mark.parametrize("channels", [(0, 1), (), (-1,), (0.5,), "rgb", (True,), (0, 1, 2, 3)])
def test_what_are_no_channels_is_refused(channels):
    with pytest.raises(HeatmapError, match="are no channels to look at; expected one, or three"):
        Explainer(Mean(), channels=channels)


def test_channels_beyond_the_inputs_are_refused():
    with pytest.raises(
        HeatmapError, match=r"names channel 7, and the model's input has 4, from 0; check gradcam_channels"
    ):
        _ = Explainer(Mean(4), "features", channels=(7,))(torch.rand(4, SIDE, SIDE), 0).view


def test_videos_and_volumes_are_refused_by_name():
    class Volumes(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv3d(1, 2, 3)

        def forward(self, x):
            return self.first(x).mean((2, 3, 4))

    for tensor in (torch.rand(3, 8, SIDE, SIDE), torch.rand(1, 3, 8, SIDE, SIDE)):
        with pytest.raises(
            HeatmapError, match="is a video or a volume, which are not supported; .* pass one frame or slice"
        ):
            Explainer(Mean(3))(tensor)
    with pytest.raises(
        HeatmapError, match=r"it looks at videos or volumes \(it has a Conv3d\), which are not supported"
    ):
        Explainer(Volumes())(torch.rand(4, SIDE, SIDE), lambda output: output[0])
    with pytest.raises(HeatmapError, match="videos and volumes are not supported"):
        Explainer(Mean(), preprocess=grey)(np.zeros((20, SIDE, SIDE), np.uint8))
    with pytest.raises(HeatmapError, match=r"use batch\(\) for several"):
        Explainer(Mean(3))(torch.rand(2, 3, SIDE, SIDE))
