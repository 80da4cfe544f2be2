"""Each kind does what its documentation says, checked on images whose change can be computed by hand or elsewhere."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data
from skimage.color import rgb2yiq
from skimage.measure import label

from pytest_gradcam import perturbations as P


def _flat(level, *, shape=(120, 160)):
    return np.full(shape, level, np.uint8)


def _point(size):
    image = np.zeros((size, size), np.uint8)
    image[size // 2, size // 2] = 255
    return image


@pytest.fixture(scope="module")
def muted():
    """A photograph whose colours cannot be clipped by a change of hue or a mild gain."""
    return (80 + data.astronaut()[::4, ::4].astype(float) * 0.3).astype(np.uint8)


def test_brightness_adds_a_share_of_full_scale():
    assert (P.brightness(0.2)(_flat(100)) == 151).all()
    assert (P.brightness(0.2, down=True)(_flat(100)) == 49).all()
    assert (P.brightness(0.2)(_flat(240)) == 255).all()
    assert (P.brightness(1)(_flat(0)) == 255).all()


def test_contrast_spreads_about_the_mean_or_flattens_to_it():
    image = np.array([[80, 120]], np.uint8)
    assert P.contrast(0.5)(image).tolist() == [[60, 140]]
    assert P.contrast(0.5, down=True)(image).tolist() == [[90, 110]]
    assert P.contrast(1, down=True)(image).tolist() == [[100, 100]]


def test_gamma_darkens_or_lightens_the_mid_tones_and_keeps_the_ends():
    image = np.array([[0, 128, 255]], np.uint8)
    assert P.gamma(1)(image).tolist() == [[0, round(255 * (128 / 255) ** 3), 255]]
    assert P.gamma(1, down=True)(image).tolist() == [[0, round(255 * (128 / 255) ** (1 / 3)), 255]]


def test_saturation_scales_chroma_at_equal_luma(muted):
    before, after = rgb2yiq(muted), rgb2yiq(P.saturation(0.25)(muted))
    assert np.abs(after[..., 0] - before[..., 0]).max() < 0.01
    assert np.hypot(*after[..., 1:].T).mean() == pytest.approx(4**0.25 * np.hypot(*before[..., 1:].T).mean(), rel=0.02)
    assert np.ptp(P.saturation(1, down=True)(muted), axis=2).max() <= 1


@pytest.mark.parametrize(("down", "turn"), [(False, 1), (True, -1)])
def test_hue_turns_by_its_angle_at_equal_luma(muted, down, turn):
    before, after = rgb2yiq(muted), rgb2yiq(P.hue(0.3, down=down)(muted))
    assert np.abs(after[..., 0] - before[..., 0]).max() < 0.01
    angles = [np.arctan2(yiq[..., 2], yiq[..., 1]) for yiq in (before, after)]
    turned = (angles[1] - angles[0])[np.hypot(*before[..., 1:].transpose(2, 0, 1)) > 0.1]
    assert np.rad2deg(np.angle(np.exp(1j * turned)).mean()) == pytest.approx(turn * 45, abs=1)


def test_white_balance_is_the_cast_of_an_incandescent_lamp():
    red, green, blue = P.white_balance(1)(_flat(150, shape=(1, 1, 3)))[0, 0]
    # CIE illuminant A (x 0.44757, y 0.40745) in linear sRGB (IEC 61966-2-1), encoded with gamma 2.2.
    x, y = 0.44757, 0.40745
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    lamp = (to_rgb @ [x / y, 1, (1 - x - y) / y]) ** (1 / 2.2)
    assert [red, green, blue] == pytest.approx(150 * lamp, abs=1)
    red, _, blue = P.white_balance(0.5, down=True)(_flat(100, shape=(1, 1, 3)))[0, 0]
    assert blue > 100 > red


def test_gaussian_noise_has_the_stated_deviation():
    noise = P.gaussian_noise(0.2)(_flat(128, shape=(200, 200, 3))).astype(float) - 128
    assert noise.std() == pytest.approx(0.2 * 0.4 * 255, rel=0.02)
    assert abs(noise.mean()) < 0.3


@pytest.mark.parametrize("level", [40, 128, 200])
def test_shot_noise_grows_with_the_square_root_of_the_light(level):
    noisy = P.shot_noise(0.1)(_flat(level, shape=(300, 300))).astype(float)
    photons = 400 * level / 255
    assert noisy.mean() == pytest.approx(level, abs=0.5)
    assert noisy.std() == pytest.approx(level / np.sqrt(photons), rel=0.03)


def test_salt_and_pepper_replaces_a_share_and_a_higher_severity_adds_to_it():
    image = _flat(128, shape=(300, 300, 3))
    mild, strong = P.salt_and_pepper(0.2)(image), P.salt_and_pepper(0.6)(image)
    assert set(np.unique(mild)) == {0, 128, 255}
    assert [(mild == value).mean() for value in (0, 255)] == pytest.approx([0.05, 0.05], abs=0.005)
    assert (strong[mild != 128] == mild[mild != 128]).all()


def test_gaussian_blur_is_that_of_scipy():
    image = data.camera()[::2, ::2]
    expected = ndimage.gaussian_filter(image.astype(float), 0.05 * 256 * 0.4, mode="reflect", truncate=3)
    assert np.abs(P.gaussian_blur(0.4)(image) - expected).max() <= 1.5


@pytest.mark.parametrize("angle", [0, 40, 90, 160])
def test_motion_blur_smears_a_point_along_its_angle(angle):
    smeared = P.motion_blur(0.5, angle=angle)(_point(101)).astype(float)
    y, x = np.indices(smeared.shape) - 50
    spread = np.cov(np.stack([x.ravel(), -y.ravel()]), aweights=smeared.ravel())
    values, vectors = np.linalg.eigh(spread)
    assert np.rad2deg(np.arctan2(vectors[1, 1], vectors[0, 1])) % 180 == pytest.approx(angle, abs=2)
    # 20 % of 101 pixels at severity 0.5: a line of about 10 pixels has the deviation 10 / sqrt(12).
    assert np.sqrt(values[1]) == pytest.approx(10.1 / np.sqrt(12), rel=0.2)


def test_defocus_blur_turns_a_point_into_a_disc():
    blurred = P.defocus_blur(0.3)(_point(200))
    spot = blurred > blurred.max() / 2
    assert spot.sum() == pytest.approx(np.pi * 3**2, rel=0.2)
    assert np.ptp(blurred[100, 98:103]) == 0
    assert not spot[97, 97]


def test_jpeg_is_pillows_at_the_stated_quality():
    image = data.chelsea()
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "jpeg", quality=10)
    assert np.array_equal(P.jpeg(0.5)(image), np.array(Image.open(stored)))


def test_downscale_keeps_the_mean_and_loses_what_is_finer_than_its_pixels():
    checks = (np.indices((128, 128)).sum(0) % 2 * 200).astype(np.uint8)
    assert np.ptp(P.downscale(1)(checks)) == 0
    halves = np.repeat([[40, 200]], 64, axis=1).repeat(128, axis=0).astype(np.uint8)
    assert P.downscale(1)(halves).mean() == pytest.approx(120, abs=1)
    assert P.downscale(1)(halves)[0, 0] == 40


@pytest.mark.parametrize(("severity", "levels"), [(0.25, 76), (0.5, 23), (1, 2)])
def test_banding_leaves_that_many_even_levels(severity, levels):
    ramp = np.arange(256, dtype=np.uint8)[None]
    kept = np.unique(P.banding(severity)(ramp)).astype(int)
    assert len(kept) == levels
    assert (kept[0], kept[-1]) == (0, 255)
    assert np.ptp(np.diff(kept)) <= 1


def test_fog_hides_the_light_of_every_pixel_by_the_stated_share():
    black, grey = P.fog(1)(_flat(0)) / 210, P.fog(1)(_flat(210))
    assert black.min() >= 0.64
    assert black.max() <= 1
    assert np.ptp(black) > 0.05
    assert (grey == 210).all()


def test_rain_draws_steep_streaks_over_about_a_third():
    streaks = P.rain(1)(_flat(0, shape=(300, 300))).astype(float)
    assert (streaks > 100).mean() == pytest.approx(1 / 3, abs=0.08)
    # Along the direction of fall the picture changes less than across it.
    upright = P.rain(0.3, angle=90)(_flat(0, shape=(300, 300))).astype(float)
    assert np.abs(np.diff(upright, axis=0)).mean() < 0.3 * np.abs(np.diff(upright, axis=1)).mean()


def test_shadow_is_one_dark_region_with_light_beside_it():
    shaded = P.shadow(1)(_flat(200))
    assert shaded.min() == 20
    assert label(shaded < 60).max() == 1
    assert 0.1 < (shaded < 60).mean() < 0.6
    assert (shaded == 200).mean() > 0.3


def test_glare_is_white_at_its_place_and_falls_off():
    lit = P.glare(1, x=0.25, y=0.75)(_flat(50, shape=(101, 201)))
    assert lit[75, 50] == 255
    assert (int(lit[75, 50]), int(lit[75, 70]), int(lit[5, 195])) == tuple(
        sorted(lit[[75, 75, 5], [50, 70, 195]])[::-1]
    )
    assert lit[5, 195] < 80


def test_vignette_is_black_in_the_corners_and_leaves_the_centre():
    dark = P.vignette(1)(_flat(200, shape=(101, 151)))
    assert dark[50, 75] == 200
    assert dark[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0
    assert 0 < dark[50, 0] < 200


def test_lens_dirt_darkens_a_small_part():
    dirty = P.lens_dirt(1)(_flat(255))
    assert dirty.min() == 67
    assert 0.02 < (dirty < 200).mean() < 0.4


def test_occlude_covers_a_patch_of_its_share_at_its_place():
    image = _flat(0, shape=(40, 80))
    middle, corner = P.occlude(0.5)(image), P.occlude(0.5, x=1, y=0)(image)
    assert (middle[10:30, 20:60] == 128).all()
    assert (corner[:20, 40:] == 128).all()
    assert (middle == 128).sum() == (corner == 128).sum() == 800
    assert (P.occlude(1)(image) == 128).all()


def test_dead_rows_are_black_rows_and_a_higher_severity_adds_to_them():
    image = _flat(99, shape=(100, 20, 3))
    mild, strong = ((P.dead_rows(severity)(image) == 0).all(axis=(1, 2)) for severity in (0.1, 0.6))
    assert (mild.sum(), strong.sum()) == (5, 30)
    assert (strong | ~mild).all()
    assert (P.dead_rows(0.001)(image) == 0).all(axis=(1, 2)).sum() == 1


def test_timestamp_writes_white_on_black_at_its_place():
    image = _flat(128, shape=(240, 320))
    stamped = P.timestamp(1)(image)
    rows, columns = np.nonzero(stamped != 128)
    assert rows.min() > 200
    assert columns.max() < 250
    assert (stamped.max(), stamped.min()) == (255, 0)
    rows, columns = np.nonzero(P.timestamp(1, x=1, y=0, text="CAM 3")(image) != 128)
    assert rows.max() < 40
    assert columns.min() > 200
    assert set(P.timestamp(0.5)(image)[stamped == 255]) == {192}
