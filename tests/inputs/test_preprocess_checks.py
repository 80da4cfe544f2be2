"""A random preprocess is refused however rarely it strikes, and draws that change nothing are allowed."""

import random

import numpy as np
import pytest
import torch
from PIL import ImageOps
from torchvision.transforms.functional import to_tensor

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.images import read
from pytest_gradcam.inputs.mask_transform import TracedPreprocess

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
NAMED = np.random.default_rng(4)


class Augment:
    """Made as albumentations makes its own: each transform has a generator, and the pipeline has the transforms."""

    def __init__(self, chance, generator=None):
        self.random, self.chance = generator or random.Random(137), chance

    def __call__(self, image):
        return ImageOps.mirror(image) if self.random.random() < self.chance else image


class Pipeline:
    def __init__(self, *parts):
        self.parts = parts

    def __call__(self, image):
        for part in self.parts:
            image = part(image)
        return to_tensor(image)

    def method(self, image):
        return self(image)


class Lazy:
    """Its generator is made in its first call."""

    generator = None

    def __call__(self, image):
        self.generator = self.generator or np.random.default_rng(3)
        return to_tensor(ImageOps.mirror(image) if self.generator.random() < 0.001 else image)


class Inherited(random.Random):
    """Is a generator itself."""

    def __call__(self, image):
        return to_tensor(ImageOps.mirror(image) if self.random() < 0.001 else image)


def mirrored_if(strikes):
    return lambda image: to_tensor(ImageOps.mirror(image) if strikes() else image)


def by_name(image):
    return to_tensor(ImageOps.mirror(image) if NAMED.random() < 0.001 else image)


def twice():
    one, other = random.Random(5), np.random.RandomState(5)
    return mirrored_if(lambda: one.random() < 0.01 and other.rand() < 0.01)


def with_torch(generator):
    return mirrored_if(lambda: float(torch.rand(1, generator=generator)) < 0.001)


def of_content(image):
    generator = np.random.default_rng(int(np.asarray(image).sum()))
    return to_tensor(ImageOps.mirror(image) if generator.random() < 0.5 else image)


def reseeded(image):
    random.seed(int(np.asarray(image).sum()))
    return to_tensor(ImageOps.mirror(image) if random.random() < 0.5 else image)


def made_anew(image):
    return to_tensor(ImageOps.mirror(image) if np.random.default_rng().random() < 1e-9 else image)


def seeded_anew(image):
    return to_tensor(ImageOps.mirror(image) if random.Random().random() < 1e-9 else image)


AUGMENTED = Pipeline(Augment(0.001))
BITS = np.random.PCG64(3)
OWN = random.Random(3)
OWN_NUMPY, OWN_TORCH = np.random.default_rng(3), torch.Generator().manual_seed(3)
RANDOM = {
    "an attribute": Pipeline(Augment(0.001)),
    "a NumPy generator": Pipeline(Augment(0.001, np.random.default_rng(1))),
    "a RandomState": Pipeline(Augment(0.001, np.random.RandomState(1))),
    "a bound method": Pipeline(Augment(0.001)).method,
    "a lambda around it": lambda image: AUGMENTED(image),
    "a generator of PyTorch": with_torch(torch.Generator().manual_seed(1)),
    "a global": by_name,
    "two generators, both have to strike": twice(),
    "made in the first call": Lazy(),
    "inherited": Inherited(7),
    "one number of ten": mirrored_if(lambda: OWN.randint(1, 10) == 4),
    "one number of ten, NumPy": mirrored_if(lambda: OWN_NUMPY.integers(10) == 4),
    "one number of ten, PyTorch": mirrored_if(lambda: int(torch.randint(10, (1,), generator=OWN_TORCH)) == 4),
    "one number of ten, global": mirrored_if(lambda: random.choice(range(10)) == 4),
    "made anew in each call": made_anew,
    "Python's, made anew in each call": seeded_anew,
    "the system's": mirrored_if(lambda: random.SystemRandom().random() < 1e-9),
}
STEADY = {
    "p = 0": Pipeline(Augment(0)),
    "p = 1": Pipeline(Augment(1), Augment(1, np.random.default_rng(1)), Augment(1, np.random.RandomState(1))),
    "p = 1 of PyTorch": mirrored_if(lambda: float(torch.rand(1, generator=OWN_TORCH)) < 1),
    "seeded by the content": of_content,
    "the global one, seeded by the content": reseeded,
    "held and never asked": lambda image: to_tensor(image) if image else BITS,
}


