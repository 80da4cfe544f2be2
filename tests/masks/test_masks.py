"""Masks against computations of another kind: pixel by pixel in plain Python, Pillow, pycocotools."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pytest_gradcam import masks
from pytest_gradcam.errors import HeatmapError

Array = NDArray[Any]
SHAPE = (12, 20)
BLOB = np.zeros(SHAPE, bool)
BLOB[3:7, 5:14] = True


def save(path: Path, values: Array, *, mode: str | None = None) -> Path:
    Image.fromarray(values, mode).save(path) if mode else Image.fromarray(values).save(path)
    return path


def palette_image(indices: Array, *colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8)).convert("L")
    out = Image.frombytes("P", image.size, image.tobytes())
    out.putpalette([channel for colour in colours for channel in colour])
    return out


class TestClip:
    """What is drawn on a larger image and cropped is the same."""

    AROUND = st.integers(-40, 130).map(lambda quarters: quarters / 4)

    @settings(max_examples=200)
    @given(st.lists(st.tuples(AROUND, AROUND), min_size=3, max_size=6, unique=True), st.booleans())
    def test_a_shape_is_cut_at_the_edges(self, points: list[tuple[float, float]], boxed: bool) -> None:
        assume(np.min(points) < 0 or np.max(points) > 1)  # all of it in the first pixel looks like shares of the image
        larger = (12 + 64, 20 + 64)
        moved = [(x + 32, y + 32) for x, y in points]
        whole = np.zeros(larger, bool)
        if boxed:
            low, high = np.min(points, axis=0), np.max(points, axis=0)
            assume((low < high).all())
            draw = lambda: masks.box(SHAPE, (*low, *high), clip=True)  # noqa: E731
        else:
            draw = lambda: masks.polygon(SHAPE, points, clip=True)  # noqa: E731
        with contextlib.suppress(HeatmapError):  # it may hold no pixel's centre
            whole = masks.box(larger, (*(low + 32), *(high + 32))) if boxed else masks.polygon(larger, moved)
        expected = whole[32:-32, 32:-32]
        if expected.any():
            assert (draw() == expected).all()
        else:
            with pytest.raises(HeatmapError, match="holds no pixel's centre"):
                draw()

    def test_what_lies_outside_whole_is_refused(self) -> None:
        for points in ([(-9, 1), (-3, 1), (-5, 8)], [(21, 1), (25, 1), (25, 8)], [(1, -9), (5, -9), (3, -2)]):
            with pytest.raises(HeatmapError, match="holds no pixel's centre"):
                masks.polygon(SHAPE, points, clip=True)

    def test_it_is_true_or_false(self) -> None:
        with pytest.raises(HeatmapError, match="clip='no' cannot be used; expected True or False"):
            masks.box(SHAPE, (0, 0, 5, 5), clip="no")  # type: ignore[arg-type]


class TestBox:
    def test_integer_corners_are_slices(self) -> None:
        expected = np.zeros(SHAPE, bool)
        expected[2:7, 3:11] = True
        assert (masks.box(SHAPE, (3, 2, 11, 7)) == expected).all()
        assert (masks.box(SHAPE, (3, 2, 8, 5), format="xywh") == expected).all()
        assert (masks.box(SHAPE, (7, 4.5, 8, 5), format="cxcywh") == expected).all()

    def test_whole_image_is_a_box(self) -> None:
        assert masks.box(SHAPE, (0, 0, 20, 12)).all()

    @given(st.data())
    def test_a_pixel_belongs_when_its_centre_lies_inside(self, data: st.DataObject) -> None:
        edge = st.floats(0, 1, width=32) | st.integers(0, 24).map(lambda i: i / 24)
        x0, x1 = sorted(20 * data.draw(edge) for _ in range(2))
        y0, y1 = sorted(12 * data.draw(edge) for _ in range(2))
        expected = [[x0 <= x + 0.5 < x1 and y0 <= y + 0.5 < y1 for x in range(20)] for y in range(12)]
        assume(np.any(expected) and max(x1, y1) > 1)
        mask = masks.box(SHAPE, (x0, y0, x1, y1))
        assert mask.dtype == bool
        assert (mask == expected).all()

    def test_rounding_at_the_edge_is_forgiven(self) -> None:
        assert masks.box((480, 640), (0.123457 * 640, 240, 0.246915 * 640, 480), format="cxcywh")[:, 0].all()

    @pytest.mark.parametrize(
        "corners", [(-1, 0, 5, 5), (0, -0.5, 5, 5), (0, 0, 21, 5), (0, 0, 5, 12.5), (30, 3, 40, 9), (0, 0, 12, 20)]
    )
    def test_outside(self, corners: Any) -> None:
        with pytest.raises(HeatmapError, match=r"reaches outside the image of 20 x 12 px: x spans .* with clip=True"):
            masks.box(SHAPE, corners)

    @pytest.mark.parametrize("corners", [(9, 2, 3, 7), (3, 7, 9, 2), (3, 2, 3, 7), (3, 7, 9, 7)])
    def test_reversed_or_without_area(self, corners: Any) -> None:
        with pytest.raises(HeatmapError, match="expected the smaller number first; check the format"):
            masks.box(SHAPE, corners)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_not_finite(self, bad: float) -> None:
        with pytest.raises(HeatmapError, match="holds NaN or Inf"):
            masks.box(SHAPE, (3, 2, bad, 7))

    @pytest.mark.parametrize(
        "corners", [(1, 2, 3), (1, 2, 3, 4, 5), (), "1234", None, [(1, 2, 3, 4)], [[1, 2], [3]], 7]
    )
    def test_no_box(self, corners: Any) -> None:
        with pytest.raises(HeatmapError, match="expected"):
            masks.box(SHAPE, corners)

    @pytest.mark.parametrize("format", ["yxyx", "", "XYXY", None, "coco"])
    def test_unnamed_format(self, format: Any) -> None:
        with pytest.raises(HeatmapError, match="is not a box format; pass 'xyxy', 'xywh' or 'cxcywh'"):
            masks.box(SHAPE, (3, 2, 11, 7), format=format)

    def test_shares_of_the_image_in_place_of_pixels(self) -> None:
        with pytest.raises(HeatmapError, match=r"looks like shares of the image.*multiply x by 20 and y by 12"):
            masks.box(SHAPE, (0.5, 0.5, 0.4, 0.4), format="cxcywh")
        assert masks.box(SHAPE, (0, 0, 1, 1)).sum() == 1

    def test_between_the_centres(self) -> None:
        with pytest.raises(HeatmapError, match="holds no pixel's centre"):
            masks.box(SHAPE, (3.6, 2.6, 4.4, 3.4))

    @pytest.mark.parametrize("shape", [(12,), (12, 20, 3), (0, 20), (12, -1), (12.0, 20), "ab", 12, (True, 20), None])
    def test_no_size(self, shape: Any) -> None:
        for make in (lambda: masks.box(shape, (0, 0, 1, 1)), lambda: masks.border(shape, 1)):
            with pytest.raises(HeatmapError, match=r"is not an image size; pass \(H, W\)"):
                make()

    def test_boxes_are_their_union(self) -> None:
        one, two = (3, 2, 11, 7), (9, 5, 20, 12)
        assert (masks.boxes(SHAPE, [one, two]) == masks.box(SHAPE, one) | masks.box(SHAPE, two)).all()
        assert (masks.boxes(SHAPE, np.array([(3, 2, 8, 5)]), format="xywh") == masks.box(SHAPE, one)).all()

    def test_boxes_of_none(self) -> None:
        with pytest.raises(HeatmapError, match="there are no boxes"):
            masks.boxes(SHAPE, [])

    def test_boxes_refuse_one_bad_box(self) -> None:
        with pytest.raises(HeatmapError, match="reaches outside"):
            masks.boxes(SHAPE, [(3, 2, 11, 7), (3, 2, 31, 7)])


def inside(x: float, y: float, points: list[tuple[float, float]]) -> bool:
    """Whether a ray to the right from (x, y) crosses the outline an odd number of times."""
    odd = False
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            odd = not odd
    return odd


def distance_to_outline(x: float, y: float, points: list[tuple[float, float]]) -> float:
    steps = np.linspace(0, 1, 400)[:, None]
    ends = zip(points, points[1:] + points[:1], strict=True)
    outline = np.concatenate([np.array(a) * (1 - steps) + np.array(b) * steps for a, b in ends])
    return float(np.hypot(*(outline - (x, y)).T).min())


class TestPolygon:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 1200)), min_size=3, max_size=7))
    def test_a_pixel_belongs_when_its_centre_lies_inside(self, hundredths: list[tuple[int, int]]) -> None:
        points = [(x / 100, y / 100) for x, y in hundredths]
        assume(max(map(max, points)) > 1)
        expected = np.array([[inside(x + 0.5, y + 0.5, points) for x in range(20)] for y in range(12)])
        clear = [[distance_to_outline(x + 0.5, y + 0.5, points) > 0.1 for x in range(20)] for y in range(12)]
        assume((expected & clear).any())
        mask = masks.polygon(SHAPE, points)
        assert (mask == expected)[np.array(clear)].all()

    def test_upright_rectangle_is_a_box(self) -> None:
        corners = [(3, 2), (11, 2), (11, 7), (3, 7)]
        for points in (corners, corners[::-1], [*corners, corners[0]], np.array(corners, np.int32)):
            assert (masks.polygon(SHAPE, points) == masks.box(SHAPE, (3, 2, 11, 7))).all()

    def test_outline_belongs(self) -> None:
        mask = masks.polygon((4, 4), [(0, 0), (4, 0), (0, 4)])  # the diagonal passes through centres
        assert mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]

    @pytest.mark.parametrize(
        ("points", "message"),
        [
            ([(1, 1), (5, 5)], "three or more points"),
            ([1, 1, 5, 5, 3, 9], "three or more points"),
            ([(1, 1, 1), (5, 5, 5), (2, 8, 1)], "three or more points"),
            ([], "three or more points"),
            ([(1, 1), (5, math.nan), (2, 8)], "holds NaN or Inf"),
            ([(1, 1), (25, 5), (2, 8)], "reaches outside the image of 20 x 12 px"),
            ([(1, 1), (5, 19), (2, 8)], "reaches outside the image"),
            ([(0.1, 0.1), (0.9, 0.1), (0.9, 0.9)], "looks like shares of the image"),
            ([(3.6, 3.6), (4.4, 3.6), (4.4, 4.4)], "holds no pixel's centre"),
        ],
    )
    def test_refused(self, points: Any, message: str) -> None:
        with pytest.raises(HeatmapError, match=message):
            masks.polygon(SHAPE, points)


class TestCircleAndBorder:
    @given(st.floats(0, 20), st.floats(0, 12), st.floats(1.5, 30))
    def test_circle(self, x: float, y: float, radius: float) -> None:
        expected = [[(j + 0.5 - x) ** 2 + (i + 0.5 - y) ** 2 <= radius**2 for j in range(20)] for i in range(12)]
        assert (masks.circle(SHAPE, (x, y), radius) == expected).all()

    @pytest.mark.parametrize("radius", [0, -1, math.nan, math.inf, True, "3"])
    def test_no_radius(self, radius: Any) -> None:
        with pytest.raises(HeatmapError, match="cannot be used; expected a positive number of pixels"):
            masks.circle(SHAPE, (5, 5), radius)

    @pytest.mark.parametrize(
        ("centre", "radius", "message"),
        [
            ((25, 5), 3, "reaches outside"),
            ((5, 5), 0.1, "holds no pixel's centre"),
            ((0.5, 0.5), 0.3, "looks like shares"),
            ((5, math.nan), 3, "NaN"),
            ((5, 5, 5), 3, r"a point \(x, y\)"),
            ([(5, 5)], 3, "one point"),
        ],
    )
    def test_no_circle(self, centre: Any, radius: float, message: str) -> None:
        with pytest.raises(HeatmapError, match=message):
            masks.circle(SHAPE, centre, radius)

    @pytest.mark.parametrize("width", [1, 2, 5])
    def test_border(self, width: int) -> None:
        expected = [[min(y, x, 11 - y, 19 - x) < width for x in range(20)] for y in range(12)]
        assert (masks.border(SHAPE, width) == expected).all()

    @pytest.mark.parametrize("width", [0, -1, 6, 1.5, True, "2", math.nan])
    def test_no_border(self, width: Any) -> None:
        with pytest.raises(HeatmapError, match="pass an integer from 1 to 5"):
            masks.border(SHAPE, width)


class TestAsMask:
    @pytest.mark.parametrize(
        "dtype", [bool, np.uint8, np.int8, np.uint16, np.int64, np.float16, np.float32, np.float64]
    )
    def test_truth_values_and_numbers(self, dtype: type) -> None:
        mask = masks.as_mask(BLOB.astype(dtype))
        assert mask.dtype == bool
        assert (mask == BLOB).all()

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
    def test_0_and_255(self, dtype: type) -> None:
        assert (masks.as_mask(BLOB.astype(dtype) * dtype(255), shape=SHAPE) == BLOB).all()

    def test_lists(self) -> None:
        assert masks.as_mask([[0, 1], [1, 0]]).tolist() == [[False, True], [True, False]]

    def test_neither_copies_nor_changes_a_bool_array(self) -> None:
        frozen = BLOB.copy()
        frozen.flags.writeable = False
        assert masks.as_mask(frozen) is frozen

    def test_all_of_one_value(self) -> None:
        assert not masks.as_mask(np.zeros(SHAPE)).any()
        assert masks.as_mask(np.ones(SHAPE)).all()
        assert masks.as_mask(np.full(SHAPE, 255)).all()

    @pytest.mark.parametrize("dtype", ["bool", "uint8", "float32", "bfloat16", "float16", "int64"])
    def test_tensors(self, dtype: str) -> None:
        torch = pytest.importorskip("torch")
        tensor = torch.from_numpy(BLOB).to(getattr(torch, dtype))
        if tensor.is_floating_point():
            tensor.requires_grad_()
        assert (masks.as_mask(tensor) == BLOB).all()

    def test_tensor_without_values(self) -> None:
        torch = pytest.importorskip("torch")
        with pytest.raises(HeatmapError, match="is a tensor that holds no plain array"):
            masks.as_mask(torch.empty(SHAPE, device="meta"))

    def test_torch_is_not_imported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "torch", raising=False)
        assert (masks.as_mask(BLOB.astype(int)) == BLOB).all()
        assert "torch" not in sys.modules

    @pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA", "I", "F", "I;16"])
    def test_pictures(self, mode: str) -> None:
        grey = Image.fromarray(BLOB.astype(np.uint8) * 255)
        picture = Image.fromarray(BLOB.astype(np.uint16) * 65535) if mode == "I;16" else grey.convert(mode)
        assert picture.mode == mode
        assert (masks.as_mask(picture, shape=SHAPE) == BLOB).all()

    @pytest.mark.parametrize("colours", [((0, 0, 0), (255, 255, 255)), ((0, 0, 0), (128, 0, 0))])
    def test_palette_with_a_black_background(self, colours: Any) -> None:
        assert (masks.as_mask(palette_image(BLOB, *colours)) == BLOB).all()

    def test_palette_of_black_and_white_is_read_as_it_looks(self) -> None:
        assert (masks.as_mask(palette_image(~BLOB, (255, 255, 255), (0, 0, 0))) == BLOB).all()

    @pytest.mark.parametrize("colours", [((128, 0, 0), (0, 0, 0)), ((1, 2, 3), (128, 0, 0))])
    def test_palette_without_a_black_background(self, colours: Any) -> None:
        with pytest.raises(HeatmapError, match="index 0 is not black"):
            masks.as_mask(palette_image(BLOB, *colours))

    @pytest.mark.parametrize("void", [2, 15, 255])
    def test_palette_of_labels(self, void: int) -> None:
        colours = [(0, 0, 0), (128, 0, 0), *[(i, 9, 9) for i in range(254)]]
        with pytest.raises(HeatmapError, match=rf"label ids 0, {void}.*masks\.load\(path, value={void}\)"):
            masks.as_mask(palette_image(BLOB * void, *colours))

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            (BLOB * np.nan, r"mask holds NaN or Inf; expected two values: 0 and 1, or 0 and 255"),
            (np.where(BLOB, np.inf, 0), "mask holds NaN or Inf"),
            (BLOB * 0.5, r"mask is soft, with values from 0 to 0\.5; .* pass mask > 0\.5"),
            (BLOB * 2, r"mask holds the label ids 0, 2; .* select one: mask == 2"),
            (BLOB * 13 + np.eye(*SHAPE, dtype=int) * 2, "mask holds the label ids 0, 2, 13, 15"),
            (BLOB * 2 - 1, "mask holds the label ids -1, 1"),
            (BLOB + 254, "mask holds the label ids 254, 255"),
            (np.arange(240).reshape(SHAPE), "mask has 240 values; .* saved as JPEG"),
            (None, r"mask is None; expected a bool array"),
            ((1, 2, 5, 8), r"mask has shape \(4,\); .* for the corners of a box pass masks\.box\(\(H, W\), corners\)"),
            (BLOB[None], r"mask has shape \(1, 12, 20\); expected \(H, W\); squeeze it: mask\[0\]"),
            (BLOB[..., None], r"mask has shape \(12, 20, 1\); .* squeeze it: mask\[\.\.\., 0\]"),
            (np.stack([BLOB] * 3, -1), r"mask has shape \(12, 20, 3\); .* it is a colour picture"),
            (np.stack([BLOB] * 5), r"mask has shape \(5, 12, 20\); .* \.any\(axis=0\)"),
            (BLOB.ravel(), r"mask has shape \(240,\)"),
            (np.zeros((0, 5), bool), r"mask has shape \(0, 5\)"),
            (True, r"mask has shape \(\)"),
            (BLOB.astype(complex), "mask has type complex128"),
            (BLOB.astype(str), "mask has type <U"),
            (BLOB.astype(object), "mask has type object"),
            ([[1], [1, 0]], "mask cannot be read as an array"),
            (np.ma.MaskedArray(BLOB, ~BLOB), "mask is a masked array"),
        ],
    )
    def test_refused(self, mask: Any, message: str) -> None:
        with pytest.raises(HeatmapError, match=message):
            masks.as_mask(mask)

    def test_other_shape_names_both(self) -> None:
        with pytest.raises(HeatmapError, match=r"watermark has shape \(12, 20\), the image has \(24, 40\) \(H, W\)"):
            masks.as_mask(BLOB, shape=(24, 40), name="watermark")

    def test_transpose_is_named(self) -> None:
        with pytest.raises(HeatmapError, match=r"shape \(20, 12\), the image has \(12, 20\).*transpose.*pass its \.T"):
            masks.as_mask(BLOB.T, shape=SHAPE)

    def test_picture_of_colours(self) -> None:
        picture = Image.fromarray(np.dstack([BLOB * 255, BLOB * 0, BLOB * 0]).astype(np.uint8))
        with pytest.raises(HeatmapError, match="mask is a colour picture; expected equal channels"):
            masks.as_mask(picture)

    def test_picture_with_transparent_pixels(self) -> None:
        picture = Image.fromarray(BLOB.astype(np.uint8) * 255).convert("LA")
        picture.putalpha(Image.fromarray(BLOB.astype(np.uint8) * 255))
        with pytest.raises(HeatmapError, match="mask has transparent pixels"):
            masks.as_mask(picture)

    def test_picture_of_another_mode(self) -> None:
        with pytest.raises(HeatmapError, match=r"mode 'CMYK'.*convert it to 'L'"):
            masks.as_mask(Image.new("CMYK", (20, 12)))


class TestLoad:
    @pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
    def test_pictures(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"mask.{suffix}"
        Image.fromarray(BLOB.astype(np.uint8) * 255).save(path, lossless=True)
        for given_as in (path, str(path)):
            assert (masks.load(given_as) == BLOB).all()
            assert (masks.as_mask(given_as, shape=SHAPE) == BLOB).all()

    @pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
    def test_arrays(self, tmp_path: Path, dtype: type) -> None:
        np.save(tmp_path / "mask.npy", BLOB.astype(dtype))
        assert (masks.load(tmp_path / "mask.npy") == BLOB).all()

    @pytest.mark.parametrize("kind", ["png", "png16", "npy", "palette"])
    def test_label_files_need_an_id(self, tmp_path: Path, kind: str) -> None:
        labels = BLOB * 15
        labels[0, :4] = 2
        path = tmp_path / ("labels.npy" if kind == "npy" else "labels.png")
        if kind == "npy":
            np.save(path, labels)
        elif kind == "palette":
            palette_image(labels, *[(i, 0, 0) for i in range(256)]).save(path)
        else:
            Image.fromarray(labels.astype(np.uint16 if kind == "png16" else np.uint8)).save(path)
        assert (masks.load(path, value=15) == BLOB).all()
        assert masks.load(path, value=2).sum() == 4
        with pytest.raises(HeatmapError, match=r"label ids 0, 2, 15; .* masks\.load\(path, value=15\)"):
            masks.load(path)
        with pytest.raises(HeatmapError, match="holds no pixel of value 7; it holds 0, 2, 15; pass one of these"):
            masks.load(path, value=7)

    @pytest.mark.parametrize("value", [True, 1.0, "1", [1]])
    def test_no_id(self, tmp_path: Path, value: Any) -> None:
        with pytest.raises(HeatmapError, match="is not an id; pass an integer"):
            masks.load(tmp_path / "mask.png", value=value)

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(HeatmapError, match=r"there is no mask '.*nowhere\.png'"):
            masks.load(tmp_path / "nowhere.png")
        with pytest.raises(HeatmapError, match=r"there is no mask '.*nowhere\.png'"):
            masks.as_mask(tmp_path / "nowhere.png")

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("text.png", "is not an image file that is read here; expected PNG"),
            ("text.npy", "is not an NPY file; expected one array"),
            ("text.npz", "is not an image file that is read here"),
        ],
    )
    def test_file_of_another_kind(self, tmp_path: Path, name: str, words: str) -> None:
        (tmp_path / name).write_text("not a mask")
        with pytest.raises(HeatmapError, match=f"{name}' {words}"):
            masks.load(tmp_path / name)

    @pytest.mark.parametrize("name", ["pipe.png", "pipe.npy"])
    def test_a_pipe_is_refused_and_not_waited_for(self, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / name)
        with pytest.raises(HeatmapError, match="is a pipe, socket or device"):
            masks.load(tmp_path / name)

    @pytest.mark.parametrize("orientation", range(2, 9))
    def test_turned_tiff(self, tmp_path: Path, orientation: int) -> None:
        Image.fromarray(BLOB.astype(np.uint8) * 255).save(tmp_path / "mask.tif", tiffinfo={0x0112: orientation})
        with pytest.raises(HeatmapError, match="EXIF orientation"):
            masks.load(tmp_path / "mask.tif")

    def test_pickled_array(self, tmp_path: Path) -> None:
        np.save(tmp_path / "mask.npy", np.array([[{}]]), allow_pickle=True)
        with pytest.raises(HeatmapError, match="cannot be read"):
            masks.load(tmp_path / "mask.npy")

    def test_cut_off_file(self, tmp_path: Path) -> None:
        Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
        (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:900])
        with pytest.raises(HeatmapError, match="cannot be read"):
            masks.load(tmp_path / "cut.png")

    def test_turned_file(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(BLOB.astype(np.uint8) * 255).save(tmp_path / "mask.png", exif=exif)
        with pytest.raises(HeatmapError, match=r"rotated by an EXIF orientation.*save it upright"):
            masks.load(tmp_path / "mask.png")

    def test_several_frames(self, tmp_path: Path) -> None:
        frame = Image.fromarray(BLOB.astype(np.uint8) * 255)
        frame.save(tmp_path / "mask.tif", save_all=True, append_images=[frame])
        with pytest.raises(HeatmapError, match="has 2 frames; expected one"):
            masks.load(tmp_path / "mask.tif")

    def test_jpeg(self, tmp_path: Path) -> None:
        edge = Image.new("L", (64, 64))
        ImageDraw.Draw(edge).ellipse((9, 9, 50, 40), fill=255)
        edge.save(tmp_path / "mask.jpg", quality=50)
        with pytest.raises(HeatmapError, match="if it was saved as JPEG or resized, save it as PNG"):
            masks.load(tmp_path / "mask.jpg")


class TestFromCoco:
    @pytest.fixture
    def coco(self) -> Any:
        return pytest.importorskip("pycocotools.mask")

    def test_box(self) -> None:
        expected = masks.box(SHAPE, (5, 3, 14, 7))
        assert (masks.from_coco({"bbox": [5, 3, 9, 4]}, SHAPE) == expected).all()
        assert (masks.from_coco({"bbox": [5, 3, 9, 4], "segmentation": []}, SHAPE) == expected).all()
        assert (masks.from_coco({"bbox": [5, 3, 14, 7], "bbox_mode": 0}, SHAPE) == expected).all()
        assert (masks.from_coco({"bbox": [5, 3, 9, 4], "bbox_mode": 1}, SHAPE) == expected).all()
        with pytest.raises(HeatmapError, match="its bbox_mode is 4; expected 0 .xyxy. or 1 .xywh."):
            masks.from_coco({"bbox": [5, 3, 9, 4], "bbox_mode": 4}, SHAPE)

    @given(st.integers(0, 2**32 - 1))
    def test_run_lengths_against_pycocotools(self, seed: int) -> None:
        coco = pytest.importorskip("pycocotools.mask")
        rng = np.random.default_rng(seed)
        shape = tuple(int(n) for n in rng.integers(1, 70, 2))
        mask = rng.random(shape) < rng.choice([0, 0.001, 0.01, 0.5, 0.99, 1])
        compressed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert (masks.from_coco({"segmentation": compressed}, shape) == mask).all()
        text = {**compressed, "counts": compressed["counts"].decode()}  # as JSON holds it
        assert (masks.from_coco({"segmentation": text}, shape) == mask).all()

    def test_long_runs_against_pycocotools(self, coco: Any) -> None:
        mask = np.zeros((1500, 900), bool)
        mask[20:1400, 100:800] = True
        mask[700, 300] = False
        compressed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert (masks.from_coco({"segmentation": compressed}, mask.shape) == mask).all()

    def test_uncompressed_runs_go_down_the_columns(self) -> None:
        mask = masks.from_coco({"segmentation": {"size": [3, 2], "counts": [1, 3, 2]}}, (3, 2))
        assert mask.tolist() == [[False, True], [True, False], [True, False]]

    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
    def test_rectangles_against_pycocotools(self, coco: Any) -> None:
        ring = [5, 3, 14, 3, 14, 7, 5, 7]
        theirs = coco.decode(coco.frPyObjects([ring], *SHAPE))[..., 0].astype(bool)
        assert (masks.from_coco({"segmentation": [ring]}, SHAPE) == theirs).all()

    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
    def test_rings_against_pycocotools_but_for_the_outline(self, coco: Any) -> None:
        angles = np.linspace(0, 2 * np.pi, 30, endpoint=False)
        star = np.stack([60 + (30 + 15 * np.cos(5 * angles)) * f(angles) for f in (np.cos, np.sin)], 1)
        rings = [star.ravel().round(2).tolist(), [2.5, 3.1, 30.2, 5.5, 8.9, 28.4]]
        theirs = coco.decode(coco.merge(coco.frPyObjects(rings, 120, 120))).astype(bool)
        ours = masks.from_coco({"segmentation": rings, "bbox": [0, 0, 1, 1]}, (120, 120))
        y, x = np.nonzero(ours != theirs)
        off = [
            min(distance_to_outline(a + 0.5, b + 0.5, [*map(tuple, np.reshape(r, (-1, 2)))]) for r in rings)
            for a, b in zip(x, y, strict=True)
        ]
        assert max(off, default=0) <= 0.75  # pycocotools rounds to a fifth of a pixel, and is no test of centres
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.95

    def test_a_ring_too_small_for_a_pixel_adds_nothing(self) -> None:
        ring, speck = [5, 3, 14, 3, 14, 7, 5, 7], [1.6, 1.6, 1.9, 1.6, 1.9, 1.9]
        assert (masks.from_coco({"segmentation": [ring, speck]}, SHAPE) == BLOB).all()

    @pytest.mark.parametrize(
        ("annotation", "message"),
        [
            ({}, "neither 'segmentation' nor 'bbox'"),
            ({"id": 3, "bbox": []}, r"only \['bbox', 'id'\]"),
            ({"bbox": [5, 3, 99, 4]}, "reaches outside"),
            ({"segmentation": [[1, 2, 3, 4]]}, "is not a ring"),
            ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "is not a ring"),
            ({"segmentation": [1, 2, 3, 4, 5, 6]}, "is not a ring"),
            ({"segmentation": {"size": [20, 12], "counts": [240]}}, r"size \[20, 12\], the image \[12, 20\]"),
            ({"segmentation": {"size": [12, 20], "counts": [100, 20]}}, "add up to 120 pixels; .* the 240 pixels"),
            ({"segmentation": {"size": [12, 20], "counts": [250, -10]}}, "hold -10; expected integers of 0 or more"),
            ({"segmentation": {"size": [12, 20], "counts": None}}, "None are not a list of integers"),
            ({"segmentation": {"size": [12, 20], "counts": "zzz"}}, "is not a compressed run-length encoding"),
            ({"segmentation": {"size": [12, 20], "counts": "\u20ac"}}, "is not a compressed run-length encoding"),
            ({"segmentation": {"counts": [240]}}, "size None"),
            ([1, 2], "is not a COCO annotation"),
        ],
    )
    def test_refused(self, annotation: Any, message: str) -> None:
        with pytest.raises(HeatmapError, match=message):
            masks.from_coco(annotation, SHAPE)


class TestGrow:
    @given(st.integers(0, 2**32 - 1), st.floats(0, 6))
    def test_dilate_reaches_as_far_as_it_says(self, seed: int, pixels: float) -> None:
        mask = np.random.default_rng(seed).random(SHAPE) < 0.03
        places = np.argwhere(mask)
        expected = [[any(math.dist((y, x), p) <= pixels for p in places) for x in range(20)] for y in range(12)]
        assert (masks.dilate(mask, pixels) == expected).all()

    @pytest.mark.parametrize("pixels", [-1, math.nan, math.inf, True, "3", None])
    def test_dilate_by_no_distance(self, pixels: Any) -> None:
        with pytest.raises(HeatmapError, match="cannot be used; expected a number of at least 0"):
            masks.dilate(BLOB, pixels)

    @given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 20))
    def test_whole_cells(self, seed: int, h: int, w: int) -> None:
        mask = np.random.default_rng(seed).random(SHAPE) < 0.03
        grown = masks.grow_to_grid(mask, (h, w))
        expected = np.zeros(SHAPE, bool)
        for i in range(h):
            for j in range(w):
                rows = [y for y in range(12) if i * 12 <= (y + 0.5) * h < (i + 1) * 12]
                columns = [x for x in range(20) if j * 20 <= (x + 0.5) * w < (j + 1) * 20]
                expected[np.ix_(rows, columns)] = mask[np.ix_(rows, columns)].any()
        assert (grown == expected).all()

    def test_cells_of_a_heatmap(self) -> None:
        mask = np.zeros((224, 224), bool)
        mask[40, 70] = True
        assert (masks.grow_to_grid(mask, (7, 7)) == masks.box((224, 224), (64, 32, 96, 64))).all()

    @pytest.mark.parametrize("grid", [(13, 20), (12, 21)])
    def test_grid_finer_than_the_mask(self, grid: Any) -> None:
        with pytest.raises(HeatmapError, match="is finer than the mask of 12 x 20 pixels"):
            masks.grow_to_grid(BLOB, grid)

    def test_caller_keeps_its_mask(self) -> None:
        for mask in (BLOB.copy(), np.zeros(SHAPE, bool)):
            before = mask.copy()
            masks.dilate(mask, 3)[:] = True
            masks.grow_to_grid(mask, (3, 5))[:] = True
            assert (mask == before).all()


def test_a_one_bit_picture_holds_ones(tmp_path):
    """Pillow's bytes of 255 do not reach code that looks at a mask's bytes."""
    Image.fromarray(np.eye(4, dtype=bool)).save(tmp_path / "mask.png")
    for found in (masks.load(tmp_path / "mask.png"), masks.as_mask(Image.open(tmp_path / "mask.png"))):
        assert (found.view(np.uint8) == np.eye(4)).all()
