"""`pytest --gradcam-data=DIR`: a folder of images as tests, without code."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from pytest_gradcam import masks

SIDE = 64
LEFT = masks.box((SIDE, SIDE), (0, 0, 32, SIDE))


def square(left=True, number=0):
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[16:48, (0 if left else 32) : (32 if left else SIDE), 0] = 220
    image[number // 8, number % 8, 2] = 9
    return Image.fromarray(image)


@pytest.fixture
def photos(colour_project, warm):
    """A folder of a user's repository: twelve images, whose COCO file marks the left half of each."""
    folder = colour_project.path / "photos"
    folder.mkdir()
    names = [f"{number:02}.png" for number in range(12)]
    for number, name in enumerate(names):
        square(number=number).save(folder / name)
    document = {
        "images": [{"id": n, "file_name": name, "height": SIDE, "width": SIDE} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": "red"}],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 32, SIDE]} for n in range(12)],
    }
    (folder / "annotations.json").write_text(json.dumps(document), "utf-8")
    return folder


def edited(folder, change):
    path = folder / "annotations.json"
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document), "utf-8")


def test_a_folder_is_one_command(colour_project, photos):
    (colour_project.path / "test_other.py").write_text("def test_other(): assert False", "utf-8")
    result = colour_project.runpytest("--gradcam-data=photos", "-v")
    result.assert_outcomes(passed=14)
    result.stdout.fnmatch_lines(["photos::test_image?00? PASSED*", "photos::test_rate?focus_within? PASSED*"])


def test_with_other_tests_if_these_are_named(colour_project, photos):
    (colour_project.path / "test_other.py").write_text("def test_other(): pass", "utf-8")
    colour_project.runpytest("--gradcam-data=photos", "test_other.py").assert_outcomes(passed=15)


def test_an_image_that_fails(colour_project, photos):
    square(left=False).save(photos / "05.png")
    result = colour_project.runpytest("--gradcam-data=photos", "--gradcam-report=report")
    result.assert_outcomes(passed=13, failed=1)
    result.stdout.fnmatch_lines(["*attention for 'red' lies inside the mask; expected at least 50.0 %*"])
    assert len(list((colour_project.path / "report/pictures").glob("photos-test_image*05*.png"))) == 2


def test_bad_rows_fail_by_name(colour_project, photos):
    """Ten kinds of bad rows beside good ones, each a failing test that says what is wrong."""
    (photos / "00.png").unlink()
    (photos / "01.png").write_bytes(b"not an image")
    content = (photos / "02.png").read_bytes()
    (photos / "02.png").write_bytes(content[: len(content) // 2])
    square().resize((SIDE * 2, SIDE)).save(photos / "03.png")

    def change(document):
        own = document["annotations"]
        own[4]["bbox"] = [50, 0, 32, 64]
        own[5]["bbox"] = [3, 3, 0, 5]
        own[6]["segmentation"] = [[1, 1, 2]]
        own[7]["category_id"] = 9
        own[8]["image_id"] = 99
        del document["images"][9]["file_name"]

    edited(photos, change)
    result = colour_project.runpytest("--gradcam-data=photos", "-k", "test_image")
    result.assert_outcomes(passed=2, failed=10)
    for each in (
        "*image 0 '00.png' (red): there is no image file*",
        "*image 1 '01.png' (red)*is not an image file*",
        "*02.png cannot be read*",
        "*image 3 '03.png' (red): the annotations are of an image of 64 x 64 px, the file has 128 x 64*",
        "*image 4 '04.png' (red)*reaches outside the image*",
        "*image 5 '05.png' (red)*",
        "*image 6 '06.png' (red)*is not a ring*",
        "*annotation 7: its category 9 is not in the file*",
        "*annotation 8: its image 99 is not in the file*",
        "*image 9 None: it has no file_name*",
    ):
        result.stdout.fnmatch_lines([each])


def test_settings_of_the_folder(colour_project, photos):
    for number in (1, 2):
        square(left=False, number=number).save(photos / f"{number:02}.png")
    (photos / "gradcam.toml").write_text(
        "at_least = 0.4\nequal_by = ['category']\nrows = 'rows.jsonl'\ntarget = 'category'\n[checks]\nfocus_within = 0.6\n",
        "utf-8",
    )
    result = colour_project.runpytest("--gradcam-data=photos", "-rx")
    result.assert_outcomes(passed=11, xfailed=2, failed=1)
    result.stdout.fnmatch_lines(["*by='category' has one group only*"])
    assert (photos / "rows.jsonl").is_file()


def test_masks_and_invalid_pixels_of_the_same_names(colour_project, photos):
    (photos / "annotations.json").unlink()
    for kind, mask in (("masks", LEFT), ("invalid", ~LEFT)):
        (photos / kind).mkdir()
        for number in range(12):
            Image.fromarray(mask).save(photos / kind / f"{number:02}.png")
    result = colour_project.runpytest("--gradcam-data=photos", "-v")
    result.stdout.fnmatch_lines(["*test_rate?focus_avoids? PASSED*", "*test_no_reliance?all?*"])


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("at_lest = 0.5", "*has 'at_lest'; expected images*at_least*"),
        ("at_least = 'much'", "*at_least = 'much' cannot be used; expected int or float*"),
        ("checks = {focus = 1}", "*checks has 'focus'*"),
        ("=", "*cannot be read*expected TOML*"),
        ("categories = ['blue']", "*has no category 'blue'; it has red*"),
    ],
)
def test_wrong_settings_stop_the_run(colour_project, photos, said, message):
    (photos / "gradcam.toml").write_text(said, "utf-8")
    result = colour_project.runpytest("--gradcam-data=photos")
    assert result.ret != 0
    result.stdout.fnmatch_lines([message])


def test_a_folder_without_anything_to_check(colour_project, photos):
    (photos / "annotations.json").unlink()
    result = colour_project.runpytest("--gradcam-data=photos")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*there is neither a folder masks*"])
    result = colour_project.runpytest("--gradcam-data=none")
    result.stderr.fnmatch_lines(["*file or directory not found*none*"])


def test_workers_share_the_audit(colour_project, photos):
    """Under pytest-xdist one worker makes the rows, and the other reads them."""
    pytest.importorskip("xdist")
    result = colour_project.runpytest("--gradcam-data=photos", "-n2", "--basetemp=base")
    result.assert_outcomes(passed=14)
    (rows,) = (colour_project.path / "base").rglob("*.rows.jsonl")
    assert len(rows.read_bytes().splitlines()) == 1 + 2 * 12 + 1  # a head, two checks, and the end of the chunk
