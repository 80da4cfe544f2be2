"""Annotation files that are not regular files, cut off, in other encodings, or nested without end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pytest_gradcam import masks
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.masks import _documents
from tests.masks.mistyped import CVAT, LABELME, RIGHT, SHAPE, VOC


def labelme(path: Path) -> Any:
    return masks.from_labelme(path, SHAPE)


def cvat(path: Path) -> Any:
    return masks.from_cvat(path, "a.png")


READERS = {"labelme": labelme, "Pascal VOC": masks.from_voc, "CVAT": cvat}
CONTENT = {"labelme": json.dumps(LABELME["polygon"]), "Pascal VOC": VOC, "CVAT": CVAT["polygon"]}


@pytest.fixture(params=READERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_with_and_without_a_byte_order_mark(tmp_path: Path, kind: str, encoding: str) -> None:
    (tmp_path / "a").write_bytes(CONTENT[kind].encode(encoding))
    assert (READERS[kind](tmp_path / "a") == RIGHT).all()


def test_every_cut_is_refused(tmp_path: Path, kind: str) -> None:
    whole = CONTENT[kind].encode()
    for length in range(0, len(whole), 7):
        (tmp_path / "a").write_bytes(whole[:length])
        with pytest.raises(HeatmapError, match=r"^.* file '.*/a' cannot be read \([^\n]*\); expected an? \w+ file$"):
            READERS[kind](tmp_path / "a")


def test_bytes_of_another_encoding(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(CONTENT[kind].replace("cat", "\u00e9").encode("latin-1"))
    with pytest.raises(HeatmapError, match="cannot be read"):
        READERS[kind](tmp_path / "a")


def test_only_regular_files(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path, "is a directory"),
        (tmp_path / "pipe", "is a pipe"),
        (tmp_path / "no", "there is no"),
    ):
        with pytest.raises(HeatmapError, match=message):
            READERS[kind](path)
    for given in (3, None, b"a", ["a"]):
        with pytest.raises(HeatmapError, match="is not the path of a .* file"):
            READERS[kind](given)  # type: ignore[arg-type]


def test_a_name_cannot_start_a_line_of_its_own(tmp_path: Path, kind: str) -> None:
    with pytest.raises(HeatmapError) as caught:
        READERS[kind](tmp_path / "a\n::error::x\x1b[2J")
    assert str(caught.value).isprintable()


def test_files_of_a_bounded_size(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_documents, "_MOST_BYTES", 10)
    (tmp_path / "a").write_text(CONTENT[kind])
    with pytest.raises(HeatmapError, match=r"has \d+ bytes; expected at most 10; split it"):
        READERS[kind](tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 200_000, "it is nested too deeply"),
        ('{"shapes":' * 100_000, "it is nested too deeply"),
        ('{"shapes": [' + "1" * 1_000_000 + "]}", "it holds a number of too many digits"),
        (
            '{"shapes": [{"label": "a", "points": ' + "[" * 500 + "]" * 500 + "}]}",
            r"shapes\[0\] 'a': .* is not a table of",
        ),
        ("3", "holds a int; expected a JSON object"),
    ],
)
def test_json_without_end(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(HeatmapError, match=rf"^labelme file '.*/a\.json'.* ?{message}"):
        labelme(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<a>" * 100_000 + "</a>" * 100_000, "nested more than 100 levels deep"),
        ("<a>&b;</a>", "undefined entity"),
        ('<?xml version="1.0" encoding="nonsense"?><a/>', "unknown encoding"),
        ('<?xml version="1.0" encoding="shift_jis"?><a/>', "multi-byte encodings"),
        (VOC.replace(">6<", ">-5<"), r"object 1 'cat': \(-6\.0, .* reaches outside"),
        (VOC.replace(">6<", ">-inf<"), "<xmin> of <bndbox> is '-inf'; expected a number"),
        (VOC.replace(">20<", ">20.5<"), r"<width> of <size> is 20\.5; expected a whole number"),
        (VOC.replace(">20<", ">1e300<"), "expected at most 178,956,970 pixels"),
        (VOC.replace("<name>cat</name>", ""), r"object 1 has the label None; expected text"),
    ],
)
def test_voc_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(HeatmapError, match=message) as caught:
        masks.from_voc(tmp_path / "a.xml", label="cat")
    assert str(caught.value).startswith(f"Pascal VOC file '{tmp_path}/a.xml'")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('left="5"', 'left="5.5"', r"left of <mask> is 5\.5; expected a whole number of pixels"),
        ('width="9"', 'width="8.9"', r"width of <mask> is 8\.9"),
        ('rle="0, 36"', 'rle="0.5, 35.5"', r"a run of <mask> is 0\.5"),
        ('rle="0, 36"', 'rle="9e18, 9e18, 36"', "hold 9000000000000000000"),
        ('width="9"', 'width="1000000000"', r"reaches outside the image of 20 x 12 px"),
        ('width="9"', 'width="0"', r"reaches outside the image of 20 x 12 px"),
    ],
)
def test_cvat_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "a.xml").write_text(CVAT["mask"].replace(old, new))
    with pytest.raises(HeatmapError, match=rf"^CVAT file '.*/a\.xml', image 'a\.png': <mask> 1 'cat': .*{message}"):
        cvat(tmp_path / "a.xml")


def test_two_cvat_images_of_one_name(tmp_path: Path) -> None:
    other = '<image id="9" name="a.png" subset="val" width="20" height="12"/></annotations>'
    (tmp_path / "a.xml").write_text(CVAT["box"].replace("</annotations>", other))
    with pytest.raises(HeatmapError, match=r"2 images named 'a\.png': 'id 0 in subset train', 'id 9 in subset val'"):
        cvat(tmp_path / "a.xml")


def test_labelme_mask_of_another_size_than_its_box() -> None:
    content = {"shapes": [{**LABELME["mask"]["shapes"][0], "points": [[5, 3], [12, 6]]}]}
    with pytest.raises(HeatmapError, match=r"picture is of \(4, 9\) \(H, W\), its box of \(4, 8\)"):
        masks.from_labelme(content, SHAPE)


@pytest.mark.parametrize("dtype", ["<U1", "V4", "c8"])
def test_label_ids_that_are_no_numbers(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros(SHAPE, dtype))
    with pytest.raises(HeatmapError, match="expected label ids as numbers"):
        masks.load(tmp_path / "a.npy", value=1)


@pytest.mark.parametrize("shape", ["(1000000000, 1000000000)", "(-1, 5)", "(12, 20)", "(" * 300])
def test_npy_files_whose_header_is_wrong(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(HeatmapError, match=r"a\.npy' cannot be read \([^\n]*\); expected an array in an NPY file"):
        masks.load(tmp_path / "a.npy")


def test_images_of_more_pixels_than_pillow_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RIGHT).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RIGHT.size // 2 - 1)
    with pytest.raises(
        HeatmapError, match=r"a\.png' cannot be read \(.*\); check that the file is complete, and its size"
    ):
        masks.load(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(HeatmapError, match=r"^labelme content: shapes\[0\] 'cat': the labelme mask"):
        masks.from_labelme(LABELME["mask"], SHAPE)


def test_a_picture_that_is_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).random((99, 99)) < 0.5).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    with (
        Image.open(tmp_path / "a.png") as picture,
        pytest.raises(HeatmapError, match="mask cannot be read .*; check that its file is complete"),
    ):
        masks.as_mask(picture)
