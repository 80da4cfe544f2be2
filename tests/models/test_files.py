"""ONNX files and programs of torch.export: the same verdicts as the module they were made from, or refused by name."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, FocusError, HeatmapError, Region
from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models import sources
from tests.model_files import CORNER, DISC, Reads, tensors, to_export, to_onnx
from tests.sanity_models import network

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
KINDS = {"onnx": (to_onnx, ".onnx"), "export": (to_export, ".pt2")}


@pytest.fixture(params=KINDS)
def write(request, tmp_path):
    """Writes a model as a file of each kind, and loads it as a setting names it."""
    to, suffix = KINDS[request.param]

    def written(model, **options):
        return sources.build(f"{request.param}:{to(model, tmp_path / f'model{suffix}', **options)}")

    return written


@pytest.mark.parametrize("region", [DISC, CORNER], ids=["honest", "twin"])
def test_reliance_is_that_of_the_module(write, region):
    model, images = Reads(region), tensors(16)
    found, expected = (Explainer(each).reliance(images, CORNER) for each in (write(model), model))
    assert found.relies is expected.relies is (region is CORNER)
    assert found.effect == pytest.approx(expected.effect, abs=1e-4)
    assert found.interval == pytest.approx(expected.interval, abs=1e-4)


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_any_number_of_images_in_batches_of_the_files_size(write, batch):
    torch.manual_seed(0)
    model, images = network(norm=True), tensors(6)
    predicted = Explainer(write(model, batch=batch), batch_size=16).predict(images)
    np.testing.assert_allclose(predicted, Explainer(model).predict(images), atol=1e-5)


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid()])
def test_the_activation_that_a_file_ends_in_is_passed_by(write, end):
    saturated, logits = Reads(DISC, end), Reads(DISC)
    for model in (saturated, logits):
        model.features.weight.data *= 100  # its probabilities are 0 and 1
    images = tensors(4)
    np.testing.assert_allclose(
        Explainer(write(saturated)).predict(images), Explainer(logits).predict(images), rtol=1e-4
    )


def test_it_is_passed_by_for_a_single_first_image_too(write):
    """The first forward pass of such a model calls it twice, so its activation is called twice as well."""
    explainer = Explainer(write(Reads(DISC, nn.Softmax(1))))
    np.testing.assert_allclose(
        explainer.predict(tensors(1)), Explainer(Reads(DISC)).predict(tensors(1)), rtol=1e-4, atol=1e-4
    )
    assert str(explainer._engine._outputs_of.last) == "read as the logits before its last softmax"


class Fills(nn.Module):
    """A segmenter whose whole map is what `Reads` says of the disc, 100 times: its probabilities are 0 and 1."""

    def __init__(self, end, classes):
        super().__init__()
        self.reads, self.end, self.classes = Reads(DISC), end, classes

    def forward(self, x):
        scores = 100 * self.reads(x)[:, :, None, None]
        scores = scores if self.classes > 1 else scores[:, :1] - scores[:, 1:2]
        return self.end(scores + 0 * x.mean(1, keepdim=True))


@pytest.mark.parametrize(("end", "classes"), [(nn.Sigmoid(), 1), (nn.Softmax(1), 3), (nn.LogSoftmax(1), 3)])
def test_the_activation_of_a_segmenter_is_passed_by(write, end, classes):
    explainer, red = Explainer(write(Fills(end, classes))), Region(1 if classes == 1 else 0)
    image = tensors(3)[2]  # a red disc, a green corner
    explainer.assert_relies_on(image, DISC, target=red)
    assert "before its last" in str(explainer._engine._outputs_of.last)
    explainer.assert_ignores(image, CORNER, target=red)
    with pytest.raises(FocusError, match="falls by at least"):
        explainer.assert_ignores(image, DISC, target=red)
    with pytest.raises(HeatmapError, match=r"the heatmap of a Region needs .* or a number as the target: Value\("):
        explainer(image, red)


def _saved(nodes, path, *, opset, outputs, inputs=("n", 3, 4, 4)):
    """A file of these nodes, from x to y."""
    kind, helper = onnx.TensorProto.FLOAT, onnx.helper
    ends = [helper.make_tensor_value_info(*each) for each in (("x", kind, inputs), ("y", kind, outputs))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7), path)
    return sources.build(f"onnx:{path}")


def test_a_softmax_over_pixels_is_not_one_over_classes(tmp_path):
    """Until version 13 of its operators, a softmax is one over all axes that follow its own."""
    network = _saved(
        [onnx.helper.make_node("Softmax", ["x"], ["y"], axis=1)],
        tmp_path / "old.onnx",
        opset=11,
        outputs=["n", 3, 4, 4],
    )
    batch = torch.rand(2, 3, 4, 4)
    np.testing.assert_allclose(network(batch), batch.flatten(1).softmax(1).reshape(batch.shape), atol=1e-6)


def test_an_input_of_another_size_is_refused_with_both(write):
    explainer = Explainer(write(Reads(DISC)))
    with pytest.raises(HeatmapError, match="takes an input of 3 x 32 x 32 .* the preprocess gives 3 x 40 x 32; resize"):
        explainer.predict([torch.rand(3, 40, 32)])
    with pytest.raises(HeatmapError, match=r"the preprocess gives 1 x 32 x 32; give it 3 channels .* convert\('RGB'\)"):
        explainer.predict([torch.rand(1, 32, 32)])


def test_a_size_that_only_the_file_says_can_be_changed_there(tmp_path):
    explainer = Explainer(sources.build(f"onnx:{to_onnx(Reads(DISC), tmp_path / 'model.onnx')}"))
    with pytest.raises(
        HeatmapError, match=r"only the file says this one, change the file \(onnx.tools.update_model_dims"
    ):
        explainer.predict([torch.rand(3, 40, 40)])


def test_records_tell_files_apart(write):
    one, other = (Explainer(write(Reads(region))) for region in (DISC, CORNER))
    digests = [each._engine._identity.read()[0] for each in (one, other)]
    assert len(digests[0]) == 64
    assert digests[0] != digests[1]
    assert "known by its scores alone" in repr(one)


def test_a_file_that_is_none_is_refused(tmp_path):
    for kind, suffix in (("onnx", ".onnx"), ("export", ".pt2")):
        path = tmp_path / f"model{suffix}"
        with pytest.raises(SettingsError, match="there is no such file"):
            sources.build(f"{kind}:{path}")
        path.write_bytes(b"\x08\x07 no model")
        with pytest.raises(SettingsError, match=f"model{suffix} cannot be read"):
            sources.build(f"{kind}:{path}")
        with pytest.raises(SettingsError, match="does not apply to .* which has weights of its own"):
            sources.build(f"{kind}:{path}", weights="other.pt")


def test_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SettingsError, match=r"onnxruntime is not installed.*pip install pytest-gradcam\[onnx\]"):
        sources.look_up(f"onnx:{tmp_path}/model.onnx", "gradcam_model")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter, in several
@pytest.mark.parametrize("axes", [None, {"x": {0: "n", 1: "h", 2: "w"}}], ids=["fixed", "any size"])
def test_channels_last_are_seen_by_the_declared_shape(tmp_path, axes):
    model = Reads(DISC)

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x.permute(0, 3, 1, 2))

    path = tmp_path / "last.onnx"
    torch.onnx.export(
        Last().requires_grad_(False),
        (torch.rand(1, 32, 32, 3),),
        path,
        dynamo=False,
        input_names=["x"],
        dynamic_axes=axes,
    )
    images = tensors(3)
    found = Explainer(sources.build(f"onnx:{path}")).predict(images)
    np.testing.assert_allclose(found, Explainer(model).predict(images), rtol=1e-5)


def test_several_outputs_ask_for_one(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = Reads(DISC), Reads(CORNER)

        def forward(self, x):
            return self.one(x), self.other(x)

    network = sources.build(f"onnx:{to_onnx(Two(), tmp_path / 'two.onnx', names=('first', 'second'))}")
    images = tensors(3)
    with pytest.raises(HeatmapError, match="the model returns 'first' of shape .*'second' .* set gradcam_output_key"):
        Explainer(network).predict(images)
    found = Explainer(network, output_key="second").predict(images)
    np.testing.assert_allclose(found, Explainer(Reads(CORNER)).predict(images), rtol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter, in several
def test_several_inputs_are_refused_by_name(tmp_path):
    class Two(nn.Module):
        def forward(self, x, y):
            return x.mean((2, 3)) + y

    example = (torch.rand(1, 3, 32, 32), torch.rand(1, 3))
    torch.onnx.export(Two(), example, tmp_path / "two.onnx", dynamo=False, input_names=["image", "age"])
    with pytest.raises(SettingsError, match=r"takes 2 inputs \(image \[1, 3, 32, 32\], age \[1, 3\]\); expected one"):
        sources.build(f"onnx:{tmp_path}/two.onnx")
    torch.export.save(torch.export.export(Two(), example), tmp_path / "two.pt2")
    with pytest.raises(SettingsError, match="takes 2 inputs"):
        sources.build(f"export:{tmp_path}/two.pt2")


def test_bytes_in_are_refused_with_the_wrapper(tmp_path):
    node = onnx.helper.make_node("Cast", ["x"], ["y"], to=1)
    images = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, ["n", 3, 8, 8])
    scores = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3, 8, 8])
    graph = onnx.helper.make_graph([node], "g", [images], [scores])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "b.onnx",
    )
    with pytest.raises(SettingsError, match=r"takes tensor\(uint8\) .* lambda batch: session.run"):
        sources.build(f"onnx:{tmp_path}/b.onnx")


def test_weights_in_a_file_of_their_own_count(tmp_path):
    path = to_onnx(network(), tmp_path / "plain.onnx")
    model = onnx.load(path)
    moved = tmp_path / "moved.onnx"
    onnx.save(model, moved, save_as_external_data=True, location="weights.bin", size_threshold=0)
    images = tensors(2)
    found = Explainer(sources.build(f"onnx:{moved}"))
    np.testing.assert_allclose(found.predict(images), Explainer(network()).predict(images), atol=1e-5)
    before = sources.build(f"onnx:{moved}").digest
    content = bytearray((tmp_path / "weights.bin").read_bytes())
    content[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(content)
    assert sources.build(f"onnx:{moved}").digest != before
