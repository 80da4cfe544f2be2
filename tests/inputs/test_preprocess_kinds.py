"""Kinds of preprocess that people have: the mask lands on the right pixels, or is refused; it is never wrong.

The truth is arithmetic alone: which pixel of the image each pixel of the view comes from, by nearest neighbour.
"""

import io
import random

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageOps
from skimage import data, exposure
from torchvision import models as vision_models
from torchvision import transforms as v1
from torchvision.transforms import v2
from transformers import ViTImageProcessor

from pytest_gradcam import GradcamWarning, HeatmapError, masks
from pytest_gradcam.images import read
from pytest_gradcam.inputs.mask_transform import TracedPreprocess

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEIGHT, WIDTH = 240, 320
to_tensor = v1.functional.to_tensor
TAIL = [v1.ToTensor(), v1.Normalize(MEAN, STD)]


def photograph(offset=0, *, bars=False):
    """A real photograph, 240 x 320; `bars` leaves black around a part of it."""
    pixels = np.asarray(Image.fromarray(data.astronaut()[offset : offset + 360, 20:500]).resize((WIDTH, HEIGHT)))
    if bars:
        framed = np.zeros_like(pixels)
        framed[30:190, 60:250] = np.maximum(pixels[30:190, 60:250], 20)
        return framed
    return pixels


def crop_of(height, width, crop):
    """Truth of a resize to height x width, then a centre crop."""

    def carry(mask):
        top, left = round((height - crop) / 2), round((width - crop) / 2)
        rows = ((np.arange(crop) + top + 0.5) * mask.shape[0] / height).astype(int)
        columns = ((np.arange(crop) + left + 0.5) * mask.shape[1] / width).astype(int)
        return mask[np.ix_(rows, columns)]

    return carry


def resized(height, width):
    """Truth of a resize alone."""

    def carry(mask):
        rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
        return mask[np.ix_(rows, ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int))]

    return carry


def same(mask):
    return mask


def boxed(mask):
    """Truth of a letterbox to 160 x 160: 120 x 160 in the middle."""
    out = np.zeros((160, 160), bool)
    out[20:140] = resized(120, 160)(mask)
    return out


def letterbox(image):
    return to_tensor(ImageOps.pad(image, (160, 160), Image.Resampling.BILINEAR, color=(114, 114, 114)))


def jpeg(quality):
    def coded(image):
        stream = io.BytesIO()
        image.resize((160, 120)).save(stream, "jpeg", quality=quality)
        return to_tensor(Image.open(stream))

    return coded


class Albumented:
    """Called and answering as albumentations.Compose: `image=` takes an RGB array, a dict comes back."""

    def __init__(self, **chance):
        self.random, self.flip = random.Random(0), chance.get("flip", 0)

    def __call__(self, *, image):
        if self.random.random() < self.flip:
            image = image[:, ::-1]
        return {"image": to_tensor(Image.fromarray(image).resize((160, 120)))}


def own_generator(chance, change):
    generator = np.random.default_rng(7)
    return lambda image: to_tensor(change(image) if generator.random() < chance else image)


NOISE = np.random.default_rng(3)


def noisy(image):
    return to_tensor(image) + torch.from_numpy(NOISE.normal(0, 0.1, (3, HEIGHT, WIDTH)).astype(np.float32))


def clahe(image):
    return torch.from_numpy(exposure.equalize_adapthist(np.asarray(image)).astype(np.float32)).permute(2, 0, 1)


def cropped_to_content(image):
    return to_tensor(image.crop(image.convert("L").point(lambda v: 255 * (v > 15)).getbbox()).resize((160, 120)))


def trimmed(image):
    """Black bars are cut off; a picture without any stays as it is."""
    return cropped_to_content(image) if image.getpixel((0, 0)) == (0, 0, 0) else to_tensor(image.resize((160, 120)))


def standardised(image):
    tensor = to_tensor(image)
    return (tensor - tensor.mean()) / tensor.std()


