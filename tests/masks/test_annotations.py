"""Masks from annotation files, against the shapes that the files describe."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pytest_gradcam import masks
from pytest_gradcam.errors import HeatmapError

SHAPE = (12, 20)
PERSON = masks.box(SHAPE, (5, 3, 14, 7))
LOGO = masks.box(SHAPE, (0, 0, 3, 2))


def encoded(mask: Any) -> str:
    out = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(out, "png")
    return base64.b64encode(out.getvalue()).decode()


def labelme(*shapes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"version": "5.5.0", "shapes": list(shapes), "imageHeight": 12, "imageWidth": 20, **more}


RECTANGLE = {"label": "person", "shape_type": "rectangle", "points": [[14, 7], [5, 3]]}  # drawn from below
POLYGON = {"label": "logo", "shape_type": "polygon", "points": [[0, 0], [3, 0], [3, 2], [0, 2]]}


class TestClip:
    """Each reader refuses what reaches outside, with the file, the entry and the label, or cuts it off."""

    EDGE = masks.box(SHAPE, (14, 7, 20, 12))
    WHERE = "reaches outside the image of 20 x 12 px.*clip=True"

    @pytest.mark.parametrize("kind", ["rectangle", "polygon"])
    def test_labelme(self, kind: str) -> None:
        points = [[14, 7], [20.7, 12.4]] if kind == "rectangle" else [[14, 7], [20.7, 7], [20.7, 12.4], [14, 12.4]]
        content = labelme({"label": "person", "shape_type": kind, "points": points})
        with pytest.raises(HeatmapError, match=rf"labelme content: shapes\[0\] 'person': .*{self.WHERE}"):
            masks.from_labelme(content, SHAPE)
        assert (masks.from_labelme(content, SHAPE, clip=True) == self.EDGE).all()

    def test_a_circle_with_its_centre_outside(self) -> None:
        content = labelme({"label": "wheel", "shape_type": "circle", "points": [[-2, 6], [3, 6]]})
        with pytest.raises(HeatmapError, match="reaches outside"):
            masks.from_labelme(content, SHAPE)
        whole = masks.circle((32, 40), (8, 16), 5)[10:22, 10:30]
        assert (masks.from_labelme(content, SHAPE, clip=True) == whole).all()

    def test_coco(self) -> None:
        for annotation in ({"bbox": [14, 7, 6.5, 9]}, {"segmentation": [[14, 7, 20.5, 7, 20.5, 16, 14, 16]]}):
            with pytest.raises(HeatmapError, match=f"COCO annotation 7: .*{self.WHERE}"):
                masks.from_coco({"id": 7, **annotation}, SHAPE)
            assert (masks.from_coco(annotation, SHAPE, clip=True) == self.EDGE).all()

    def test_voc(self, tmp_path: Path) -> None:
        path = voc(tmp_path, voc_object("person", 15, 8, 21, 13))
        with pytest.raises(HeatmapError, match=rf"frame\.xml': object 1 'person': .*{self.WHERE}"):
            masks.from_voc(path)
        assert (masks.from_voc(path, clip=True) == self.EDGE).all()

    def test_cvat(self, tmp_path: Path) -> None:
        for shape in (
            '<box label="person" xtl="14" ytl="7" xbr="20.4" ybr="12.4"/>',
            '<polygon label="person" points="14,7;20.4,7;20.4,12.4;14,12.4"/>',
        ):
            path = cvat(tmp_path, shape)
            with pytest.raises(HeatmapError, match=rf"CVAT file .*image 'a\.png': <\w+> 1 'person': .*{self.WHERE}"):
                masks.from_cvat(path, "a.png")
            assert (masks.from_cvat(path, "a.png", clip=True) == self.EDGE).all()


class TestLabelme:
    def test_what_labelme_sets_apart_is_no_object(self) -> None:
        apart = [{**POLYGON, "label": name} for name in ("__ignore__", "_background_")]
        assert (masks.from_labelme(labelme(RECTANGLE, *apart), SHAPE) == PERSON).all()
        assert (masks.from_labelme(labelme(RECTANGLE, *apart), SHAPE, label="__ignore__") == LOGO).all()
        with pytest.raises(HeatmapError, match="marks nothing"):
            masks.from_labelme(labelme(*apart), SHAPE)

    def test_one_label_or_all(self) -> None:
        content = labelme(RECTANGLE, POLYGON)
        assert (masks.from_labelme(content, SHAPE, label="person") == PERSON).all()
        assert (masks.from_labelme(content, SHAPE, label="logo") == LOGO).all()
        assert (masks.from_labelme(content, SHAPE) == PERSON | LOGO).all()

    def test_file(self, tmp_path: Path) -> None:
        path = tmp_path / "frame.json"
        path.write_text(json.dumps(labelme(RECTANGLE)), "utf-8")
        for given in (path, str(path)):
            assert (masks.from_labelme(given, SHAPE) == PERSON).all()

    def test_circle_is_a_centre_and_a_point_on_the_rim(self) -> None:
        shape = {"label": "wheel", "shape_type": "circle", "points": [[9, 6], [12, 10]]}
        assert (masks.from_labelme(labelme(shape), SHAPE) == masks.circle(SHAPE, (9, 6), 5)).all()

    def test_mask_is_a_picture_of_its_box(self) -> None:
        part = np.random.default_rng(0).random((4, 9)) < 0.5
        shape = {"label": "hair", "shape_type": "mask", "points": [[5, 3], [13, 6]], "mask": encoded(part)}
        found = masks.from_labelme(labelme(shape), SHAPE)
        assert (found[3:7, 5:14] == part).all()
        assert found.sum() == part.sum()

    def test_without_a_shape_type_it_is_a_polygon(self) -> None:
        old = {"label": "logo", "points": POLYGON["points"]}
        assert (masks.from_labelme({"shapes": [old]}, SHAPE) == LOGO).all()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (labelme(RECTANGLE, POLYGON), r"marks no 'car'; it holds 'logo', 'person'; pass one of these"),
            (labelme(), "marks no 'car'; it holds nothing"),
            (labelme(RECTANGLE, imageWidth=40), r"of an image of \(12, 40\) \(H, W\), not \(12, 20\)"),
            (
                {"images": []},
                r"labelme content, with \['images'\], is not what labelme writes; expected a list 'shapes'",
            ),
            (
                labelme({"label": "car", "shape_type": "line", "points": [[1, 1], [5, 5]]}),
                "labelme line, which is not supported",
            ),
            (
                labelme({"label": "car", "shape_type": "rectangle", "points": [[1, 1]]}),
                r"'car': the labelme rectangle has points of shape \(1, 2\); expected two",
            ),
            (labelme({"label": "car", "shape_type": "rectangle", "points": []}), r"two points \(x, y\)"),
            (
                labelme({"label": "car", "shape_type": "polygon", "points": [[1, 1], [5, 5], [50, 2]]}),
                "reaches outside",
            ),
            (
                labelme({"label": "car", "shape_type": "mask", "points": [[5, 3], [6, 4]], "mask": "AAAA"}),
                r"shapes\[0\] 'car': the labelme mask is not an image file",
            ),
            (
                labelme({"label": "car", "shape_type": "mask", "points": [[15, 3], [23, 6]], "mask": encoded(PERSON)}),
                "from x 15 to 35 and y 3 to 15 reaches outside the image of 20 x 12 px",
            ),
        ],
    )
    def test_refused(self, content: Any, message: str) -> None:
        with pytest.raises(HeatmapError, match=message):
            masks.from_labelme(content, SHAPE, label="car")

    def test_no_json(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text("[1, 2]")
        (tmp_path / "b.json").write_text("{")
        for name, message in (("a", "holds a list"), ("b", "cannot be read"), ("c", "there is no labelme file")):
            with pytest.raises(HeatmapError, match=message):
                masks.from_labelme(tmp_path / f"{name}.json", SHAPE)


def voc(tmp_path: Path, *objects: str, size: str = "<size><width>20</width><height>12</height></size>") -> Path:
    path = tmp_path / "frame.xml"
    path.write_text(f"<annotation>{size}{''.join(objects)}</annotation>")
    return path


def voc_object(name: str, xmin: float, ymin: float, xmax: float, ymax: float) -> str:
    corners = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"


class TestVoc:
    def test_pixels_count_from_one_and_the_last_belongs(self, tmp_path: Path) -> None:
        path = voc(tmp_path, voc_object("person", 6, 4, 14, 7), voc_object("logo", 1, 1, 3, 2))
        assert (masks.from_voc(path, label="person") == PERSON).all()
        assert (masks.from_voc(str(path)) == PERSON | LOGO).all()

    def test_whole_image(self, tmp_path: Path) -> None:
        assert masks.from_voc(voc(tmp_path, voc_object("all", 1, 1, 20, 12))).all()
        assert masks.from_voc(voc(tmp_path, voc_object("all", 0, 0, 20, 12))).all()

    @pytest.mark.parametrize(
        ("objects", "message"),
        [
            ([voc_object("person", 6, 4, 14, 7)], "marks no 'car'; it holds 'person'"),
            ([voc_object("car", 6, 4, 24, 7)], "reaches outside the image of 20 x 12 px"),
            (["<object><name>car</name></object>"], "'car': it has no <bndbox>"),
            (
                [voc_object("car", 6, 4, 24, 7).replace("<xmin>6</xmin>", "")],
                "<xmin> of <bndbox> is None; expected a number",
            ),
            (
                [voc_object("car", 6, 4, 14, 7).replace("<xmin>", "<xmin>1</xmin><xmin>")],
                "<bndbox> has several <xmin>; expected one",
            ),
        ],
    )
    def test_refused(self, tmp_path: Path, objects: list[str], message: str) -> None:
        with pytest.raises(HeatmapError, match=message):
            masks.from_voc(voc(tmp_path, *objects), label="car")

    def test_without_a_size(self, tmp_path: Path) -> None:
        with pytest.raises(HeatmapError, match="states no <size>"):
            masks.from_voc(voc(tmp_path, size=""))

    def test_no_file_and_no_xml(self, tmp_path: Path) -> None:
        (tmp_path / "text.xml").write_text("not XML")
        for name, message in (("text.xml", "cannot be read"), ("nowhere.xml", "there is no Pascal VOC file")):
            with pytest.raises(HeatmapError, match=message):
                masks.from_voc(tmp_path / name)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    @pytest.mark.parametrize(
        "entity", ['<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">', '<!ENTITY b SYSTEM "file:///etc/hostname">', ""]
    )
    def test_entities_are_never_expanded(self, tmp_path: Path, entity: str, encoding: str) -> None:
        text = (
            f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE annotation [{entity}]><annotation>&b;</annotation>'
        )
        (tmp_path / "bomb.xml").write_bytes(text.encode(encoding))
        with pytest.raises(HeatmapError, match="has the document type 'annotation', which is not supported"):
            masks.from_voc(tmp_path / "bomb.xml")


def cvat(tmp_path: Path, *shapes: str) -> Path:
    path = tmp_path / "annotations.xml"
    images = f'<image id="0" name="a.png" width="20" height="12">{"".join(shapes)}</image>'
    path.write_text(
        f'<annotations><version>1.1</version>{images}<image name="b.png" width="4" height="3"/></annotations>'
    )
    return path


CVAT_BOX = '<box label="person" occluded="0" xtl="5.00" ytl="3.00" xbr="14.00" ybr="7.00" z_order="0"></box>'
CVAT_POLYGON = '<polygon label="logo" points="0.00,0.00;3.00,0.00;3.00,2.00;0.00,2.00"></polygon>'


class TestCvat:
    def test_one_label_or_all(self, tmp_path: Path) -> None:
        path = cvat(tmp_path, CVAT_BOX, CVAT_POLYGON)
        assert (masks.from_cvat(path, "a.png", label="person") == PERSON).all()
        assert (masks.from_cvat(path, "a.png", label="logo") == LOGO).all()
        assert (masks.from_cvat(path, "a.png") == PERSON | LOGO).all()

    def test_ellipse(self, tmp_path: Path) -> None:
        path = cvat(tmp_path, '<ellipse label="wheel" cx="9" cy="6" rx="5" ry="2.5"></ellipse>')
        y, x = np.mgrid[:12, :20] + 0.5
        assert (masks.from_cvat(path, "a.png") == (((x - 9) / 5) ** 2 + ((y - 6) / 2.5) ** 2 <= 1)).all()

    def test_mask_runs_along_the_rows_of_its_box(self, tmp_path: Path) -> None:
        path = cvat(tmp_path, '<mask label="hair" rle="1, 3, 2" left="4" top="5" width="3" height="2"></mask>')
        found = masks.from_cvat(path, "a.png")
        assert found[5:7, 4:7].tolist() == [[False, True, True], [True, False, False]]
        assert found.sum() == 3

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            (CVAT_BOX, "marks no 'car'; it holds 'person'"),
            (
                '<box label="car" rotation="30" xtl="5" ytl="3" xbr="14" ybr="7"/>',
                "is a rotated box, which is not supported",
            ),
            (
                '<polyline label="car" points="1,1;5,5"/>',
                "is a CVAT polyline, which is not supported; draw it as a polygon",
            ),
            ('<box label="car" xtl="5" ytl="3" xbr="14"/>', "ybr of <box> is None; expected a number"),
            ('<polygon label="car" points="1,1;5,x;3,3"/>', "a point of <polygon> is 'x'; expected a number"),
            ('<polygon label="car" points="1,1;5;3,3"/>', "three or more points"),
            (
                '<mask label="car" rle="1,3" left="4" top="5" width="3" height="2"/>',
                "add up to 4 pixels; expected integers",
            ),
            ('<mask label="car" rle="0,6" left="18" top="5" width="3" height="2"/>', "reaches outside the image"),
        ],
    )
    def test_refused(self, tmp_path: Path, shape: str, message: str) -> None:
        with pytest.raises(HeatmapError, match=message):
            masks.from_cvat(cvat(tmp_path, shape), "a.png", label="car")

    def test_other_image(self, tmp_path: Path) -> None:
        with pytest.raises(HeatmapError, match=r"holds no image 'c\.png'; it holds 'a\.png', 'b\.png'"):
            masks.from_cvat(cvat(tmp_path, CVAT_BOX), "c.png")
        with pytest.raises(HeatmapError, match="marks nothing; it holds nothing"):
            masks.from_cvat(cvat(tmp_path, CVAT_BOX), "b.png")

    def test_tracks_of_a_video(self, tmp_path: Path) -> None:
        (tmp_path / "video.xml").write_text('<annotations><track id="0" label="car"/></annotations>')
        with pytest.raises(
            HeatmapError, match="is an export of CVAT for video, with tracks; expected one of CVAT for images"
        ):
            masks.from_cvat(tmp_path / "video.xml", "frame_000000")
