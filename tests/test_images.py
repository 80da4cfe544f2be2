"""Images as users have them are read as they are displayed, or refused by name."""

import numpy as np
import pytest
from PIL import Image

from pytest_gradcam import images
from pytest_gradcam.errors import HeatmapError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def test_a_file_a_pil_image_and_an_array_read_the_same(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for image in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(pixels), pixels):
        picture = images.read(image)
        assert picture.shape == (12, 20)
        np.testing.assert_array_equal(np.asarray(picture.pil), pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_file_with_an_exif_orientation_is_turned_as_it_is_displayed(tmp_path, pixels, orientation):
    # Independent of Pillow: what each orientation does, by the EXIF 2.3 table (0th row, 0th column).
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a[::-1].transpose(1, 0, 2),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a[:, ::-1].transpose(1, 0, 2),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(pixels).save(path, exif=exif)
    np.testing.assert_array_equal(np.asarray(images.read(path).pil), turn(pixels))


def test_a_pil_image_whose_orientation_was_not_applied_is_refused(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened, pytest.raises(HeatmapError, match=r"exif_transpose"):
        images.read(opened)


def test_greyscale_stays_one_channel(pixels):
    assert images.read(pixels[..., 0]).pil.mode == "L"
    assert images.read(Image.fromarray(pixels[..., 0])).pil.mode == "L"


def test_an_opaque_alpha_channel_is_dropped(pixels):
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(np.asarray(images.read(Image.fromarray(opaque)).pil), pixels)


def test_a_palette_image_is_shown_in_its_colours(pixels):
    palette = Image.fromarray(pixels).quantize(256)
    np.testing.assert_array_equal(np.asarray(images.read(palette).pil), np.asarray(palette.convert("RGB")))


def _transparent(pixels):
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[0, 0] = 254
    return Image.fromarray(np.dstack([pixels, alpha]))


def _sixteen_bit(pixels):
    return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_transparent, "transparent pixels"),
        (_sixteen_bit, "16-bit or deeper"),
        (lambda p: Image.fromarray(p[..., 0].astype(np.float32)), "float image"),
        (lambda p: p.astype(np.float64), r"float64 is no image; expected uint8.*img_as_ubyte"),
        (lambda p: p.astype(np.uint16), "uint16"),
        (lambda p: p.transpose(2, 0, 1), "move the channels last"),
        (lambda p: p[..., :1], "drop the last axis"),
        (lambda p: np.dstack([p, p[..., 0]]), "alpha"),
        (lambda p: p[None], r"shape \(1, 12, 20, 3\)"),
        (lambda p: p[:0], r"shape \(0, 20, 3\)"),
        (lambda p: p.tolist(), "list is no image"),
        (lambda _: None, "NoneType is no image"),
    ],
)
def test_what_cannot_be_read_safely_is_refused_by_name(pixels, make, words):
    with pytest.raises(HeatmapError, match=words):
        images.read(make(pixels))


def test_several_frames_are_refused(tmp_path, pixels):
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    frames[0].save(tmp_path / "two.tiff", save_all=True, append_images=frames[1:])
    with pytest.raises(HeatmapError, match="holds 2 frames"):
        images.read(tmp_path / "two.tiff")


def test_files_that_are_missing_not_images_or_cut_short(tmp_path, pixels):
    (tmp_path / "text.png").write_text("not a picture")
    Image.fromarray(pixels).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    for name, words in (
        ("none.png", "no image file"),
        ("text.png", "not an image file"),
        ("cut.png", "cannot be read"),
    ):
        with pytest.raises(HeatmapError, match=words):
            images.read(tmp_path / name)