def brightest(image):
    """A crop around the brightest place: what a detector does, whatever the contrast."""
    small = np.asarray(image.convert("L").resize((16, 12), Image.Resampling.BOX), np.int64)
    y, x = np.unravel_index(small.argmax(), small.shape)
    left, top = min(max(20 * x - 60, 0), WIDTH - 160), min(max(20 * y - 40, 0), HEIGHT - 120)
    return to_tensor(image.crop((left, top, left + 160, top + 120)))


PROCESSOR = ViTImageProcessor(size={"height": 112, "width": 112})

#: A preprocess and the truth.
CARRIED = {
    "torchvision v1": (v1.Compose([v1.Resize(128), v1.CenterCrop(112), *TAIL]), crop_of(128, 170, 112)),
    "bicubic": (v1.Compose([v1.Resize((120, 160), v1.InterpolationMode.BICUBIC), *TAIL]), resized(120, 160)),
    "nearest": (v1.Compose([v1.Resize((120, 160), v1.InterpolationMode.NEAREST), *TAIL]), resized(120, 160)),
    "torchvision v2": (
        v2.Compose([v2.ToImage(), v2.Resize((150, 200)), v2.CenterCrop(128), v2.ToDtype(torch.float32, scale=True)]),
        crop_of(150, 200, 128),
    ),
    "preset": (vision_models.ResNet18_Weights.IMAGENET1K_V1.transforms(), crop_of(256, 341, 224)),
    "timm": (timm.data.create_transform((3, 128, 128), crop_pct=0.8, interpolation="bicubic"), crop_of(160, 213, 128)),
    "letterbox": (letterbox, boxed),
    "pad": (v1.Compose([v1.Pad(16, fill=128), v1.ToTensor()]), lambda mask: np.pad(mask, 16)),
    "greyscale in three channels": (v1.Compose([v1.Grayscale(3), *TAIL]), same),
    "inverted": (lambda image: 1 - to_tensor(image), same),
    "mirrored": (lambda image: to_tensor(ImageOps.mirror(image)), lambda mask: mask[:, ::-1]),
    "upscaled": (v1.Compose([v1.Resize((960, 1280)), v1.ToTensor()]), resized(960, 1280)),
    "processor of Hugging Face": (PROCESSOR, resized(112, 112)),
    "processor of Hugging Face, tensors": (lambda image: PROCESSOR(image, return_tensors="pt"), resized(112, 112)),
    "albumentations": (Albumented(), resized(120, 160)),
    "NumPy": (lambda image: to_tensor(image.resize((160, 120))).numpy(), resized(120, 160)),
    "batch of one": (lambda image: to_tensor(image)[None], same),
    "float64": (lambda image: to_tensor(image).double(), same),
    "half": (v1.Compose([*TAIL, v1.ConvertImageDtype(torch.float16)]), same),
    "bfloat16": (v1.Compose([*TAIL, v1.ConvertImageDtype(torch.bfloat16)]), same),
    "gamma": (lambda image: to_tensor(image.resize((160, 120))) ** 2.2, resized(120, 160)),
    "inverse gamma": (lambda image: to_tensor(image) ** (1 / 2.2), same),
    "JPEG 90": (jpeg(90), resized(120, 160)),
    "JPEG 30": (jpeg(30), resized(120, 160)),
    "changes its argument": (lambda image: image.thumbnail((160, 160)) or to_tensor(image), resized(120, 160)),
    "draws without effect": (
        v1.Compose([v1.RandomHorizontalFlip(0), v1.RandomVerticalFlip(1), *TAIL]),
        lambda m: m[::-1],
    ),
    "crop around the brightest place": (brightest, None),
    "trims bars": (trimmed, None),
}
#: A preprocess and words of the refusal.
REFUSED = {
    "equalised": (lambda image: to_tensor(ImageOps.equalize(image)), "cannot be carried"),
    "CLAHE": (clahe, "cannot be carried"),
    "standardised per image": (standardised, "cannot be carried"),
    "RandomResizedCrop": (v1.Compose([v1.RandomResizedCrop(112), *TAIL]), "is random"),
    "flip, p = 0.5": (v1.Compose([v1.RandomHorizontalFlip(), *TAIL]), "is random"),
    "flip, p = 0.02": (v1.Compose([v1.RandomHorizontalFlip(0.02), *TAIL]), "is random"),
    "flip, p = 0.98": (
        v2.Compose([v2.RandomHorizontalFlip(0.98), v2.ToImage(), v2.ToDtype(torch.float32)]),
        "is random",
    ),
    "flip by Python's random, p = 0.01": (
        lambda image: to_tensor(ImageOps.mirror(image) if random.random() < 0.01 else image),
        "is random",
    ),
    "flip by NumPy, p = 0.01": (
        lambda image: to_tensor(ImageOps.mirror(image) if np.random.rand() < 0.01 else image),
        "is random",
    ),
    "rare erasing behind a sure flip": (
        v1.Compose([v1.RandomHorizontalFlip(1), *TAIL, v1.RandomErasing(0.02)]),
        "is random",
    ),
    "ColorJitter": (v1.Compose([v1.ColorJitter(0.3, 0.3, 0.3), *TAIL]), "is random"),
    "noise of its own generator": (noisy, "is random"),
    "flip of its own generator, p = 0.5": (own_generator(0.5, ImageOps.mirror), "is random"),
    "albumentations, flip of p = 0.5": (Albumented(flip=0.5), "is random"),
    "ten crops": (
        v1.Compose([v1.TenCrop(96), v1.Lambda(lambda crops: torch.stack([to_tensor(c) for c in crops]))]),
        "crops",
    ),
    "uint8": (v1.PILToTensor(), "scale it"),
    "channels last": (lambda image: to_tensor(image).permute(1, 2, 0), "channels are last"),
    "channels last, NumPy": (lambda image: np.asarray(image, np.float32), "channels are last"),
    "None": (lambda image: None, "returned None"),
    "a picture": (lambda image: image, "returned a Image"),
    "two values": (lambda image: {"pixel_values": to_tensor(image)[None], "pixel_mask": 1}, "'pixel_mask'"),
    "an unknown key": (lambda image: {"x": to_tensor(image)}, "'x'"),
    "an array of BGR": (lambda image: to_tensor(image[:, :, ::-1]), "raised TypeError.*BGR"),
    "two arguments": (lambda image, target: to_tensor(image), "raised TypeError"),
    "a file's name": (lambda image: to_tensor(Image.open(image.filename)), "raised AttributeError"),
}
MASK = masks.polygon((HEIGHT, WIDTH), [(110, 50), (230, 90), (200, 190), (95, 170)])
SMALL = masks.box((HEIGHT, WIDTH), (150, 100, 170, 130))


