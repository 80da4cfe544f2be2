"""Images as users have them are read as they are displayed, or refused by name."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pytest_gradcam import images, masks
from pytest_gradcam.errors import HeatmapError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


@pytest.mark.filterwarnings("error")
def test_a_warning_of_too_many_pixels_is_a_refusal_where_warnings_are_errors(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    with pytest.raises(HeatmapError, match=r"large\.png cannot be read .*its size"):
        images.read(tmp_path / "large.png")


def test_a_file_a_pil_image_and_an_array_read_the_same(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for image in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(pixels), pixels):
        picture = images.read(image)
        assert picture.shape == (12, 20)
        np.testing.assert_array_equal(np.asarray(picture.pil), pixels)


@pytest.mark.parametrize(
    "given", [lambda a: a, lambda a: a[::2, ::-1], lambda a: a.transpose(1, 0, 2), lambda a: a[..., 1]]
)
def test_pixels_are_a_copy_in_the_order_of_rows_of_an_array_and_of_a_pil_image(pixels, given):
    array = given(pixels)
    before = array.copy()
    for image in (array, Image.fromarray(np.ascontiguousarray(array))):
        found = images.pixels(image)
        np.testing.assert_array_equal(found, array)
        assert found.flags.c_contiguous
        found[...] = 0
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((0, 4), np.uint8), np.zeros((3, 4, 4), np.uint8), 5])
def test_pixels_are_refused_as_images_are(image):
    with pytest.raises(HeatmapError) as read:
        images.read(image)
    with pytest.raises(HeatmapError) as taken:
        images.pixels(image)
    assert str(taken.value) == str(read.value)


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
        (
            lambda p: p.astype(np.float64),
            r"float64 is not an image; expected uint8.*its values run from 0 to 255; choose the window",
        ),
        (lambda p: p.astype(np.uint16), "uint16"),
        (lambda p: p.transpose(2, 0, 1), "move the channels last"),
        (lambda p: p[..., :1], "drop the last axis"),
        (lambda p: np.dstack([p, p[..., 0]]), "alpha"),
        (lambda p: p[None], r"shape \(1, 12, 20, 3\)"),
        (lambda p: p[:0], r"shape \(0, 20, 3\)"),
        (lambda p: p.tolist(), "list is not an image"),
        (lambda _: None, "NoneType is not an image"),
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


def test_the_window_of_the_advice_keeps_what_the_levels_show():
    a = np.random.default_rng(0).integers(0, 4096, (32, 32)).astype(np.uint16)
    with pytest.raises(HeatmapError) as caught:
        images.read(a)
    formula = str(caught.value).split("and pass ")[1].split(", a the array")[0]
    shown = eval(formula, {"numpy": np, "a": a, "lo": 0, "hi": 4095})
    assert images.read(shown).shape == (32, 32)
    assert np.abs(shown - 255 * a.astype(float) / 4095).max() < 1  # levels below lo do not wrap around either
    assert (eval(formula, {"numpy": np, "a": a, "lo": 4000, "hi": 4095})[a < 4000] == 0).all()


def _png(path, pixels, depth, colour):
    """A PNG written by hand, since Pillow writes no 16-bit colour (PNG specification, chapter 11)."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    signature = bytes([0x89]) + b"PNG\r\n" + bytes([0x1A]) + b"\n"
    path.write_bytes(signature + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


class TestDeepColour:
    """Pillow keeps the upper 8 of 16 bits of a colour without a word: a picture that uses 10 of them turns black."""

    @pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
    def test_png(self, tmp_path, pixels, colour, channels):
        deep = np.full((*pixels.shape[:2], channels), 65535, np.uint16)
        deep[..., : min(channels, 3)] = pixels[..., : min(channels, 3)] * np.uint16(4)
        path = _png(tmp_path / "deep.png", deep, 16, colour)
        with pytest.raises(HeatmapError, match=r"16 bits per channel.*choose the window"):
            images.read(path)
        with Image.open(path) as opened, pytest.raises(HeatmapError, match="16 bits per channel"):
            images.read(opened)
        with pytest.raises(HeatmapError, match="16 bits per channel"):
            masks.load(path)

    def test_the_same_writer_at_8_bits_is_read(self, tmp_path, pixels):
        read = images.read(_png(tmp_path / "plain.png", pixels, 8, 2)).pil
        np.testing.assert_array_equal(np.asarray(read), pixels)

    def test_ppm(self, tmp_path, pixels):
        deep = (pixels * np.uint16(4)).astype(">u2").tobytes()
        (tmp_path / "deep.ppm").write_bytes(b"P6 20 12 65535\n" + deep)
        with pytest.raises(HeatmapError, match="16 bits per channel"):
            images.read(tmp_path / "deep.ppm")
        Image.fromarray(pixels).save(tmp_path / "plain.ppm")
        np.testing.assert_array_equal(np.asarray(images.read(tmp_path / "plain.ppm").pil), pixels)

    def test_tiff(self, tmp_path, pixels):
        Image.fromarray(pixels).save(tmp_path / "plain.tif")
        content = bytearray((tmp_path / "plain.tif").read_bytes())
        np.testing.assert_array_equal(np.asarray(images.read(tmp_path / "plain.tif").pil), pixels)
        at = content.index(struct.pack("<HHH", 8, 8, 8))
        content[at : at + 6] = struct.pack("<HHH", 16, 16, 16)
        (tmp_path / "deep.tif").write_bytes(bytes(content))
        with pytest.raises(HeatmapError, match="16 bits per channel"):
            images.read(tmp_path / "deep.tif")


@pytest.mark.parametrize("kind", ["eps", "pcx", "tga", "ico", "icns", "dds"])
def test_formats_beyond_the_list_are_refused(tmp_path, pixels, kind):
    Image.fromarray(pixels).resize((32, 32)).save(tmp_path / f"image.{kind}")
    (tmp_path / "renamed.png").write_bytes((tmp_path / f"image.{kind}").read_bytes())
    for name in (f"image.{kind}", "renamed.png"):
        with pytest.raises(HeatmapError, match="not an image file that is read here; expected PNG, JPEG"):
            images.read(tmp_path / name)
        with pytest.raises(HeatmapError, match="not an image file that is read here; expected PNG, JPEG"):
            masks.load(tmp_path / name)


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp", "bmp", "gif", "ppm"])
def test_formats_of_the_list_are_read(tmp_path, kind):
    Image.new("RGB", (20, 12), "white").save(tmp_path / f"image.{kind}")
    assert np.asarray(images.read(tmp_path / f"image.{kind}").pil.convert("RGB")).min() > 250


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path, words in (
        (tmp_path / "pipe.png", "is a pipe, socket or device"),
        ("/dev/zero", "is a pipe, socket or device"),
        (tmp_path, "is a directory"),
        ("nul\0byte.png", "cannot be read"),
    ):
        with pytest.raises(HeatmapError, match=words):
            images.read(path)


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (40, 1), (1, 40)])
def test_a_picture_in_a_png_is_the_picture(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    with Image.open(io.BytesIO(images.png(Image.fromarray(pixels)))) as read:
        read.verify()
    with Image.open(io.BytesIO(images.png(Image.fromarray(pixels)))) as read:
        assert (read.format, read.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(read, pixels)
