"""The mask lands on the right pixels of what the model sees, for the pipelines that people use."""

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision import models as vision_models
from torchvision import transforms as v1
from torchvision.transforms import v2

from pytest_gradcam import HeatmapError, masks
from pytest_gradcam.images import read
from pytest_gradcam.inputs.mask_transform import TracedPreprocess

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
V1 = v1.Compose([v1.Resize(256), v1.CenterCrop(224), v1.ToTensor(), v1.Normalize(MEAN, STD)])
V2 = v2.Compose(
    [
        v2.Resize((200, 300)),
        v2.CenterCrop(160),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]
)


def letterbox(image):
    """Fit into 96 x 128 and pad with grey, as detectors do."""
    scale = min(96 / image.height, 128 / image.width)
    small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    canvas = Image.new(image.mode, (128, 96), 114 if image.mode == "L" else (114, 114, 114))
    canvas.paste(small, ((128 - small.width) // 2, (96 - small.height) // 2))
    return v1.functional.normalize(v1.functional.to_tensor(canvas), 0.5, 0.25)


def resize_crop(height, width, crop):
    """The mask by nearest neighbour: where each pixel of the view comes from, by arithmetic alone."""

    def carry(mask):
        top, left = round((height - crop) / 2), round((width - crop) / 2)
        rows = ((np.arange(crop) + top + 0.5) * mask.shape[0] / height).astype(int)
        columns = ((np.arange(crop) + left + 0.5) * mask.shape[1] / width).astype(int)
        return mask[np.ix_(rows, columns)]

    return carry


def short_side(shape, size):
    height, width = shape
    return (size, int(size * width / height)) if height <= width else (int(size * height / width), size)


def carried_by_letterbox(mask):
    height, width = mask.shape
    scale = min(96 / height, 128 / width)
    tall, wide = round(height * scale), round(width * scale)
    out = np.zeros((96, 128), bool)
    top, left = (96 - tall) // 2, (128 - wide) // 2
    rows = ((np.arange(tall) + 0.5) * height / tall).astype(int)
    columns = ((np.arange(wide) + 0.5) * width / wide).astype(int)
    out[top : top + tall, left : left + wide] = mask[np.ix_(rows, columns)]
    return out


PRESET = vision_models.ResNet50_Weights.IMAGENET1K_V2.transforms()  # resize 232, crop 224
TIMM = timm.data.create_transform(
    input_size=(3, 128, 128), crop_pct=0.8, interpolation="bicubic"
)  # resize 160, crop 128
PIPELINES = {
    "torchvision v1": (V1, lambda m: resize_crop(*short_side(m.shape, 256), 224)(m)),
    "torchvision v2": (V2, lambda m: resize_crop(200, 300, 160)(m)),
    "weights preset": (PRESET, lambda m: resize_crop(*short_side(m.shape, 232), 224)(m)),
    "timm": (TIMM, lambda m: resize_crop(*short_side(m.shape, 160), 128)(m)),
    "letterbox": (letterbox, carried_by_letterbox),
}


def seen(preprocess, pixels, *, grey=False):
    """The picture of these pixels through a preprocess."""
    return TracedPreprocess(preprocess, grey=grey).read(read(pixels))


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("shape", [(300, 451), (480, 270), (97, 333)])
def test_the_mask_lands_where_arithmetic_puts_it(name, shape):
    preprocess, expected = PIPELINES[name]
    mask = masks.polygon(shape, [(shape[1] * 0.4, 5), (shape[1] * 0.8, shape[0] * 0.6), (shape[1] * 0.3, shape[0] - 4)])
    region = seen(preprocess, np.zeros((*shape, 3), np.uint8)).carry(mask).pixels
    wanted = expected(mask)
    assert region.shape == wanted.shape
    assert 0 < wanted.sum() < wanted.size
    # Interpolation rounds a pixel of the outline to one side or the other; there is nothing else to differ in.
    assert (region != wanted).sum() <= 0.5 * outline(wanted)
    assert (region & wanted).sum() / (region | wanted).sum() > 0.97


def outline(mask):
    return np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])


@pytest.mark.parametrize("name", PIPELINES)
def test_the_view_is_the_picture_that_the_model_saw(name):
    preprocess, expected = PIPELINES[name]
    pixels = np.zeros((300, 451, 3), np.uint8)
    pixels[:, :] = (200, 30, 90)
    pixels[100:250, 150:300] = (10, 240, 60)
    picture = seen(preprocess, pixels)
    view, padding = picture.view(picture.tensor)
    inside = expected(pixels[..., 1] == 240)
    core = inside & np.roll(inside, 6, 0) & np.roll(inside, -6, 0) & np.roll(inside, 6, 1) & np.roll(inside, -6, 1)
    np.testing.assert_allclose(view[core], np.broadcast_to((10, 240, 60), view[core].shape), atol=1)
    assert padding.any() == (name == "letterbox")