def seen(preprocess, pixels):
    return TracedPreprocess(preprocess, grey=False).read(read(pixels))


def outline(mask):
    return np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])


def agrees(found, wanted):
    """Equal but for the rounding of interpolation along the outline."""
    return found.shape == wanted.shape and (found != wanted).sum() <= 0.6 * outline(wanted)


@pytest.mark.parametrize("mask", [MASK, SMALL], ids=["polygon", "small box"])
@pytest.mark.parametrize("name", [name for name, (_, truth) in CARRIED.items() if truth])
def test_the_mask_is_right(name, mask):
    preprocess, truth = CARRIED[name]
    for pixels in (photograph(), photograph(100), photograph(bars=True), np.zeros((HEIGHT, WIDTH, 3), np.uint8)):
        assert agrees(seen(preprocess, pixels).carry(mask).pixels, truth(mask))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused(name):
    preprocess, words = REFUSED[name]
    with pytest.raises(HeatmapError, match=words):
        seen(preprocess, photograph()).carry(MASK)


@pytest.mark.parametrize("mask", [MASK, SMALL], ids=["polygon", "small box"])
@pytest.mark.parametrize("offset", [0, 60, 120])
@pytest.mark.parametrize("preprocess", [brightest, trimmed, cropped_to_content])
def test_a_mask_through_a_crop_by_content_is_right_or_refused(preprocess, offset, mask):
    """Truth: the image whose pixels are their own places goes where the image itself went."""
    for pixels in (photograph(offset), photograph(offset, bars=True)):
        out = preprocess(Image.fromarray(pixels)).numpy()
        try:
            found = seen(preprocess, pixels).carry(mask).pixels
        except HeatmapError:
            continue
        box = _place_of(out, pixels)
        assert agrees(found, resized(120, 160)(mask[box[1] : box[3], box[0] : box[2]]))


