"""Suspects on models of which it is known what they use: a mark in a corner, an object in the middle, a frame."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pytest_gradcam import Case, Explainer, masks
from pytest_gradcam.data import apart, exchange, moving, properties, suspects
from pytest_gradcam.errors import HeatmapError

SIDE = 48
CORNER = np.s_[0:12, 36:48]
OBJECT = masks.box((SIDE, SIDE), (12, 12, 36, 36))


class Regions(nn.Module):
    """Three classes by the mean of the colour channels in a region, which may be any pixels."""

    def __init__(self, region):
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3)[..., None, None])
        self.register_buffer("region", torch.as_tensor(region, dtype=torch.float32))

    def forward(self, x):
        return 10 * (self.features(x) * self.region).sum((2, 3)) / self.region.sum()


def pictures(count=60, spread=0.1):
    """Images whose object and whose corner show the class in their colour."""
    rng = np.random.default_rng(0)
    for number in range(count):
        image = rng.uniform(0.4, 0.4 + spread, (SIDE, SIDE, 3))
        image[12:36, 12:36, number % 3] += 0.3
        image[*CORNER, number % 3] += 0.3
        yield (255 * image).astype(np.uint8)


def corner():
    region = np.zeros((SIDE, SIDE), bool)
    region[CORNER] = True
    return region


def frame():
    return masks.border((SIDE, SIDE), 6)


def to_tensor(image):
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).float() / 255


@cache
def audit_of(name, known=True):
    region = {"corner": corner(), "object": OBJECT}[name]
    explainer = Explainer(Regions(region).eval(), "features", preprocess=to_tensor)
    cases = [Case(each, mask=OBJECT if known else None, id=str(n)) for n, each in enumerate(pictures())]
    return explainer.audit(cases, ["overlap"])


def test_a_mark_is_found_and_confirmed():
    found = audit_of("corner").suspects(images=40)
    first = found[0]
    assert (first.mask & corner()).sum() >= 0.9 * corner().sum()
    assert first.mask.sum() <= 2.5 * corner().sum()
    assert first.p_value <= 0.01
    assert first.on_object == 0
    assert first.reliance.relies is True
    assert first.confirmed is True
    assert first.apart.lower > 1
    assert first.verdict.endswith("the model relies on what is not the object")
    assert not first.moves
    assert first.masks.shape == (20, SIDE, SIDE)
    assert "1. x" in str(found)
    assert first.picture.width > 100
    assert not any(other.confirmed for other in found[1:])


def test_the_object_is_no_finding():
    first = audit_of("object").suspects(images=40)[0]
    assert (first.mask & OBJECT).sum() / first.mask.sum() >= 0.7
    assert first.confirmed is False
    assert first.verdict.endswith("this is the object")


def test_without_masks_a_person_must_look():
    first = audit_of("corner", known=False).suspects(images=40)[0]
    assert first.on_object is None
    assert first.confirmed is None
    assert "a person must check whether this place is the object" in first.verdict


def test_cost():
    """At most 40 forward passes an image at 8 x 8 cells: 30 images are scanned, and 30 others judge three places."""
    counted = []
    audit = audit_of("corner")
    model = audit.model.engine.network
    handle = model.register_forward_hook(lambda _, inputs, __: counted.append(len(inputs[0])))
    try:
        audit.suspects(images=30)
    finally:
        handle.remove()
    assert sum(counted) / 60 <= 40


class Glaring(nn.Module):
    """Three classes by how many pixels glare in each colour channel, wherever they are."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3)[..., None, None])

    def forward(self, x):
        return 1000 * (self.features(x) - 0.85).relu().mean((2, 3))


def stickers(count=60, level=0.5):
    """Images whose object shows the class, and a small square of the same colour in another place of each."""
    rng = np.random.default_rng(1)
    for number, image in enumerate(pictures(count)):
        image[CORNER] = 110
        row, column = rng.integers(0, SIDE - 8, 2)
        image[row : row + 8, column : column + 8, number % 3] = int(255 * (0.4 + level))
        mask = np.zeros((SIDE, SIDE), bool)
        mask[row : row + 8, column : column + 8] = True
        yield image, mask


@cache
def audit_of_stickers():
    explainer = Explainer(Glaring().eval(), "features", preprocess=to_tensor)
    return explainer.audit(
        [Case(image, mask=OBJECT, id=str(n)) for n, (image, _) in enumerate(stickers())], ["overlap"]
    )


def test_a_mark_elsewhere_in_each_image_is_followed():
    first = next(each for each in audit_of_stickers().suspects(images=60) if each.moves)
    marks = np.stack([mask for _, mask in stickers()])[[int(name) for name in first.cases]]
    assert (first.masks & marks).sum() >= 0.5 * marks.sum()
    assert first.masks.mean() <= 0.25
    assert first.p_value <= 0.01
    assert first.confirmed is True
    assert "elsewhere in each image" in first.verdict
    with pytest.raises(HeatmapError, match=r"has no one mask; use suspect\.masks"):
        _ = first.mask