def test_padding_is_what_the_preprocess_added():
    picture = seen(letterbox, np.zeros((100, 400, 3), np.uint8))
    _, padding = picture.view(picture.tensor)
    expected = np.ones((96, 128), bool)
    expected[32:64] = False  # 100 x 400 becomes 32 x 128
    np.testing.assert_array_equal(padding, expected)
    everything = picture.carry(masks.border((100, 400), 10)).pixels
    assert not (everything & padding).any()


@given(st.integers(20, 90), st.integers(20, 90), st.data())
@settings(deadline=None, max_examples=40)
def test_without_resizing_the_mask_is_carried_bit_for_bit(height, width, data):
    x, y = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    mask = masks.box(
        (height, width), (x, y, data.draw(st.integers(x + 1, width)), data.draw(st.integers(y + 1, height)))
    )
    to_tensor = v1.Compose([v1.ToTensor(), v1.Normalize(MEAN, STD)])
    region = seen(to_tensor, np.zeros((height, width), np.uint8)).carry(mask)
    np.testing.assert_array_equal(region.pixels, mask)


def test_greyscale_goes_to_a_model_of_one_channel_as_greyscale():
    to_tensor = v1.Compose([v1.Grayscale(), v1.ToTensor(), v1.Normalize(0.5, 0.5)])
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    picture = seen(to_tensor, pixels, grey=True)
    assert picture.tensor.shape == (1, 20, 30)
    np.testing.assert_array_equal(picture.view(picture.tensor)[0], np.dstack([pixels] * 3))


def test_a_mask_that_the_crop_cut_away_says_what_the_view_shows():
    region = seen(V1, np.zeros((300, 900, 3), np.uint8)).carry(masks.box((300, 900), (0, 0, 100, 300)))
    assert not region.pixels.any()
    # 256 / 300 scales 900 to 768; the crop keeps 224 of it, x 272 to 496, which is 319 to 581 of the image.
    first, last = (int(word) for word in region.seen.split("x ")[1].split(" and")[0].split(" to "))
    assert first == pytest.approx(319, abs=4)
    assert last == pytest.approx(581, abs=4)
    assert region.seen.endswith("of the 900 x 300 px image")


def standardised(image):
    x = v1.functional.to_tensor(image)
    return (x - x.mean()) / x.std()


def cropped_to_content(image):
    return v1.functional.to_tensor(image.crop(image.getbbox()).resize((32, 32)))


def grown_to_content(image):
    return v1.functional.to_tensor(image.crop(image.getbbox() or (0, 0, 4, 4)))


@pytest.mark.parametrize("preprocess", [standardised, cropped_to_content, grown_to_content])
def test_a_pipeline_that_is_not_affine_refuses_masks(preprocess):
    pixels = np.zeros_like(PIXELS)
    pixels[5:30, 10:50] = PIXELS[5:30, 10:50]
    mask = masks.box((40, 60), (10, 10, 30, 30))
    with pytest.raises(HeatmapError, match="cannot be carried through the preprocess.*pass the tensor"):
        seen(preprocess, pixels).carry(mask)


def test_a_pipeline_that_changes_colours_pixel_by_pixel_still_carries_masks():
    def gamma(image):
        return v2.Resize(30)(v1.functional.to_tensor(ImageOps.equalize(image)) ** 2.2)

    mask = masks.box((60, 90), (10, 10, 60, 40))
    region = seen(gamma, np.zeros((60, 90, 3), np.uint8)).carry(mask).pixels
    np.testing.assert_array_equal(region, mask[::2, ::2])


def test_the_view_of_a_pipeline_that_is_not_affine_is_still_shown():
    picture = seen(standardised, PIXELS)
    view, padding = picture.view(picture.tensor)
    assert view.shape == (40, 60, 3)
    assert not padding.any()


@pytest.mark.parametrize(
    "preprocess",
    [
        v1.Compose([v1.RandomHorizontalFlip(), v1.ToTensor()]),
        v1.Compose([v1.RandomResizedCrop(32), v1.ToTensor()]),
        lambda image: v1.functional.to_tensor(image) + 0.1 * torch.rand(1),
        lambda image: v1.functional.to_tensor(image) + float(np.random.default_rng().random()),
    ],
)
def test_a_random_preprocess_is_refused(preprocess):
    with pytest.raises(HeatmapError, match="preprocess is random"):
        seen(preprocess, PIXELS)


