"""What EfficientNet-Lite0 looks at on real photographs, judged against regions that were drawn by hand."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from pytest_gradcam import FocusError, masks

PHOTOGRAPHS = (files("skimage") / "data", files("sklearn") / "datasets" / "images")
ANNOTATIONS = json.loads((Path(__file__).parent / "annotations.json").read_text("utf-8"))


def photo(name):
    return next(str(folder / name) for folder in PHOTOGRAPHS if (folder / name).is_file())


def region(photo_name, category):
    """The mask of one annotated region, in the coordinates of the photograph."""
    image = next(image for image in ANNOTATIONS["images"] if image["file_name"] == photo_name)
    category_id = next(c["id"] for c in ANNOTATIONS["categories"] if c["name"] == category)
    annotation = next(
        a for a in ANNOTATIONS["annotations"] if (a["image_id"], a["category_id"]) == (image["id"], category_id)
    )
    return masks.from_coco(annotation, (image["height"], image["width"]))


@pytest.mark.parametrize(
    ("name", "target", "subject", "at_least"),
    [
        ("chelsea.png", "Egyptian cat", "cat", 0.8),  # the cat fills 0.74 of the picture, which would be chance
        ("coffee.png", "espresso", "cup", 0.4),
        ("motorcycle_left.png", "moped", "motorcycle", 0.5),
        ("china.jpg", "bell cote", "pagoda", 0.45),
        ("flower.jpg", "daisy", "flower", 0.45),
        ("astronaut.png", "football helmet", "helmet", 0.3),
        ("camera.png", "tripod", "tripod", 0.15),  # thin legs on a coarse grid; chance would be 0.1
    ],
)
def test_the_attention_lies_on_the_subject(gradcam, name, target, subject, at_least):
    gradcam(photo(name), target).assert_focus_within(region(name, subject), at_least=at_least)


@pytest.mark.parametrize(
    ("name", "target", "subject"),
    [
        ("camera.png", "tripod", "tripod"),
        ("rocket.jpg", "missile", "rocket"),
        ("astronaut.png", "space shuttle", "space shuttle"),
    ],
)
def test_the_attention_peaks_on_the_subject(gradcam, name, target, subject):
    gradcam(photo(name), target).assert_peak_within(region(name, subject), tolerance=16)


@pytest.mark.parametrize(
    ("name", "target", "subject", "at_least"),
    [
        ("coffee.png", "espresso", "cup", 0.5),
        ("flower.jpg", "daisy", "flower", 0.6),
        ("china.jpg", "bell cote", "pagoda", 0.45),
    ],
)
def test_the_hot_half_has_the_subjects_outline(gradcam, name, target, subject, at_least):
    gradcam(photo(name), target).assert_overlap(region(name, subject), at_least=at_least)


@pytest.mark.parametrize(
    ("name", "target", "context", "at_most"),  # every bound lies below the region's share of the picture
    [
        ("coffee.png", "espresso", "table", 0.12),
        ("camera.png", "tripod", "skyline", 0.045),
        ("camera.png", "tripod", "person", 0.28),
        ("rocket.jpg", "missile", "tower", 0.08),
        ("rocket.jpg", "missile", "sky", 0.15),
        ("china.jpg", "bell cote", "sky", 0.15),
        ("motorcycle_left.png", "moped", "shelf", 0.1),
        ("astronaut.png", "space shuttle", "person", 0.15),
    ],
)
def test_the_attention_keeps_off_the_context(gradcam, name, target, context, at_most):
    gradcam(photo(name), target).assert_focus_avoids(region(name, context), at_most=at_most)


@pytest.mark.xfail(strict=True, raises=FocusError, reason="finds its disk brake on the engine, not in the front wheel")
def test_a_disk_brake_is_seen_in_the_wheel(gradcam):
    photograph = "motorcycle_left.png"
    gradcam(photo(photograph), "disk brake").assert_peak_within(region(photograph, "front wheel"), tolerance=16)


def test_the_attention_on_the_cat_is_what_it_was(gradcam):
    gradcam(photo("chelsea.png"), "Egyptian cat").assert_matches_baseline()