def _place_of(out, pixels):
    """Which of the boxes that these functions can cut out became `out`."""
    boxes = [(0, 0, WIDTH, HEIGHT), (60, 30, 250, 190)]
    boxes += [(x, y, x + 160, y + 120) for x in range(0, WIDTH - 159, 20) for y in range(0, HEIGHT - 119, 20)]
    parts = [np.asarray(Image.fromarray(pixels).crop(box).resize((160, 120))).transpose(2, 0, 1) / 255 for box in boxes]
    return boxes[int(np.argmin([np.abs(part - out).mean() for part in parts]))]


class Changeable:
    """A preprocess whose settings a suite changes between its tests."""

    def __init__(self):
        self.size, self.flip, self.top, self.level = 96, False, 0, 1.0

    def __call__(self, image):
        small = (ImageOps.mirror(image) if self.flip else image).resize((self.size, self.size))
        canvas = Image.new("RGB", (self.size, self.size + 32), (114, 114, 114))
        canvas.paste(small, (0, self.top))
        return to_tensor(canvas) / self.level

    def truth(self, mask):
        out = np.zeros((self.size + 32, self.size), bool)
        out[self.top : self.top + self.size] = resized(self.size, self.size)(mask[:, ::-1] if self.flip else mask)
        return out


@pytest.mark.parametrize("change", [{"size": 64}, {"flip": True}, {"top": 32}, {"level": 3.0}])
def test_a_preprocess_that_is_changed_in_place_carries_masks_as_it_does_now(change):
    preprocess = Changeable()
    source, picture = TracedPreprocess(preprocess, grey=False), read(photograph())
    before = source.read(picture)
    assert agrees(before.carry(MASK).pixels, preprocess.truth(MASK))
    vars(preprocess).update(change)
    now = source.read(picture)
    assert agrees(now.carry(MASK).pixels, preprocess.truth(MASK))
    padding = now.view(now.tensor)[1]
    assert padding.sum() == 32 * preprocess.size
    assert not padding[preprocess.top + 2].any()


def test_a_changed_part_of_a_known_pipeline_is_noticed():
    pipeline = v1.Compose([v1.Resize((120, 160)), v1.ToTensor()])
    source, picture = TracedPreprocess(pipeline, grey=False), read(photograph())
    assert source.read(picture).carry(MASK).pixels.shape == (120, 160)
    pipeline.transforms[0].size = (60, 80)
    assert agrees(source.read(picture).carry(MASK).pixels, resized(60, 80)(MASK))


def test_an_image_that_was_read_before_a_change_is_refused():
    preprocess = Changeable()
    seen_before = seen(preprocess, photograph())
    preprocess.flip = True
    with pytest.raises(HeatmapError, match="was changed after the image was read"):
        seen_before.carry(MASK)


def test_a_mask_is_shared_by_images_of_a_known_pipeline_alone():
    runs = []
    known = v1.Compose([v1.Resize(60), v1.ToTensor()])
    unknown = v1.Compose([v1.Resize(60), v1.Lambda(lambda image: runs.append(1) or to_tensor(image))])
    for pipeline, shared in ((known, True), (unknown, False)):
        source = TracedPreprocess(pipeline, grey=False)
        first, second = source.read(read(photograph())), source.read(read(photograph(60)))
        first.carry(MASK)
        before = len(runs)
        second.carry(MASK)
        assert (len(runs) == before) == shared


def test_a_random_preprocess_that_is_found_late_voids_what_was_before():
    flips = []
    source = TracedPreprocess(
        lambda image: to_tensor(ImageOps.mirror(image) if flips and flips.pop() else image), grey=False
    )
    source.read(read(photograph())).carry(MASK)
    flips += [True, False] * 40  # a generator of its own, which strikes from here on
    late = source.read(read(photograph(60)))
    words = "preprocess is random.*went through it before in this run: what was decided on them is void"
    with pytest.warns(GradcamWarning, match=words), pytest.raises(HeatmapError, match=words):
        late.carry(MASK)
    with pytest.raises(HeatmapError, match=words):
        source.read(read(photograph()))