def test_a_window_that_lies_in_one_place_is_that_place():
    starts = np.tile([4, 8], (20, 1))
    starts[:2] = 0
    place = suspects._settled(moving.Window(starts, np.ones((3, 5), bool)), (16, 16))
    np.testing.assert_array_equal(place, masks.box((16, 16), (8, 4, 13, 7)))
    starts[:3] = 0
    window = moving.Window(starts, np.ones((3, 5), bool))
    assert suspects._settled(window, (16, 16)) is window


def test_no_object_is_touched():
    """A model that looks at the object alone loses nothing, wherever the place lies."""
    audit = audit_of("object")
    own = suspects._sample(audit, 60, 0)
    probe = exchange.Probe.of(audit.model.engine, [each.image_input for each in own])
    everywhere = moving.Window.around(np.ones((SIDE, SIDE), bool), len(own))
    found = apart.apart(probe, everywhere, [each.object for each in own])
    assert (found.effect, found.relies) == (0, False)
    assert found.images == 60
    on_it = moving.Window.around(OBJECT, len(own))
    assert apart.apart(probe, on_it, [each.object for each in own]) is None
    assert apart.apart(probe, everywhere, [None] * 60) is None


@pytest.mark.parametrize(
    ("bounds", "relies"), [((0.051, 0.3), True), ((-0.1, 0.049), False), ((0.05, 0.3), None), ((-0.1, 0.05), None)]
)
def test_what_lies_off_the_object_decides_by_its_bounds(bounds, relies):
    assert apart.Apart(0.1, *bounds, 20).relies is relies


class TestConfirmed:
    """A suspect is confirmed off the object, is none, or is left to a person."""

    def suspect(self, *, p_value=0.001, relies=True, on_object=0.1, off=True):
        found = {True: apart.Apart(0.5, 0.3, 0.7, 40), False: apart.Apart(0, -0.1, 0.01, 40)}
        found[None] = apart.Apart(0.1, -0.1, 0.3, 40)
        rule = SimpleNamespace(relies=relies, picture=None)
        mask = np.zeros((1, SIDE, SIDE), bool)
        mask[0, :12, 36:] = True
        return suspects.Suspect(mask, ("a",), False, 0.9, p_value, rule, on_object, found.get(off), "")

    @pytest.mark.parametrize(
        ("how", "confirmed", "said"),
        [
            ({}, True, "the model relies on what is not the object"),
            ({"relies": None}, True, "the model relies on what is not the object"),
            ({"on_object": 0.8}, True, "the model relies on what is not the object"),
            ({"p_value": 0.06}, False, "which a place may do by chance"),
            ({"off": False}, False, "not a finding"),
            ({"on_object": 0.8, "off": None}, False, "this is the object"),
            ({"on_object": 0.8, "off": "too few"}, False, "this is the object"),
            ({"relies": False}, None, "but the rule of reliance clears it: a person must look at suspect.picture"),
            ({"off": None}, None, "a person must look at suspect.picture"),
            (
                {"off": "too few"},
                None,
                "too few images show what the rest costs: a person must look at suspect.picture",
            ),
            ({"on_object": None, "off": "too few"}, None, "look at suspect.picture"),
            ({"on_object": None, "off": "too few", "relies": None}, None, "look at suspect.picture"),
            ({"on_object": None, "off": "too few", "relies": False}, False, "look at suspect.picture"),
        ],
    )
    def test_it(self, how, confirmed, said):
        found = self.suspect(**how)
        assert found.confirmed is confirmed
        assert found.verdict.endswith(said)


def test_too_little_to_go_by():
    explainer = Explainer(Regions(OBJECT).eval(), "features", preprocess=to_tensor)
    few = [Case(each, mask=OBJECT) for each in pictures(9)]
    with pytest.raises(HeatmapError, match="9 different images of one size; expected at least 10"):
        explainer.audit(few).suspects()
    alike = [Case(each, mask=OBJECT) for n, each in enumerate(pictures()) if n % 3 == 0]
    with pytest.raises(HeatmapError, match="all images are predicted as one class"):
        explainer.audit(alike).suspects()


def scanned(falls, influence):
    return exchange.Scan(falls, influence, np.zeros((40, 8)), np.zeros((40, 8)))


