"""Masks from the formats of more annotation tools, against the shapes that their files describe."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from pytest_gradcam import masks
from pytest_gradcam.errors import HeatmapError

SHAPE = (12, 20)
PERSON = masks.box(SHAPE, (5, 3, 14, 7))
LOGO = masks.box(SHAPE, (0, 0, 3, 2))
TRIANGLE = masks.polygon(SHAPE, [(2, 2), (18, 2), (2, 10)])


def saved(tmp_path, content, name="a.json", encoding="utf-8"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding)
    return path


class TestYolo:
    BOXES = "0 0.475 0.4166667 0.45 0.3333333\n1 0.075 0.0833333 0.15 0.1666667\n"

    def test_boxes_by_number_by_name_and_all(self, tmp_path):
        path = saved(tmp_path, self.BOXES, "a.txt")
        assert (masks.from_yolo(path, SHAPE, label=0) == PERSON).all()
        assert (masks.from_yolo(path, SHAPE, label="logo", names=["person", "logo"]) == LOGO).all()
        assert (masks.from_yolo(path, SHAPE) == PERSON | LOGO).all()

    def test_polygons_and_the_confidence_of_a_prediction(self, tmp_path):
        path = saved(tmp_path, "3 0.1 0.1666667 0.9 0.1666667 0.1 0.8333333\n", "a.txt")
        assert (masks.from_yolo(path, SHAPE, label=3) == TRIANGLE).all()
        path = saved(tmp_path, "1 0.075 0.0833333 0.15 0.1666667 0.97\n", "a.txt")
        assert (masks.from_yolo(path, SHAPE) == LOGO).all()

    def test_a_byte_order_mark_and_blank_lines_are_no_content(self, tmp_path):
        path = saved(tmp_path, self.BOXES.replace("\n", "\r\n\r\n"), "a.txt", "utf-8-sig")
        assert (masks.from_yolo(path, SHAPE) == PERSON | LOGO).all()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "marks no '0'; it holds nothing"),
            ("1 0.5 0.5 0.2 0.2", "marks no '0'; it holds '1'"),
            ("0 5 3 14 7", "a.txt': line 1: '5' is not a share of the image"),
            ("0 0.5 0.5 0.2", "line 1: 3 numbers follow the class"),
            ("0 0.5 0.5 0.2 0.2 0.1 0.2 0.3", "line 1: 7 numbers follow the class"),
            ("cat 0.5 0.5 0.2 0.2", "'cat' is not a class number"),
            ("0 0.5 nan 0.2 0.2", "'nan' is not a share"),
            ("0 0.9 0.5 0.4 0.2", "line 1 '0': the box .* reaches outside the image: from 0.4 to 1.1"),
        ],
    )
    def test_refused_with_file_line_and_label(self, tmp_path, content, message):
        with pytest.raises(HeatmapError, match=message):
            masks.from_yolo(saved(tmp_path, content, "a.txt"), SHAPE, label=0)

    def test_a_name_needs_names(self, tmp_path):
        path = saved(tmp_path, self.BOXES, "a.txt")
        with pytest.raises(HeatmapError, match="label='person' is not among the names, there are no names"):
            masks.from_yolo(path, SHAPE, label="person")
        with pytest.raises(HeatmapError, match="line 2: class 1 has no name; expected 1 classes"):
            masks.from_yolo(path, SHAPE, label="person", names=["person"])
        with pytest.raises(HeatmapError, match="is no YOLO file|there is no YOLO file"):
            masks.from_yolo(tmp_path / "none.txt", SHAPE)


def supervisely(*objects, size=(12, 20)):
    return {"size": {"height": size[0], "width": size[1]}, "objects": list(objects), "tags": []}


def figure(title, kind, points=None, holes=(), **more):
    return {"classTitle": title, "geometryType": kind, "points": {"exterior": points, "interior": list(holes)}, **more}


def packed(mask):
    out = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(out, "png")
    return base64.b64encode(zlib.compress(out.getvalue())).decode()


class TestSupervisely:
    def test_rectangles_in_pixels_and_in_edges(self, tmp_path):
        pixels = saved(tmp_path, supervisely(figure("person", "rectangle", [[5, 3], [13, 6]])))
        assert (masks.from_supervisely(pixels, label="person") == PERSON).all()
        edges = saved(tmp_path, supervisely(figure("person", "rectangle", [[4.9, 3.0], [14.1, 7.2]])))
        assert (masks.from_supervisely(edges) == PERSON).all()

    def test_a_polygon_includes_its_outline_and_leaves_its_holes(self, tmp_path):
        square = figure("person", "polygon", [[5, 3], [13, 3], [13, 6], [5, 6]])
        assert (masks.from_supervisely(saved(tmp_path, supervisely(square))) == PERSON).all()
        square["points"]["interior"] = [[[7, 4], [9, 4], [9, 5], [7, 5]]]
        hole = masks.box(SHAPE, (7, 4, 10, 6))
        assert (masks.from_supervisely(saved(tmp_path, supervisely(square))) == PERSON & ~hole).all()

    def test_a_bitmap_lies_at_its_origin(self, tmp_path):
        part = np.random.default_rng(0).random((4, 9)) < 0.5
        entry = figure("hair", "bitmap", bitmap={"data": packed(part), "origin": [5, 3]})
        found = masks.from_supervisely(saved(tmp_path, supervisely(entry)))
        assert (found[3:7, 5:14] == part).all()
        assert found.sum() == part.sum()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (supervisely(), "marks no 'car'; it holds nothing"),
            (supervisely(figure("dog", "rectangle", [[1, 1], [2, 2]])), "marks no 'car'; it holds 'dog'"),
            (supervisely(figure("car", "line", [[1, 1], [2, 2]])), r"objects\[0\] 'car': it is a Supervisely line"),
            (supervisely(figure("car", "rectangle", [[1, 1]])), "two points"),
            (supervisely(figure("car", "rectangle", [[1, 1], [40, 2]])), "reaches outside"),
            (supervisely(figure("car", "bitmap", bitmap={"data": "AAAA", "origin": [0, 0]})), "cannot be read"),
            (
                supervisely(figure("car", "bitmap", bitmap={"data": packed(PERSON), "origin": [9, 0]})),
                "reaches outside",
            ),
            (supervisely(3), r"objects\[0\] is 3"),
            ({"objects": []}, "there is no 'size'"),
            ([], "holds a list"),
        ],
    )
    def test_refused(self, tmp_path, content, message):
        with pytest.raises(HeatmapError, match=message):
            masks.from_supervisely(saved(tmp_path, content), label="car")


def via(*regions, name="a.png"):
    return {f"{name}123": {"filename": name, "size": 123, "regions": list(regions), "file_attributes": {}}}


def region(label, **shape):
    return {"shape_attributes": shape, "region_attributes": {"kind": label}}


RECT = region("person", name="rect", x=5, y=3, width=9, height=4)


class TestVia:
    def test_shapes_by_label(self, tmp_path):
        triangle = region("logo", name="polygon", all_points_x=[2, 18, 2], all_points_y=[2, 2, 10])
        circle = region("wheel", name="circle", cx=9, cy=6, r=5)
        path = saved(tmp_path, via(RECT, triangle, circle))
        assert (masks.from_via(path, "a.png", SHAPE, label="person") == PERSON).all()
        assert (masks.from_via(path, "a.png", SHAPE, label="logo") == TRIANGLE).all()
        assert (
            masks.from_via(path, "a.png", SHAPE, label="wheel", attribute="kind") == masks.circle(SHAPE, (9, 6), 5)
        ).all()

    def test_projects_and_version_1(self, tmp_path):
        content = via(RECT)
        content["a.png123"]["regions"] = {"0": RECT}
        path = saved(tmp_path, {"_via_settings": {}, "_via_img_metadata": content}, encoding="utf-8-sig")
        assert (masks.from_via(path, "a.png", SHAPE) == PERSON).all()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (via(RECT, name="b.png"), "it is not in it; it holds 'b.png'"),
            ({**via(RECT), "x": {"filename": "a.png"}}, "it is in it 2 times"),
            (via(region("car", name="polyline")), r"image 'a.png': regions\[0\] 'car': it is a VIA polyline"),
            (via(region("car", name="ellipse", cx=5, cy=5, rx=2, ry=2, theta=0.3)), "rotated by 0.3"),
            (via(region("car", name="polygon", all_points_x=[1, 2], all_points_y=[1])), "two lists of one length"),
            (via(region("car", name="rect", x=1, y=1, width=90, height=2)), "reaches outside"),
            (via({"shape_attributes": {"name": "rect"}, "region_attributes": {"a": 1, "b": 2}}), "2 attributes"),
            (via(3), "a region is 3"),
        ],
    )
    def test_refused(self, tmp_path, content, message):
        with pytest.raises(HeatmapError, match=message):
            masks.from_via(saved(tmp_path, content), "a.png", SHAPE, label="car")


def task(*results, image="/data/upload/1/0a1b2c3d-a.png", annotations=None):
    return {"data": {"image": image}, "annotations": annotations or [{"id": 7, "result": list(results)}]}


def result(label, kind, **value):
    kind = f"{kind}labels"
    return {"type": kind, "original_width": 20, "original_height": 12, "value": {**value, kind: [label]}}


def ls_box(label, x0, y0, x1, y1, **more):
    return result(
        label,
        "rectangle",
        x=5 * x0,
        y=100 / 12 * y0,
        width=5 * (x1 - x0),
        height=100 / 12 * (y1 - y0),
        rotation=0,
        **more,
    )


#: The runs that label-studio-converter 0.0.59 (brush.mask2rle) makes of 255 * PERSON.
PERSON_RLE = [
    0,
    0,
    3,
    192,
    57,
    27,
    255,
    1,
    3,
    0,
    196,
    127,
    248,
    172,
    3,
    17,
    255,
    226,
    176,
    12,
    71,
    255,
    138,
    192,
    49,
    31,
    255,
    1,
    167,
    0,
    0,
]


class TestLabelStudio:
    def test_boxes_polygons_and_ellipses_in_percent(self, tmp_path):
        points = [[10, 100 / 6], [90, 100 / 6], [10, 250 / 3]]
        content = [task(ls_box("person", 5, 3, 14, 7), result("logo", "polygon", points=points), {"type": "choices"})]
        path = saved(tmp_path, content)
        assert (masks.from_label_studio(path, "a.png", label="person") == PERSON).all()
        assert (masks.from_label_studio(path, "0a1b2c3d-a.png", label="logo") == TRIANGLE).all()
        wheel = result("wheel", "ellipse", x=45, y=50, radiusX=25, radiusY=500 / 12, rotation=0)
        path = saved(tmp_path, [task(wheel)])
        assert (masks.from_label_studio(path, "a.png") == masks.circle(SHAPE, (9, 6), 5)).all()

    def test_brush_strokes_are_the_converters(self, tmp_path):
        content = [task(result("person", "brush", format="rle", rle=PERSON_RLE))]
        assert (masks.from_label_studio(saved(tmp_path, content), "a.png") == PERSON).all()

    def test_one_annotation_of_several_is_named(self, tmp_path):
        annotations = [
            {"id": 1, "result": [ls_box("person", 0, 0, 2, 2)]},
            {"id": 2, "result": [ls_box("person", 5, 3, 14, 7)]},
            {"id": 3, "result": [], "was_cancelled": True},
        ]
        path = saved(tmp_path, [task(annotations=annotations)])
        assert (masks.from_label_studio(path, "a.png", annotation=2) == PERSON).all()
        with pytest.raises(HeatmapError, match="it has 2 annotations to choose from .ids: 1, 2, 3.; pass annotation="):
            masks.from_label_studio(path, "a.png")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ([], "it is not in it; it holds nothing"),
            ([task(), task()], "is in it 2 times"),
            ([task()], "marks nothing"),
            ([task(ls_box("dog", 1, 1, 2, 2))], "marks no 'car'; it holds 'dog'"),
            ([task({**ls_box("car", 1, 1, 2, 2), "original_width": None})], "not an image size"),
            (
                [task(result("car", "rectangle", x=1, y=1, width=9, height=9, rotation=30))],
                "'car': it is rotated by 30",
            ),
            ([task({**ls_box("car", 1, 1, 2, 2), "image_rotation": 90})], "turned by 90 degrees for labelling"),
            ([task(result("car", "keypoint", x=1, y=1))], "Label Studio keypoint, which is not supported"),
            ([task(result("car", "brush", format="rle", rle=PERSON_RLE[:-2]))], "run lengths end too early"),
            ([task(result("car", "brush", format="rle", rle=[0] * 20))], "hold 0 words of 1 bits; expected 960 of 8"),
            ([task(result("car", "brush", format="rle", rle=["a"]))], "not bytes"),
            ([task(result("car", "brush", format="rle", rle=None))], "expected a list of bytes"),
            ({"a": 1}, "holds a dict; expected a list"),
        ],
    )
    def test_refused(self, tmp_path, content, message):
        with pytest.raises(HeatmapError, match=message):
            masks.from_label_studio(saved(tmp_path, content), "a.png", label="car")


def test_a_rectangle_of_four_corners_as_x_anylabeling_writes_it():
    shape = {"label": "a", "shape_type": "rectangle", "points": [[5, 3], [14, 3], [14, 7], [5, 7]]}
    content = {"shapes": [shape], "imageHeight": 12, "imageWidth": 20}
    assert (masks.from_labelme(content, SHAPE) == PERSON).all()
    turned = {"label": "a", "shape_type": "rotation", "points": [[2, 2], [18, 2], [18, 10], [2, 10]]}
    assert (masks.from_labelme({"shapes": [turned]}, SHAPE) == masks.box(SHAPE, (2, 2, 18, 10))).all()
    shape["points"][1] = [13, 4]
    with pytest.raises(HeatmapError, match="four corners .* are not an upright rectangle"):
        masks.from_labelme(content, SHAPE)


def test_a_name_in_two_subsets_of_a_cvat_file_is_told_apart_by_the_subset(tmp_path):
    box = '<box label="a" xtl="5" ytl="3" xbr="14" ybr="7" occluded="0"/>'
    entries = "".join(
        f'<image id="{n}" name="a.png" subset="{subset}" width="20" height="12">{box if subset == "val" else ""}</image>'
        for n, subset in enumerate(("train", "val"))
    )
    path = saved(tmp_path, f"<annotations>{entries}</annotations>", "a.xml", "utf-8-sig")
    assert (masks.from_cvat(path, "a.png", subset="val") == PERSON).all()
    with pytest.raises(HeatmapError, match="2 images named 'a.png': .*subset train.*subset val.*pass subset="):
        masks.from_cvat(path, "a.png")
    with pytest.raises(HeatmapError, match="marks nothing"):
        masks.from_cvat(path, "a.png", subset="train")
    with pytest.raises(HeatmapError, match="no image 'a.png' in subset 'test'"):
        masks.from_cvat(path, "a.png", subset="test")
