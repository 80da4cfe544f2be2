"""What holds for every perturbation: identity, range, reproducibility, growth, masks, composition, refusals."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from scipy.stats import spearmanr
from skimage import data
from skimage.draw import polygon2mask

from pytest_gradcam import perturbations as P
from pytest_gradcam import strategies
from pytest_gradcam.errors import HeatmapError

NAMED = [
    "brightness",
    "contrast",
    "gamma",
    "saturation",
    "hue",
    "white_balance",
    "gaussian_noise",
    "shot_noise",
    "salt_and_pepper",
    "gaussian_blur",
    "motion_blur",
    "defocus_blur",
    "jpeg",
    "downscale",
    "banding",
    "fog",
    "rain",
    "shadow",
    "glare",
    "vignette",
    "lens_dirt",
    "occlude",
    "dead_rows",
    "timestamp",
    "shift",
    "rotate",
    "zoom",
    "flip",
    "perspective",
]
FLAGS = {"down", "out", "clockwise"}
GEOMETRIC = [P.shift, P.rotate, P.zoom, P.flip, P.perspective]
SEEDED = [kind for kind in P.KINDS.values() if "seed" in {field.name for field in fields(kind)}]
COLOUR_ONLY = [P.saturation, P.hue, P.white_balance]


def _directions():
    """Every kind, and every kind with a direction the other way round as well."""
    for kind in P.KINDS.values():
        yield pytest.param(kind, {}, id=kind.__name__)
        for field in fields(kind):
            if field.name in FLAGS:
                yield pytest.param(kind, {field.name: True}, id=f"{kind.__name__}-{field.name}")


every_direction = pytest.mark.parametrize(("kind", "options"), list(_directions()))
every_kind = pytest.mark.parametrize("kind", P.KINDS.values(), ids=P.KINDS)


@pytest.fixture(scope="module")
def photographs():
    return {"chelsea": data.chelsea(), "coffee": data.coffee(), "camera": data.camera(), "rocket": data.rocket()}


def _noise(shape):
    return np.random.default_rng(7).integers(0, 256, shape, np.uint8)


def test_every_kind_that_was_asked_for_is_there_under_its_name():
    assert list(P.KINDS) == NAMED
    assert all(getattr(P, name) is kind for name, kind in P.KINDS.items())
    assert set(NAMED) | {"identity"} <= set(P.__all__)


@every_direction
def test_severity_zero_changes_no_bit_and_returns_a_new_image(kind, options, photographs):
    for image in (photographs["chelsea"], photographs["camera"]):
        same = kind(0, **options)(image)
        assert np.array_equal(same, image)
        assert not np.shares_memory(same, image)


@every_direction
def test_shape_and_type_are_kept_and_the_image_passed_is_left_alone(kind, options):
    for shape in [(1, 1), (1, 1, 3), (3, 5), (3, 5, 3), (1, 7), (7, 1, 3), (37, 53), (64, 48, 3)]:
        image = _noise(shape)
        before = image.copy()
        image.flags.writeable = False
        for severity in (1e-9, 0.001, 0.37, 1):
            changed = kind(severity, **options)(image)
            assert (changed.shape, changed.dtype) == (shape, np.uint8)
        assert np.array_equal(image, before)
        moved = kind(0.37, **options).mask(image.reshape(*shape[:2], -1)[..., 0] > 99)
        assert (moved.shape, moved.dtype) == (shape[:2], np.bool_)


@every_direction
def test_black_and_white_stay_in_range(kind, options):
    """An overflow of uint8 would turn white into black: blends of white with white must not come out dark."""
    white = kind(0.5, **options)(np.full((48, 64, 3), 255, np.uint8))
    black = kind(0.5, **options)(np.zeros((48, 64, 3), np.uint8))
    assert white.mean() > black.mean()


@every_direction
def test_the_distance_to_the_original_grows_with_the_severity(kind, options, photographs):
    for name, image in photographs.items():
        if kind in COLOUR_ONLY and image.ndim == 2:
            continue
        severities = np.linspace(0, 1, 11)
        changes = [kind(s, **options)(image).astype(float) - image for s in severities]
        for power in (1, 2):  # mean absolute and mean squared
            distances = [(np.abs(change) ** power).mean() for change in changes]
            assert distances[-1] > 0, name
            assert spearmanr(severities, distances).statistic > 0.9, (name, distances)


@pytest.mark.parametrize("kind", COLOUR_ONLY)
def test_a_change_of_colour_leaves_greyscale_alone(kind, photographs):
    assert np.array_equal(kind(1)(photographs["camera"]), photographs["camera"])


@pytest.mark.parametrize("kind", SEEDED)
def test_a_seed_gives_the_same_bits_and_another_seed_others(kind):
    image = _noise((40, 60, 3))
    first = kind(0.6, seed=3)(image)
    np.random.random(5)  # the global state takes no part ...
    before = pickle.dumps(np.random.get_state())
    assert np.array_equal(first, kind(0.6, seed=3)(image))
    assert not np.array_equal(first, kind(0.6, seed=4)(image))
    assert pickle.dumps(np.random.get_state()) == before  # ... and is left alone


# What follows moves a drawn shape by formulas of its own. The mask is compared with that, and with the shape in the
# image, thresholded; the shape lies where no mirrored copy of it comes in.

SHAPE = (120, 160)
OUTLINE = np.array([[58, 40], [96, 48], [102, 70], [84, 82], [60, 74]], float)  # (x, y)
WIDE = np.array([[35, 30], [125, 45], [140, 85], [80, 95], [30, 80]], float)


def _drawn(outline):
    return polygon2mask(SHAPE, outline[:, ::-1])


def _about_centre(change):
    centre = np.array([(SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2])
    return _drawn(change(WIDE - centre) + centre)


def _turned(points, degrees):
    """Counter-clockwise as seen, with y pointing down."""
    complex_points = (points[:, 0] - 1j * points[:, 1]) * np.exp(1j * np.deg2rad(degrees))
    return np.stack([complex_points.real, -complex_points.imag], axis=1)


def _slanted(points, severity):
    # w of the inverse is 1 + 0.6 s x' / W; solving x = x' / w for x' gives the division by 1 - 0.6 s x / W.
    return points / (1 - 0.6 * severity * points[:, :1] / SHAPE[1])


def _iou(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("severity", [0.05, 0.3, 0.6, 1])
@pytest.mark.parametrize(
    ("perturbation", "moved"),
    [
        (lambda s: P.shift(s), lambda p, s: np.add(p, (30 * s, 0))),
        (lambda s: P.shift(s, angle=90), lambda p, s: np.add(p, (0, -30 * s))),
        (lambda s: P.shift(s, angle=210), lambda p, s: p + 30 * s * np.array([-np.sqrt(0.75), 0.5])),
        (lambda s: P.rotate(s), lambda p, s: _turned(p, 45 * s)),
        (lambda s: P.rotate(s, clockwise=True), lambda p, s: _turned(p, -45 * s)),
        (lambda s: P.zoom(s), lambda p, s: p * 2**s),
        (lambda s: P.zoom(s, out=True), lambda p, s: p / 2**s),
        (lambda s: P.perspective(s), _slanted),
    ],
    ids=["right", "up", "left-down", "rotate", "clockwise", "zoom", "zoom-out", "perspective"],
)
def test_a_mask_moves_as_the_formula_says(perturbation, moved, severity):
    expected = _about_centre(lambda points: moved(points, severity))
    assert _iou(perturbation(severity).mask(_drawn(WIDE)), expected) > 0.9
    assert severity < 1 or _iou(_drawn(WIDE), expected) < 0.9  # a mask left in its place would not do


@pytest.mark.parametrize("severity", [0.05, 0.2, 0.4])
@pytest.mark.parametrize("kind", GEOMETRIC)
@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "colour"])
def test_a_mask_follows_its_image(kind, severity, channels):
    drawn = _drawn(OUTLINE)
    image = np.zeros((*SHAPE, *channels), np.uint8)
    image[drawn] = 255
    seen = kind(severity)(image).reshape(*SHAPE, -1)[..., 0] > 127
    assert _iou(kind(severity).mask(drawn), seen) > 0.9


def test_flip_mirrors_the_whole_image_at_one_and_a_central_band_below():
    image = _noise((6, 10, 3))
    assert np.array_equal(P.flip(1)(image), image[:, ::-1])
    part = P.flip(0.4)(image)
    assert np.array_equal(part[:, 3:7], image[:, 3:7][:, ::-1])
    assert np.array_equal(np.delete(part, np.s_[3:7], 1), np.delete(image, np.s_[3:7], 1))


def test_what_comes_in_is_mirrored_and_not_part_of_the_mask():
    image = np.tile(np.arange(40, 200, 2, dtype=np.uint8), (80, 1))
    shifted = P.shift(0.5)(image)  # to the right by 10 pixels
    assert np.array_equal(shifted[:, :10], image[:, :10][:, ::-1])
    moved = P.shift(0.5).mask(np.ones((80, 80), bool))
    assert not moved[:, :10].any()
    assert moved[:, 10:].all()


@pytest.mark.parametrize("kind", [kind for kind in P.KINDS.values() if kind not in GEOMETRIC])
def test_a_mask_stays_where_the_pixels_stay(kind):
    mask = _drawn(OUTLINE)
    moved = kind(1).mask(mask)
    assert np.array_equal(moved, mask)
    assert moved is not mask


small = strategies.compositions(max_size=2, max_severity=1)
pictures = strategies.images(min_side=1, max_side=12)


@settings(max_examples=30, deadline=None)
@given(a=small, image=pictures)
def test_the_identity_composed_on_either_side_changes_nothing(a, image):
    assert P.identity | a == a == a | P.identity
    assert hash(P.identity | a) == hash(a)
    assert np.array_equal(P.identity(image), image)
    assert a.severity == max([0, *(part.severity for part in a)])


@settings(max_examples=30, deadline=None)
@given(a=small, b=small, c=small, image=pictures)
def test_composition_is_associative_and_applies_from_left_to_right(a, b, c, image):
    assert (a | b) | c == a | (b | c)
    assert np.array_equal((a | b | c)(image), c(b(a(image))))


@settings(max_examples=30, deadline=None)
@given(a=small, b=small, mask=strategies.masks((9, 14)))
def test_the_mask_of_a_composition_is_moved_step_by_step(a, b, mask):
    assert np.array_equal((a | b).mask(mask), b.mask(a.mask(mask)))
    assert np.array_equal(P.identity.mask(mask), mask)


@settings(max_examples=60, deadline=None)
@given(a=strategies.compositions(max_severity=1), image=pictures)
def test_the_repr_is_code_that_rebuilds_it(a, image):
    names = {name: getattr(P, name) for name in P.__all__}
    again = eval(repr(a), names)
    assert again == a
    assert hash(again) == hash(a)
    assert np.array_equal(again(image), a(image))
    assert pickle.loads(pickle.dumps(a)) == a


@pytest.mark.parametrize(
    ("perturbation", "code"),
    [
        (P.motion_blur(0.31, angle=40), "motion_blur(0.31, angle=40)"),
        (P.motion_blur(np.float64(0.31), angle=np.float32(12.5)), "motion_blur(0.31, angle=12.5)"),
        (P.fog(1, seed=0), "fog(1.0)"),
        (P.brightness(0.2, down=True), "brightness(0.2, down=True)"),
        (P.timestamp(0.5, text="it's"), 'timestamp(0.5, text="it\'s")'),
        (P.fog(0.2) | P.identity | P.jpeg(0.5), "fog(0.2) | jpeg(0.5)"),
        (P.identity, "identity"),
    ],
)
def test_the_repr_leaves_defaults_out(perturbation, code):
    assert repr(perturbation) == code


@every_kind
def test_a_perturbation_is_a_frozen_value(kind):
    one, same, other = kind(0.25), kind(0.25), kind(0.5)
    assert one == same
    assert len({one, same, other}) == 2
    assert one.severity == 0.25
    with pytest.raises(FrozenInstanceError):
        one.severity = 0.5
    assert P.fog(0.2) != P.jpeg(0.2)
    with pytest.raises(TypeError):
        kind(0.1, 1)


def test_composing_with_anything_else_is_a_type_error():
    with pytest.raises(TypeError):
        P.fog(0.2) | 3


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("perturbation", [P.identity, P.fog(0.4) | P.rotate(0.2), P.jpeg(0.5)], ids=repr)
def test_a_pil_image_comes_back_as_one(mode, perturbation):
    image = Image.fromarray(data.chelsea()).convert(mode)
    changed = perturbation(image)
    assert (changed.mode, changed.size) == (image.mode, image.size)
    assert np.array_equal(np.asarray(changed), perturbation(np.asarray(image)))


@every_kind
def test_a_severity_outside_zero_to_one_is_refused(kind):
    message = f"severity=.* of {kind.__name__} is not usable; expected a number from 0 to 1"
    for severity in (-0.1, 1.0001, float("nan"), float("inf"), True, np.True_, "0.3", None, 0.5j):
        with pytest.raises(HeatmapError, match=message):
            kind(severity)


def test_the_message_says_what_to_do_instead():
    with pytest.raises(HeatmapError) as refused:
        P.brightness(-0.3)
    assert str(refused.value) == (
        "severity=-0.3 of brightness is not usable; expected a number from 0 to 1; for the opposite direction pass "
        "down=True"
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: P.fog(0.1, seed=-1),
        lambda: P.fog(0.1, seed=1.5),
        lambda: P.fog(0.1, seed=True),
        lambda: P.motion_blur(0.1, angle=float("nan")),
        lambda: P.motion_blur(0.1, angle="up"),
        lambda: P.occlude(0.1, x=1.5),
        lambda: P.glare(0.1, y=None),
        lambda: P.zoom(0.1, out=1),
        lambda: P.timestamp(0.1, text=" "),
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused(call):
    with pytest.raises(HeatmapError, match="is not usable; expected"):
        call()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros((4, 4), bool),
        [[1, 2]],
        None,
        Image.new("F", (4, 4)),
        Image.new("RGB", (0, 4)),
        Image.new("RGBA", (4, 4), (0, 0, 0, 9)),
    ],
    ids=lambda image: f"{type(image).__name__}-{getattr(image, 'shape', '')}",
)
@pytest.mark.parametrize("perturbation", [P.identity, P.fog(0), P.fog(0.5) | P.shift(0.1)], ids=repr)
def test_what_is_no_image_is_refused(perturbation, image):
    with pytest.raises(HeatmapError):
        perturbation(image)


@pytest.mark.parametrize(
    "mask", [np.zeros((4, 4)), np.zeros((4, 4), np.uint8), np.zeros(4, bool), np.zeros((0, 4), bool)]
)
def test_what_is_no_mask_is_refused(mask):
    with pytest.raises(HeatmapError, match="expected a bool array"):
        P.shift(0.5).mask(mask)


def test_importing_it_loads_neither_torch_nor_pytest():
    code = "import sys, pytest_gradcam.perturbations; print({'torch', 'pytest', 'hypothesis'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
