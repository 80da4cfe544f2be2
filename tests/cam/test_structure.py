"""What a model's structure says, and what it does not."""

import copy
import os
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam.cam import structure
from pytest_gradcam.cam.structure import anatomy, configuration
from pytest_gradcam.evidence.current_test import begin_run


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, 2)
        self.threshold = 0.5
        self.sizes = [1, (2, 3)]
        self.options = {"pool": "mean"}
        self.plain = torch.zeros(3)
        self.table = np.zeros(3)


@pytest.fixture
def net():
    return Net().eval()


def test_a_copy_with_other_weights_is_alike(net):
    other = copy.deepcopy(net)
    nn.init.normal_(other.head.weight)
    assert anatomy(other) == anatomy(net)
    assert hash(anatomy(other)) == hash(anatomy(net))
    assert configuration(other) == configuration(net)


ANATOMY = {
    "module appended": lambda net: net.body.append(nn.Identity()),
    "module of another class": lambda net: net.body.__setitem__(1, nn.GELU()),
    "modules swapped": lambda net: setattr(net, "body", nn.Sequential(net.body[1], net.body[0])),
    "module renamed": lambda net: setattr(net, "last", net._modules.pop("head")),
    "shape of a parameter": lambda net: setattr(net.head, "weight", nn.Parameter(torch.zeros(3, 4))),
    "parameter removed": lambda net: setattr(net.head, "bias", None),
}
CONFIGURATION = {
    "training": lambda net: net.body[1].train(),
    "attribute": lambda net: setattr(net, "threshold", 0.7),
    "attribute of another type": lambda net: setattr(net, "threshold", "0.5"),
    "attribute added": lambda net: setattr(net, "extra", None),
    "attribute removed": lambda net: delattr(net, "threshold"),
    "attribute of a layer": lambda net: setattr(net.body[0], "stride", (2, 2)),
    "inside a list": lambda net: net.sizes.append(3),
    "inside a dict": lambda net: net.options.update(pool="max"),
    "tensor through NumPy": lambda net: net.plain.numpy().__setitem__(1, 1.0),
    "array": lambda net: net.table.__setitem__(1, 1.0),
    "forward of an instance": lambda net: setattr(net, "forward", lambda x: x),
    "hook": lambda net: net.head.register_forward_hook(lambda *_: None),
    "pre-hook": lambda net: net.head.register_forward_pre_hook(lambda *_: None),
}


@pytest.mark.parametrize("change", ANATOMY.values(), ids=ANATOMY)
def test_names_classes_and_shapes_are_the_anatomy(net, change):
    before, whole = anatomy(net), configuration(net)
    change(net)
    assert anatomy(net) != before
    if change not in (ANATOMY["shape of a parameter"], ANATOMY["parameter removed"]):  # the weights' digest tells those
        assert configuration(net) != whole


@pytest.mark.parametrize("change", CONFIGURATION.values(), ids=CONFIGURATION)
def test_attributes_and_hooks_are_configuration_alone(net, change):
    before, whole = anatomy(net), configuration(net)
    change(net)
    assert anatomy(net) == before
    assert configuration(net) != whole


def test_a_hook_in_the_place_of_another_counts(net):
    handle = net.head.register_forward_hook(lambda *_: None)
    before = configuration(net)
    handle.remove()
    net.head.register_forward_hook(lambda *_: None)
    assert configuration(net) != before


def test_hooks_on_all_modules_count(net):
    before = configuration(net)
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert configuration(net) != before
    finally:
        handle.remove()
    assert configuration(net) == before


def test_a_list_that_holds_itself_can_be_told(net):
    net.sizes.append(net.sizes)
    assert configuration(net) == configuration(net)


def test_the_files_of_the_classes_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = []
    for base, number in (("a", 1), ("b", 1), ("b", 2)):
        (tmp_path / "base_part.py").write_text(f"from torch import nn\nclass Base(nn.Module): name = {base!r}")
        (tmp_path / "user_part.py").write_text(
            f"import base_part\nclass Part(base_part.Base):\n    def forward(self, x): return x * {number}"
        )
        begin_run()
        import user_part

        found.append(configuration(user_part.Part()))
        structure._file.cache_clear()
        for name in ("user_part", "base_part"):
            monkeypatch.delitem(sys.modules, name)
    assert len(set(found)) == 3


@pytest.mark.parametrize("keeps_the_time", [False, True])
def test_a_class_whose_file_was_saved_while_the_run_went_on_leaves_no_configuration(
    tmp_path, monkeypatch, keeps_the_time
):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "saved_part.py"
    file.write_text("from torch import nn\nclass Part(nn.Module):\n    def forward(self, x): return x")
    begin_run()
    import saved_part

    times = file.stat()
    time.sleep(0.01)
    file.write_text(file.read_text() + " + 1")
    if keeps_the_time:  # as some tools that copy files do
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert configuration(saved_part.Part()) is None


def test_a_class_without_a_file_leaves_no_configuration():
    space = {"__name__": "nowhere"}
    exec("from torch import nn\nclass Made(nn.Module): pass", space)
    assert configuration(nn.Sequential(space["Made"]())) is None
