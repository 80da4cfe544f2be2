"""What a model's structure says, and what it does not."""

import copy
import os
import sys
import time
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pytest_gradcam.cam import structure
from pytest_gradcam.cam.structure import anatomy
from pytest_gradcam.evidence.current_test import begin_run
from pytest_gradcam.state.guard import untouched
from pytest_gradcam.state.parts import parts_of


def configuration(model):
    return structure.configuration(parts_of(model))


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


class Tag:
    def __init__(self, name):
        self.name = name


class Own(float):
    """A number whose words may change."""

    word = "one"

    def __repr__(self):
        return self.word


class Lists(nn.Module):
    """Says which modules it has in a way of its own."""

    hidden = False

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def named_modules(self, *arguments, **options):
        return iter([("", self)]) if Lists.hidden else super().named_modules(*arguments, **options)


def odd(*, numbers):
    net = Net()
    if not numbers:
        net.plain, net.table = [], []
    net.own, net.tag, net.pair, net.nested = (
        Own(1),
        Tag("a"),
        (1, [2]),
        {"a": [{"b": torch.zeros(2) if numbers else [0]}]},
    )
    net.number = np.float64(1)
    return net.eval()


def _hooked(net):
    net.head.register_forward_hook(lambda *_: None)


def _unhooked(net):
    net.body[0]._forward_pre_hooks.clear()
    if "head" in net._modules:
        net.head._forward_hooks.clear()


def _written_to(value):
    if isinstance(value, torch.Tensor):
        value.data[0] += 1
    elif isinstance(value, np.ndarray):
        value[0] += 1
    else:
        value.append(len(value))


EDITS = [
    lambda net: net.body[1].train(not net.body[1].training),
    lambda net: setattr(net, "threshold", 1),
    lambda net: setattr(net, "threshold", True),
    lambda net: setattr(net, "threshold", 1.0),
    lambda net: setattr(net, "threshold", "1.0"),
    lambda net: setattr(net, "later", None),
    lambda net: vars(net).pop("later", None),
    lambda net: net.sizes.append(1),
    lambda net: net.sizes.append(True),
    lambda net: net.sizes.clear(),
    lambda net: net.pair[1].append(3),
    lambda net: net.nested["a"][0].update(c=0),
    lambda net: _written_to(net.nested["a"][0]["b"]),
    lambda net: _written_to(net.plain),
    lambda net: _written_to(net.table),
    lambda net: setattr(net.own, "word", net.own.word + "!"),
    lambda net: setattr(net.tag, "name", "b"),
    lambda net: setattr(net, "tag", Net),
    lambda net: setattr(net.tag, "__class__", Tag) if isinstance(net.tag, Tag) else None,
    lambda net: setattr(net.body[0], "stride", (2, 2)),
    lambda net: setattr(net.body[0], "stride", (1, 1)),
    lambda net: net.body.append(nn.ReLU()),
    lambda net: net.body.__delitem__(-1) if len(net.body) > 2 else None,
    lambda net: net.body.__setitem__(1, nn.GELU()),
    lambda net: net.body._modules.update({"1": net.body._modules.pop("1")}),
    lambda net: setattr(net, "renamed", net._modules.pop("head")) if "head" in net._modules else None,
    lambda net: setattr(net, "head", net._modules.pop("renamed")) if "renamed" in net._modules else None,
    lambda net: setattr(net.body[0], "weight", nn.Parameter(torch.ones(4, 3, 3, 3))),
    lambda net: setattr(net.body[1], "__class__", nn.SiLU),
    lambda net: _hooked(net) if "head" in net._modules else None,
    lambda net: net.body[0].register_forward_pre_hook(lambda *_: None) and None,
    _unhooked,
    lambda net: net.register_buffer("kept", torch.zeros(1), persistent=False),
    lambda net: net.register_buffer("kept", torch.zeros(1), persistent=True),
    lambda net: vars(net).update(threshold=vars(net).pop("threshold")),
    lambda net: vars(net).__setitem__("forward", len),
    lambda net: vars(net).pop("forward", None),
]


@given(st.lists(st.sampled_from(EDITS), max_size=12), st.booleans())
def test_whatever_was_changed_it_says_what_a_walk_over_all_says(edits, numbers):
    net = odd(numbers=numbers)
    held = parts_of(net)
    assert structure.configuration(held) == structure._walk(net)
    for edit in edits:
        edit(net)
        held = parts_of(net)  # as long as somebody holds them, they are remembered
        assert structure.configuration(held) == structure._walk(net)
    assert structure.configuration(held) == structure._walk(net)


@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.parametrize("number", range(len(EDITS)))
def test_each_of_these_changes_alone(number, numbers):
    net = odd(numbers=numbers)
    held = [parts_of(net)]
    for _ in range(2):
        configuration(net)
        EDITS[number](net)
        held.append(parts_of(net))
        assert structure.configuration(held[-1]) == structure._walk(net)


@pytest.mark.parametrize(
    "values", [(1, True, 1.0), (0.0, -0.0, False), ("a", b"a"), ((1,), (True,), [1]), (None, "None")]
)
def test_values_that_are_equal_and_say_something_else_count(net, values):
    held, found = parts_of(net), []
    for value in values:
        net.threshold = value
        found.append(structure.configuration(held))
        assert found[-1] == structure._walk(net)
    assert len(set(found)) == len(values) - ([1] in values)


def test_what_did_not_change_is_not_walked_over_again(net, monkeypatch):
    del net.plain, net.table
    net.own, net.tag, net.pair = Own(1), Tag("a"), (1, [2])
    held = parts_of(net)
    before, walks = configuration(net), []
    walk = structure._walk
    monkeypatch.setattr(structure, "_walk", lambda model: walks.append(1) or walk(model))
    assert structure.configuration(held) == before
    assert structure.configuration(parts_of(net)) == before
    assert walks == []
    net.threshold = 0.25
    assert configuration(net) != before
    assert configuration(net) == walk(net)
    assert walks == [1]


@pytest.mark.parametrize(
    "held_in", [lambda tensor: tensor, lambda tensor: [{"a": tensor}], lambda tensor: tensor.numpy()]
)
def test_a_tensor_that_a_module_holds_no_more_is_let_go_of(net, held_in):
    del net.plain, net.table
    held = parts_of(net)
    before = structure.configuration(held)
    net.last = held_in(torch.ones(3))
    gone = weakref.ref(net.last if isinstance(net.last, (torch.Tensor, np.ndarray)) else net.last[0]["a"])
    assert structure.configuration(held) == structure._walk(net) != before
    net.last = 0
    assert gone() is None


def test_under_a_guard_all_is_walked_over(net):
    del net.plain, net.table
    held = parts_of(net)
    before = configuration(net)
    with untouched(net) as parts:
        assert parts is held
        net.body._modules["1"] = nn.GELU()
        assert structure.configuration(parts) == structure._walk(net) != before
    assert configuration(net) == before


def test_modules_that_list_others_in_a_way_of_their_own_are_asked_each_time(monkeypatch):
    net = Lists().eval()
    held = parts_of(net)
    before = configuration(net)
    monkeypatch.setattr(Lists, "hidden", True)
    assert structure.configuration(held) == structure._walk(net) != before


def test_a_class_that_is_renamed_counts():
    kind = type("First", (nn.Module,), {"__module__": __name__})
    net = nn.Sequential(kind()).eval()
    held = parts_of(net)
    before = configuration(net)
    kind.__qualname__ = "Second"
    assert structure.configuration(held) == structure._walk(net) != before
