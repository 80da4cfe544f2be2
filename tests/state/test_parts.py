"""A model's parts are looked up once, and again where they changed."""

import gc
import weakref

import pytest
import torch
from torch import nn

from pytest_gradcam.state.guard import untouched
from pytest_gradcam.state.parts import parts_of


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 2)


@pytest.fixture
def net():
    return Net().eval()


def test_parts_that_stay_are_the_same_object(net):
    parts = parts_of(net)
    net.body(torch.rand(1, 3, 8, 8))
    net.train()
    assert parts_of(net) is parts


CHANGES = {
    "module appended": lambda net: net.body.append(nn.Identity()),
    "module replaced": lambda net: net.body.__setitem__(2, nn.GELU()),
    "module of another class": lambda net: setattr(net.body[2], "__class__", nn.GELU),
    "module renamed": lambda net: setattr(net, "last", net._modules.pop("head")),
    "parameter replaced": lambda net: setattr(net.head, "weight", nn.Parameter(torch.zeros(2, 4))),
    "parameter removed": lambda net: setattr(net.head, "bias", None),
    "parameter of another shape": lambda net: setattr(net.head.weight, "data", torch.zeros(3, 4)),
    "buffer replaced": lambda net: setattr(net.body[1], "running_mean", torch.ones(4)),
    "buffer added": lambda net: net.register_buffer("more", torch.zeros(1)),
    "table replaced": lambda net: vars(net).update(_modules=dict(net._modules)),
    "table of torch.nn replaced": lambda net: vars(net.body[1]).update(_buffers=dict(net.body[1]._buffers)),
    "attributes replaced": lambda net: setattr(net, "__dict__", dict(vars(net))),
}


@pytest.mark.parametrize("guarded", [False, True], ids=["", "after a guard"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_parts_that_change_are_looked_up_again(net, change, guarded):
    parts = parts_of(net)
    if guarded:
        with untouched(net):
            pass
    change(net)
    now = parts_of(net)
    assert now is not parts
    assert now.modules == list(net.modules())
    assert [id(each) for each in now.parameters] == [id(each) for each in net.parameters()]
    assert [id(tensor) for _, _, tensor in now.buffers] == [id(each) for each in net.buffers()]


def test_parameters_that_get_their_values_are_looked_up_again():
    net = nn.Sequential(nn.LazyLinear(3))
    before = parts_of(net)
    net(torch.rand(1, 5))
    assert parts_of(net) is not before
    assert parts_of(net).count == 5 * 3 + 3


def test_while_a_guard_holds_a_model_its_parts_are_those_of_the_beginning(net):
    parts = parts_of(net)
    with untouched(net) as held:
        net.body.append(nn.Identity())
        assert held is parts_of(net) is parts
    assert parts_of(net) is parts
    net.body.append(nn.Identity())
    assert parts_of(net) is not parts


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_a_scripted_model_is_looked_up_each_time(net):
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    assert parts_of(scripted) is not parts_of(scripted)
    assert len(parts_of(scripted).parameters) == 2


def test_parts_keep_no_model_alive():
    net = Net()
    known = weakref.ref(net)
    parts_of(net)
    del net
    gc.collect()
    assert known() is None


def test_buffers_whose_values_are_no_view_of_them_are_given_back():
    net = Net().eval()
    net.register_buffer("turned", torch.arange(6.0).reshape(2, 3).t())
    before = net.turned.clone()
    for _ in range(2):
        with untouched(net):
            net.turned.data.add_(1)
        torch.testing.assert_close(net.turned, before, rtol=0, atol=0)
        net.turned.add_(1)
        before = net.turned.clone()
