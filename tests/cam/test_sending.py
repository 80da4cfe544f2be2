"""A model as bytes: what is built from them makes the same heatmaps, and what cannot be sent or built is named."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam.cam.engine import Engine, Interface
from pytest_gradcam.cam.method import Method
from pytest_gradcam.cam.sending import needs, packed, unpacked
from pytest_gradcam.checks.gate import Gatekeeper
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.models import sources
from pytest_gradcam.questions.explained_model import ExplainedModel, Policy
from tests import model_files

IMAGE = model_files.tensors(1)[0]


class Unsendable(nn.Module):
    def __reduce_ex__(self, protocol):
        raise TypeError("it holds a lock\nand more")


class Unbuildable(nn.Identity):
    def __reduce_ex__(self, protocol):
        return (open, ("/no/such/file",))


def explained(model, *, policy=Policy(), **interface):  # noqa: B008 - frozen
    engine = Engine(model.eval(), Interface(**interface), "features", Method("hirescam", 4))
    return ExplainedModel(engine, lambda: policy, Gatekeeper(engine))


def sent(model):
    return unpacked(packed(model, pickle), torch.get_num_threads())


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
def test_what_is_built_makes_the_same_heatmaps(compiled):
    network = model_files.Reads(model_files.DISC)
    model = explained(torch.compile(network) if compiled else network, classes=["red", "green", "none"])
    other = sent(model)
    mine, theirs = (each.heatmaps([IMAGE], ["green"])[0] for each in (model, other))
    assert np.array_equal(mine.grid, theirs.grid)
    assert replace(mine.subject, image_digest="") == replace(theirs.subject, image_digest="")
    assert other.engine.heatmaps_by(None, None) == model.engine.heatmaps_by(None, None)
    assert other.engine.network is not network


@pytest.mark.parametrize("gate", [False, True])
def test_the_policy_of_the_running_test_goes_along(gate):
    policy = Policy(target="red", method="gradcam", gate=gate, mispredicted="prediction")
    other = sent(explained(model_files.Reads(model_files.DISC), classes=["red", "green", "none"], policy=policy))
    assert other.policy == policy
    found = other.labelled([other.engine.read(IMAGE)], [None])[0]
    assert (found.subject.target, found.subject.method) == ("red", "gradcam")
    assert isinstance(found.gate, partial) is gate


@pytest.mark.parametrize("kind", ["onnx", "export"])
def test_a_model_of_a_file_is_built_from_it(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = model_files.Reads(model_files.DISC).eval()
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    {"onnx": model_files.to_onnx, "export": model_files.to_export}[kind](network, "model.pt2")
    engine = Engine(sources.build(f"{kind}:model.pt2", None, "auto"), method=Method("occlusion"))
    content = packed(ExplainedModel(engine), pickle)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    other = unpacked(content, torch.get_num_threads())
    with torch.no_grad():
        assert other.engine.predict([IMAGE])[0] == pytest.approx(network(IMAGE[None])[0].numpy(), abs=1e-5)
    assert len(other.engine.heatmaps_by(None, None)["weights"]) == 64
    (tmp_path / "model.pt2").unlink()
    with pytest.raises(HeatmapError, match="a worker cannot build the model: SettingsError .*there is no such file"):
        unpacked(content, torch.get_num_threads())


@pytest.mark.parametrize(
    ("what", "model"),
    [
        ("model", lambda: explained(Unsendable())),
        ("preprocess", lambda: explained(nn.Identity(), preprocess=lambda image: image)),
        ("target of the test", lambda: explained(nn.Identity(), policy=Policy(target=lambda output: output))),
    ],
)
def test_what_cannot_be_sent_is_named(what, model):
    with pytest.raises(
        HeatmapError, match=f"the {what} cannot be sent to another process: .*; expected what cloudpickle"
    ) as e:
        packed(model(), pickle)
    assert "\n" not in str(e.value)


def test_what_cannot_be_built_is_refused():
    with pytest.raises(
        HeatmapError, match="a worker cannot build the model: FileNotFoundError .*expected the packages, mod"
    ):
        sent(explained(Unbuildable()))


def test_threads_are_those_of_the_sender():
    before = torch.get_num_threads()
    model = explained(model_files.Reads(model_files.DISC))
    try:
        unpacked(packed(model, pickle), 3)
        assert needs(model) == (3, False)
    finally:
        torch.set_num_threads(before)