def test_the_random_states_are_left_alone():
    before = torch.get_rng_state()
    jitter = v1.Compose([v1.ColorJitter(0), v1.RandomApply([v1.Grayscale()], p=0), v1.ToTensor()])
    seen(jitter, np.zeros((4, 4, 3), np.uint8))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("preprocess", "words"),
    [
        (lambda image: image, "returned a Image; expected a float tensor"),
        (lambda image: np.asarray(image), "returned a uint8 array of shape.*; scale it as in training"),
        (v1.PILToTensor(), r"returned a torch\.uint8 tensor of shape \(3, 4, 5\)"),
        (lambda image: v1.functional.to_tensor(image).repeat(5, 1, 1, 1), "several crops"),
        (lambda image: v1.functional.to_tensor(image) / 0, "NaN or infinite values of array 5x4"),
    ],
)
def test_a_preprocess_that_returns_something_else(preprocess, words):
    with pytest.raises(HeatmapError, match=words):
        seen(preprocess, np.full((4, 5, 3), 7, np.uint8))


class TestPlacement:
    """Where the view lies in its image, for heatmaps that follow a movement."""

    @pytest.mark.parametrize("size", [(300, 451), (640, 480), (2000, 1500)])
    @pytest.mark.parametrize(("pipeline", "height", "width", "crop"), [(V1, None, None, 224), (V2, 200, 300, 160)])
    def test_it_is_the_arithmetic_of_resize_and_crop(self, pipeline, height, width, crop, size):
        if height is None:
            height, width = (int(256 * side / min(size)) for side in size)
        left, top = round((width - crop) / 2), round((height - crop) / 2)
        x, y = size[1] / width, size[0] / height
        expected = [[x, 0, (left + 0.5) * x - 0.5], [0, y, (top + 0.5) * y - 0.5]]
        placed = seen(pipeline, np.zeros((*size, 3), np.uint8)).placement()
        assert placed.shape == size
        corners = np.array([[0, 0, 1], [crop - 1, 0, 1], [0, crop - 1, 1]]).T
        assert np.abs((placed.to_image - expected) @ corners).max() < 0.5 * max(x, y)  # half a pixel of the view

    def test_padding_does_not_mislead_it(self):
        placed = seen(
            letterbox, np.zeros((60, 160), np.uint8), grey=True
        ).placement()  # scaled by 0.8 into 128 x 48 at y 24
        assert np.abs(placed.to_image - [[1.25, 0, 0.125], [0, 1.25, 1.25 * -23.5 - 0.5]]).max() < 1

    def test_a_flip_and_a_turn_are_followed(self):
        turned = v1.Compose([lambda image: ImageOps.mirror(image).rotate(90, expand=True), v1.ToTensor()])
        placed = seen(turned, np.zeros((50, 80), np.uint8), grey=True).placement()
        # The view's top left pixel is the mirrored image's top right one, which is the image's top left one.
        assert np.abs(placed.to_image - [[0, 1, 0], [1, 0, 0]]).max() < 0.3

    def test_what_no_affine_map_explains_is_refused(self):
        def bent(image):
            array = np.asarray(image, np.float32)
            return torch.from_numpy(np.concatenate([array[:30], array[10:50]]).copy())[None] / 255

        with pytest.raises(HeatmapError, match="cannot follow a geometric perturbation"):
            seen(bent, np.zeros((60, 80), np.uint8), grey=True).placement()


def test_a_mask_is_carried_once():
    runs = []

    def counted(image):
        runs.append(image)
        return v1.functional.to_tensor(image)

    picture = seen(counted, np.zeros((20, 30), np.uint8), grey=True)
    mask = masks.box((20, 30), (2, 3, 9, 8))
    first = picture.carry(mask).pixels
    count = len(runs)
    first[:] = False  # the caller's own copy
    assert np.array_equal(picture.carry(mask.copy()).pixels, mask)
    assert len(runs) == count
    assert not np.array_equal(picture.carry(~mask).pixels, mask)


@pytest.mark.parametrize(
    "preprocess",
    [
        v2.Compose([v2.Resize((24, 24)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
        v1.Compose([v1.Resize((24, 24)), v1.ToTensor(), v1.Normalize(MEAN, STD)]),
        v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Resize((24, 24), antialias=True)]),
    ],
    ids=["bytes", "bytes, normalised", "floats"],
)
@pytest.mark.parametrize("seed", range(6))
def test_a_pixel_of_which_the_mask_covers_half_is_out_whatever_the_image_shows(preprocess, seed):
    """The right edge of the mask cuts the view's column 19 in the middle: rounding to 8 bits put parts of it in or out."""
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    expected = masks.box((24, 24), (10, 2, 19, 13))
    assert np.array_equal(seen(preprocess, pixels).carry(masks.box((32, 32), (13, 3, 26, 17))).pixels, expected)