class TestScan:
    def test_falls_add_up_for_a_linear_model(self):
        """The margin of a model that is linear in the pixels falls by what each cell contributes."""
        found = audit_of("corner").suspects(images=60).scan
        assert found.falls[:2, 6:].sum() == pytest.approx(found.falls.sum(), abs=0.35)
        assert found.falls[:2, 6:].min() > 0.1

    def test_chance_finds_nothing(self):
        """Where no place decides, the corrected p-value of the first region is below 0.05 in about 5 % of the scans."""
        rng = np.random.default_rng(0)
        low = 0
        for _ in range(100):
            scan = scanned(np.zeros((8, 8)), rng.normal(size=(40, 64)))
            drawn = rng.choice([-1.0, 1.0], 40) @ scan.influence
            drawn = scanned(drawn.reshape(8, 8), scan.influence)
            low += min(drawn.p_value(window) for window in drawn.windows) <= 0.05
        assert low <= 11

    def test_a_frame_is_one_region(self):
        falls = np.where(frame()[::6, ::6], 0.05, 0.0)
        scan = scanned(falls, np.random.default_rng(0).normal(0, 0.002, (40, 64)))
        (region, p_value), *_ = scan.regions(3)
        assert (region == frame()[::6, ::6]).all()
        assert p_value <= 0.01


def save(path, level, **how):
    Image.fromarray(np.random.default_rng(0).integers(0, level, (40, 60, 3), np.uint8)).save(path, **how)
    return path


class TestProperties:
    def test_of_an_image(self, tmp_path):
        exif = Image.Exif()
        exif[0x0110] = "A2"
        low, high = (save(tmp_path / f"{q}.jpg", 200, quality=q, exif=exif) for q in (20, 95))
        found = properties.of_image(low)
        assert found["camera"] == "A2"
        assert found["aspect ratio"] == 1.5
        assert found["size"] == 2400
        assert found["JPEG quality"] < properties.of_image(high)["JPEG quality"]
        assert found["brightness"] == pytest.approx(0.39, abs=0.02)
        assert properties.of_image(torch.zeros(3, 4, 4)) == {}
        red, green = np.zeros((2, 8, 8, 3), np.uint8)
        red[..., 0] = green[..., 1] = 200
        assert properties.of_image(red)["hue"] == pytest.approx(0)
        assert properties.of_image(green)["hue"] == pytest.approx(2 * np.pi / 3, abs=1e-3)

    def test_a_coloured_place_is_named_wherever_it_is(self):
        """A pale cast on a twelfth of the image, elsewhere in each, on a ground of any colour."""
        rng = np.random.default_rng(0)
        tied, free = [], []
        for number in range(45):
            ground = 90 + rng.normal(0, 6, 3)
            for found, variant in ((tied, number % 3), (free, rng.integers(3))):
                image = rng.normal(ground, 4, (SIDE, SIDE, 3))
                top, left = rng.integers(0, SIDE - 14, 2)
                image[top : top + 14, left : left + 14, variant] += 60
                tested = properties._of_pixels(Image.fromarray(image.clip(0, 255).astype(np.uint8)))
                found.append((str(number % 3), tested))
        name = "hue of the most colourful place"
        assert properties._tested(name, tied).effect > 0.8
        assert properties._tested("hue", tied).effect < 0.6
        assert properties._tested(name, free).effect < 0.15

    def test_hues_are_cut_where_none_are(self):
        """Cyan lies at both ends of the angles."""
        rng = np.random.default_rng(0)
        cyan, blue = ((middle + rng.normal(0, 0.2, 20) + np.pi) % (2 * np.pi) - np.pi for middle in (np.pi, -2.0))
        measured = [("a", {"hue": float(each)}) for each in cyan] + [("b", {"hue": float(each)}) for each in blue]
        assert properties._tested("hue", measured).effect > 0.7
        assert properties._numbers([list(cyan), list(blue)])[0] < 0.3

    def test_what_tells_the_class_is_named(self):
        images = [np.clip(each * (0.6 if n % 3 else 1), 0, 255).astype(np.uint8) for n, each in enumerate(pictures(45))]
        explainer = Explainer(Regions(OBJECT).eval(), "features", preprocess=to_tensor)
        cases = [Case(each, mask=OBJECT, target=n % 3, id=str(n)) for n, each in enumerate(images)]
        found = {each.name: each for each in properties.telling(explainer.audit(cases, ["overlap"]))}
        assert found["brightness"].suspicious
        assert found["brightness"].effect > 0.5
        assert "brightness predicts the class over 45 images" in str(found["brightness"])
        assert "size" not in found  # the same in all

    def test_chance_is_not(self):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 255, (45, SIDE, SIDE, 3), np.uint8)
        explainer = Explainer(Regions(OBJECT).eval(), "features", preprocess=to_tensor)
        cases = [Case(each, mask=OBJECT, target=n % 3, id=str(n)) for n, each in enumerate(images)]
        assert not any(each.suspicious for each in properties.telling(explainer.audit(cases, ["overlap"])))

    def test_names(self):
        found = properties._names([["a"] * 9 + ["b"], ["b"] * 10])
        assert found[0] == pytest.approx(0.905, abs=0.01)
        assert found[1] < 0.001