def seen(preprocess, pixels=PIXELS):
    return TracedPreprocess(preprocess, grey=False).read(read(pixels))


@pytest.mark.parametrize("name", RANDOM)
def test_what_is_random_is_refused_at_once(name):
    with pytest.raises(HeatmapError, match="preprocess is random"):
        seen(RANDOM[name])


@pytest.mark.parametrize("name", STEADY)
def test_what_is_not_is_allowed(name):
    source = TracedPreprocess(STEADY[name], grey=False)
    first = source.read(read(PIXELS)).tensor
    assert torch.equal(first, source.read(read(PIXELS)).tensor)


def test_draws_that_cannot_be_tested_are_refused():
    with pytest.raises(HeatmapError, match="random numbers of a PCG64, which cannot be set"):
        seen(mirrored_if(lambda: BITS.random_raw() == 0))


def test_its_own_generators_are_left_alone():
    own = random.Random(3)
    before = own.getstate()
    seen(Pipeline(Augment(1, own)))
    assert own.getstate() == before


def test_one_that_draws_for_some_images_is_refused_with_the_first_of_them():
    sure, rare = Augment(1), Augment(0.001)
    dark = np.zeros_like(PIXELS)
    source = TracedPreprocess(
        lambda image: to_tensor(sure(rare(image) if np.asarray(image).mean() < 10 else image)), grey=False
    )
    source.read(read(PIXELS))
    dark[:4, :4] = 200
    with pytest.warns(Warning, match="1 images went through it before"), pytest.raises(HeatmapError, match="is random"):
        source.read(read(dark))


def test_draws_that_changed_nothing_in_one_image_cost_two_calls_in_others():
    calls = []
    pipeline = Pipeline(Augment(1))
    source = TracedPreprocess(lambda image: calls.append(1) or pipeline(image), grey=False)
    source.read(read(PIXELS))
    before = len(calls)
    source.read(read(PIXELS[::-1]))
    assert len(calls) == before + 3


def cropped(image):
    """To six pixels: where there are no more, the number that is drawn does not matter."""
    place = int(random.random() * (image.width - 6 + 1))
    return to_tensor(image.crop((place, 0, place + 6, 6)))


@pytest.mark.parametrize("chance", [0.001, 0.5, 0.999])
def test_draws_that_strike_later_images_are_refused_with_the_first_of_them(chance):
    def bright_ones(image):
        turned = random.random() < chance
        return to_tensor(image.transpose(0) if turned and is_bright(image) else image)

    def is_bright(image):
        return np.asarray(image).mean() > 200

    for preprocess, first, later in (
        (bright_ones, PIXELS // 2, 255 - PIXELS // 8),
        (cropped, PIXELS[:6, :6], PIXELS),
    ):
        source = TracedPreprocess(preprocess, grey=False)
        source.read(read(first))
        with pytest.warns(Warning, match="went through it before"), pytest.raises(HeatmapError, match="is random"):
            source.read(read(later))


@pytest.fixture
def albumentations(monkeypatch):
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
    return pytest.importorskip("albumentations")


@pytest.mark.parametrize("chance", [0.001, 0.1, 0.5])
def test_a_rare_flip_of_albumentations_is_refused(albumentations, chance):
    pipeline = albumentations.Compose([albumentations.HorizontalFlip(p=chance), albumentations.ToFloat(max_value=255)])
    for preprocess in (pipeline, lambda image: pipeline(image=np.asarray(image))["image"].transpose(2, 0, 1)):
        with pytest.raises(HeatmapError, match="preprocess is random|channels are last"):
            seen(preprocess)


def test_an_evaluation_pipeline_of_albumentations_is_allowed(albumentations):
    steps = [albumentations.Resize(10, 15), albumentations.HorizontalFlip(p=1), albumentations.ToFloat(max_value=255)]
    pipeline = albumentations.Compose(steps)
    out = seen(lambda image: pipeline(image=np.asarray(image))["image"].transpose(2, 0, 1))
    assert out.tensor.shape == (3, 10, 15)
