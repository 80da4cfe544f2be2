"""Each kind of invalid pixels: pictures in which it must be found, and pictures in which it must not."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage import data

from pytest_gradcam import masks
from pytest_gradcam.errors import HeatmapError

Array = NDArray[Any]
CLEAN = ["astronaut", "camera", "chelsea", "coffee", "rocket", "coins", "hubble_deep_field", "moon", "page", "text"]
SCENES = ["astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry", "hubble_deep_field"]
COLOURS = {"black": (0, 0, 0), "grey": (114, 114, 114), "white": (255, 255, 255), "teal": (0, 128, 128)}


def photo(name: str = "chelsea") -> Array:
    return np.array(getattr(data, name)())


def jpeg(picture: Array, quality: int) -> Array:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "jpeg", quality=quality)
    return np.array(Image.open(out))


def scenes(count: int, *, seed: int = 0, size: int = 128) -> list[Array]:
    """Cuttings from photographs, each from another place."""
    rng = np.random.default_rng(seed)
    pictures = [photo(name) for name in SCENES]
    cuttings = []
    for i in range(count):
        picture = pictures[i % len(pictures)]
        y, x = (int(rng.integers(side - size + 1)) for side in picture.shape[:2])
        cuttings.append(picture[y : y + size, x : x + size].copy())
    return cuttings


def found(image: Any, **options: Any) -> dict[str, Array]:
    """The kinds that are present."""
    return {kind: mask for kind, mask in masks.invalid_pixels_by_kind(image, **options).items() if mask.any()}


class TestCleanPhotographs:
    @pytest.mark.parametrize("name", CLEAN)
    def test_nothing_is_reported(self, name: str) -> None:
        assert found(photo(name)) == {}

    def test_nothing_is_reported_in_cuttings(self) -> None:
        rng = np.random.default_rng(5)
        wrong = 0
        for name in CLEAN[:6]:
            picture = photo(name)
            for _ in range(15):
                height, width = rng.integers(32, 200, 2)
                y, x = rng.integers(picture.shape[0] - height), rng.integers(picture.shape[1] - width)
                wrong += bool(found(picture[y : y + height, x : x + width]))
        assert wrong == 0

    @pytest.mark.parametrize("count", [5, 12])
    def test_nothing_is_reported_in_a_series(self, count: int) -> None:
        frames = scenes(count, seed=count)
        assert found(frames[0], series=frames[1:]) == {}

    def test_nothing_is_reported_of_a_camera_that_stands_still(self) -> None:
        rng = np.random.default_rng(2)
        background = photo()[:200, :300].astype(float)
        frames = [np.clip(background + rng.normal(0, 3, background.shape), 0, 255).astype(np.uint8) for _ in range(8)]
        for i, frame in enumerate(frames):
            frame[60:160, 20 * i : 20 * i + 80] = photo("coffee")[100:200, 100:180]
        assert found(frames[0], series=frames[1:]) == {}


class TestBars:
    @pytest.mark.parametrize("colour", COLOURS)
    @pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
    def test_letterbox_and_pillarbox_to_the_pixel(self, name: str, colour: str) -> None:
        picture = photo(name)
        for kind, axes in (("letterbox", (31, 17, 0, 0)), ("pillarbox", (0, 0, 2, 40))):
            top, bottom, left, right = axes
            height, width = picture.shape[0] + top + bottom, picture.shape[1] + left + right
            framed = np.full((height, width, 3), COLOURS[colour], np.uint8)
            framed[top : height - bottom, left : width - right] = picture
            expected = np.ones((height, width), bool)
            expected[top : height - bottom, left : width - right] = False
            by_kind = found(framed)
            assert list(by_kind) == [kind]
            assert (by_kind[kind] == expected).all()
            assert (masks.invalid_pixels(framed) == expected).all()

    def test_both_together(self) -> None:
        framed = np.pad(photo(), ((20, 20), (33, 33), (0, 0)))
        by_kind = found(framed)
        assert list(by_kind) == ["letterbox", "pillarbox"]
        assert (~masks.invalid_pixels(framed)).sum() == photo()[..., 0].size

    @pytest.mark.parametrize("quality", [95, 75, 50])
    def test_after_jpeg(self, quality: int) -> None:
        mask = masks.invalid_pixels(jpeg(np.pad(photo(), ((32, 32), (0, 0), (0, 0))), quality))
        assert mask[:32].all()
        assert mask[-32:].all()
        assert not mask[33:-33].any()

    def test_grey_picture(self) -> None:
        mask = masks.invalid_pixels(np.pad(photo("coins"), ((24, 0), (0, 0)), constant_values=255))
        assert mask[:24].all()
        assert not mask[24:].any()

    def test_over_a_series(self) -> None:
        frames = [np.pad(frame, ((12, 9), (0, 0), (0, 0))) for frame in scenes(6)]
        by_kind = found(frames[0], series=frames[1:])
        assert list(by_kind) == ["letterbox"]
        assert by_kind["letterbox"].sum() == 21 * 128

    def test_bars_of_one_frame_are_not_those_of_the_series(self) -> None:
        frames = scenes(6)
        frames[0][:12] = 0
        assert "letterbox" in found(frames[0])
        assert found(frames[0], series=frames[1:]) == {}

    def test_a_plain_background_is_picture(self) -> None:
        studio = np.full((200, 300, 3), 255, np.uint8)  # white to all sides, with an object in the middle
        studio[60:150, 90:180] = photo()[100:190, 150:240]
        sky = photo()
        horizon = 80 + (20 * np.sin(np.arange(sky.shape[1]) / 40)).astype(int)
        sky[np.arange(sky.shape[0])[:, None] < horizon] = 255
        for picture in (studio, sky, np.zeros((64, 64), np.uint8), np.full((64, 64, 3), 114, np.uint8)):
            assert found(picture) == {}


class TestDefects:
    def test_dead_and_saturated_points(self) -> None:
        picture = photo("astronaut").copy()
        picture[300:360, 350:420] = np.random.default_rng(0).integers(110, 130, (60, 70, 3))
        picture[310, 370] = 0
        picture[320:322, 380:382] = 0
        picture[330, 390] = 255
        picture[340, 400, 1] = 255  # one channel of the pixel
        by_kind = found(picture)
        assert np.argwhere(by_kind["dead"]).tolist() == [[310, 370], [320, 380], [320, 381], [321, 380], [321, 381]]
        assert np.argwhere(by_kind["saturated"]).tolist() == [[330, 390], [340, 400]]
        assert set(by_kind) == {"dead", "saturated"}

    @pytest.mark.parametrize(("level", "kind"), [(0, "dead"), (255, "saturated"), (128, "stuck")])
    @pytest.mark.parametrize("width", [1, 2])
    def test_lines(self, level: int, kind: str, width: int) -> None:
        picture = photo("coffee").copy()
        picture[:, 300 : 300 + width] = level
        picture[120 : 120 + width] = level
        expected = (picture == level).all(axis=-1)
        by_kind = found(picture)
        assert list(by_kind) == [kind]
        assert (by_kind[kind][:, 300 : 300 + width]).all()
        assert (by_kind[kind][120 : 120 + width]).all()
        assert not (by_kind[kind] & ~expected).any()

    def test_a_column_that_the_bars_cut_short(self) -> None:
        picture = photo("coffee").copy()
        picture[:, 300] = 255
        by_kind = found(np.pad(picture, ((30, 30), (0, 0), (0, 0))))
        assert by_kind["saturated"][30:-30, 300].all()
        assert by_kind["saturated"].sum() == picture.shape[0]
        assert by_kind["letterbox"].sum() == 60 * picture.shape[1]

    def test_stuck_points_over_a_series(self) -> None:
        frames = scenes(8, seed=1)
        for frame in frames:
            frame[40, 50] = (90, 140, 30)
            frame[70:72, 90] = 128
        by_kind = found(frames[0], series=frames[1:])
        assert list(by_kind) == ["stuck"]
        assert np.argwhere(by_kind["stuck"]).tolist() == [[40, 50], [70, 90], [71, 90]]

    def test_dead_point_that_a_single_image_does_not_show(self) -> None:
        frames = scenes(8, seed=1)
        for frame in frames:
            frame[30, 30] = 0
        frames[0][26:36, 26:36] = np.minimum(frames[0][26:36, 26:36], 40)  # a dark part of the scene
        assert "dead" not in found(frames[0])
        assert found(frames[0], series=frames[1:])["dead"][30, 30]

    def test_highlights_texture_and_small_print_are_picture(self) -> None:
        rng = np.random.default_rng(3)
        picture = np.full((120, 160), 90.0)
        y, x = np.mgrid[:120, :160]
        for cy, cx in ((30, 40), (80.3, 100.6)):  # points of light, as sharp as a lens draws them
            picture += 400 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 0.8**2))
        pepper = np.where(rng.random((120, 160)) < 0.3, 0, 255)
        print_ = Image.new("L", (160, 40), 255)
        ImageDraw.Draw(print_).text((5, 5), "Sphinx of black quartz", fill=0)
        for clean in (np.clip(picture, 0, 255), pepper, np.asarray(print_)):
            assert found(clean.astype(np.uint8)) == {}


class TestBurntIn:
    @staticmethod
    def marked(count: int, *, quality: int | None = None) -> tuple[list[Array], Array]:
        mark = Image.new("L", (128, 128), 0)
        ImageDraw.Draw(mark).rectangle((8, 100, 80, 118), fill=1)
        ImageDraw.Draw(mark).text((12, 102), "CAM 03", fill=2)
        levels = np.asarray(mark)
        frames = scenes(count, seed=9)
        for frame in frames:
            frame[levels == 1] = 0
            frame[levels == 2] = 255
        return [jpeg(frame, quality) if quality else frame for frame in frames], levels > 0

    @pytest.mark.parametrize(("count", "quality"), [(6, None), (12, None), (12, 75)])
    def test_text_on_its_ground(self, count: int, quality: int | None) -> None:
        frames, mark = self.marked(count, quality=quality)
        by_kind = found(frames[0], series=frames[1:])
        assert list(by_kind) == ["burnt_in"]
        assert (by_kind["burnt_in"] & mark).sum() >= 0.98 * mark.sum()
        assert not (by_kind["burnt_in"] & ~masks.dilate(mark, 1.5)).any()

    def test_needs_a_series(self) -> None:
        frames, _ = self.marked(6)
        assert "burnt_in" not in masks.invalid_pixels_by_kind(frames[0])
        with pytest.raises(HeatmapError, match="'burnt_in' cannot be detected in this image alone; .* pass series="):
            masks.invalid_pixels(frames[0], kinds=["burnt_in"])

    def test_needs_a_scene_that_changes(self) -> None:
        frames, _ = self.marked(1)
        assert found(frames[0], series=frames * 6) == {}

    def test_is_not_found_where_only_some_frames_have_it(self) -> None:
        frames, _ = self.marked(6)
        assert found(frames[0], series=[*frames[1:4], *scenes(4, seed=3)]) == {}


class TestNotFinite:
    def test_nan_and_infinity(self) -> None:
        picture = photo().astype(np.float32) / 255
        picture[3, 4, 0], picture[5, 6] = np.nan, np.inf
        by_kind = found(picture)
        assert list(by_kind) == ["not_finite"]
        assert np.argwhere(by_kind["not_finite"]).tolist() == [[3, 4], [5, 6]]

    def test_floats_have_the_other_kinds_too(self) -> None:
        framed = np.pad(photo() / 255, ((31, 0), (0, 0), (0, 0)))
        assert found(framed)["letterbox"].sum() == 31 * framed.shape[1]
        assert found(photo() / 255) == {}

    def test_normalised_tensor(self) -> None:
        torch = pytest.importorskip("torch")
        tensor = torch.randn(3, 20, 30)
        tensor[1, 7, 8] = torch.nan
        assert list(masks.invalid_pixels_by_kind(tensor)) == ["not_finite"]
        assert np.argwhere(masks.invalid_pixels(tensor)).tolist() == [[7, 8]]
        with pytest.raises(HeatmapError, match="'dead' cannot be detected .* before its normalisation"):
            masks.invalid_pixels(tensor, kinds=["dead"])

    def test_all_not_finite(self) -> None:
        assert masks.invalid_pixels(np.full((4, 5), np.nan)).all()


class TestArguments:
    def test_kinds_can_be_switched_off(self) -> None:
        picture = photo("coffee").copy()
        picture[:, 300] = 255
        framed = np.pad(picture, ((30, 30), (0, 0), (0, 0)))
        assert masks.invalid_pixels(framed, kinds=["saturated"]).sum() == picture.shape[0]
        assert list(masks.invalid_pixels_by_kind(framed, kinds=("letterbox", "dead"))) == ["letterbox", "dead"]
        assert list(masks.invalid_pixels_by_kind(framed, kinds="letterbox")) == ["letterbox"]

    def test_what_was_looked_for_is_listed(self) -> None:
        kinds = ["not_finite", "letterbox", "pillarbox", "dead", "stuck", "saturated"]
        assert list(masks.invalid_pixels_by_kind(photo())) == kinds
        frames = scenes(5)
        assert list(masks.invalid_pixels_by_kind(frames[0], series=frames[1:])) == [*kinds, "burnt_in"]

    def test_result(self) -> None:
        picture = photo()
        before = picture.copy()
        mask = masks.invalid_pixels(picture)
        assert (mask.dtype, mask.shape) == (bool, picture.shape[:2])
        assert (picture == before).all()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 3, 3), (5, 5)])
    def test_tiny_pictures(self, shape: tuple[int, ...]) -> None:
        frames = [np.random.default_rng(i).integers(0, 255, shape).astype(np.uint8) for i in range(6)]
        assert masks.invalid_pixels(frames[0]).shape == shape[:2]
        assert masks.invalid_pixels(frames[0], series=frames[1:]).shape == shape[:2]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"kinds": ["lens"]}, "'lens' is not a kind of invalid pixels; pass some of 'not_finite', 'letterbox'"),
            ({"kinds": []}, "kinds is empty"),
            ({"series": []}, "the series holds 0 images; expected 4 or more"),
            (
                {"series": [np.zeros((9, 9), np.uint8)] * 5},
                r"image 0 of the series has shape \(9, 9\), the image \(300, 451\)",
            ),
        ],
    )
    def test_refused(self, options: Any, message: str) -> None:
        with pytest.raises(HeatmapError, match=message):
            masks.invalid_pixels(photo(), **options)

    @pytest.mark.parametrize(
        "image", [None, 3, np.zeros((2, 3, 4, 5)), np.zeros((0, 3)), "nowhere.png", np.zeros((5, 5), int)]
    )
    def test_no_image(self, image: Any) -> None:
        with pytest.raises(HeatmapError):
            masks.invalid_pixels(image)
