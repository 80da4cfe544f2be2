"""The cache of heatmaps: every ingredient that decides a heatmap decides its key, and nothing stale is ever served."""

import copy
import gc
import importlib
import os
import random
import subprocess
import sys
import threading
import weakref
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pytest_gradcam
from pytest_gradcam.cam import sources
from pytest_gradcam.cam.cache import HeatmapCache, Key, identity, key
from pytest_gradcam.cam.fingerprint import Fingerprint, Fingerprints
from pytest_gradcam.cam.outputs import Goal
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.evidence.store import Store
from pytest_gradcam.targets import Contrast

GRID = np.arange(49, dtype=np.float32).reshape(7, 7)
SUBJECT = Subject(
    target="pedestrian",
    target_index=1,
    score=1.5,
    probability=0.75,
    rank=1,
    classes=2,
    predicted="pedestrian",
    predicted_index=1,
    model="Net (0.1 M parameters)",
    model_class="nets.Net",
    parameter_count=100_000,
    weights="0123",
    device="cpu",
    layer="features",
    method="gradcam",
    image="underpass.png",
    image_digest="sha256 4567",
)
SCALE = 1.0


class Net(nn.Module):
    bias = 0.0

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 40, 3), nn.BatchNorm2d(40), nn.ReLU())
        self.head = nn.Linear(40, 2)
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.threshold = 0.5
        self.sizes = [1, 2]
        self.options = {"pool": "mean"}
        self.act = F.relu
        self.plain = torch.zeros(3)
        self.table = np.zeros(3)

    def forward(self, x):
        return self.head(self.act(self.features(x)).mean((2, 3))) * SCALE + self.bias


def build():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def net():
    return build()


def fingerprint(model):
    return Fingerprints(model).current()


def test_equal_models_have_equal_fingerprints(net):
    assert fingerprint(net) == fingerprint(build()) == fingerprint(copy.deepcopy(net))
    assert fingerprint(net).portable


def test_a_model_keeps_its_fingerprint_through_explanations_and_modes(net):
    from pytest_gradcam import Explainer

    prints = Fingerprints(net)
    before = prints.current()
    Explainer(net.train(), layer="features")(torch.rand(3, 16, 16))
    assert prints.current() == before
    net.requires_grad_(False)
    net.state_dict()
    assert prints.current() == before


def step(net):
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    optimizer.step()


def set_buffer(net):
    net.passing[0] = 2


def set_row_through_data(net):
    net.head.weight.data[1] = 0


def set_channel_through_data(net):
    net.features[0].weight.data[7] *= 2


def set_input_channel_through_data(net):
    net.features[0].weight.data[:, 1] = 0


def set_through_numpy(net):
    net.features[1].bias.detach().numpy()[3] = 5


def replace_data(net):
    net.head.weight.data = net.head.weight.data * 2


def replace_data_twice(net):
    net.head.bias.data = net.head.bias.data * 2
    net.head.bias.data = net.head.bias.data * 3


def load(net):
    torch.manual_seed(1)
    net.load_state_dict(Net().state_dict())


def patch_method(net):
    net.forward = lambda x: nn.Module.forward


def add_hook(net):
    net.features.register_forward_hook(lambda module, inputs, output: output * 2)


CHANGES = {
    "optimizer step": step,
    "load_state_dict": load,
    "one value": lambda net: net.head.weight.__setitem__((0, 0), 9.0),
    "buffer that is not saved": set_buffer,
    "running statistics": lambda net: net.features[1].running_mean.add_(1),
    "row through data": set_row_through_data,
    "channel through data": set_channel_through_data,
    "input channel through data": set_input_channel_through_data,
    "through numpy": set_through_numpy,
    "new memory": replace_data,
    "new memory, twice": replace_data_twice,
    "new parameter": lambda net: setattr(net.head, "bias", nn.Parameter(torch.ones(2))),
    "parameter removed": lambda net: setattr(net.head, "bias", None),
    "dtype": lambda net: net.double(),
    "attribute": lambda net: setattr(net, "threshold", 0.7),
    "attribute of another type": lambda net: setattr(net, "threshold", "0.5"),
    "new attribute": lambda net: setattr(net, "extra", 1),
    "attribute removed": lambda net: delattr(net, "threshold"),
    "attribute of a layer": lambda net: setattr(net.features[0], "stride", (2, 2)),
    "inside a list": lambda net: net.sizes.append(3),
    "inside a dict": lambda net: net.options.update(pool="max"),
    "tensor attribute": lambda net: net.plain.add_(1),
    "array attribute": lambda net: net.table.__setitem__(0, 1),
    "function attribute": lambda net: setattr(net, "act", F.gelu),
    "module replaced": lambda net: net.features.__setitem__(2, nn.GELU()),
    "module added": lambda net: net.features.append(nn.Identity()),
    "modules swapped": lambda net: setattr(net, "features", nn.Sequential(*reversed(net.features))),
    "forward replaced": patch_method,
    "hook": add_hook,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_of_a_model_is_noticed(net, change):
    prints = Fingerprints(net)
    before = prints.current()
    with torch.no_grad() if change is not step else torch.enable_grad():
        change(net)
    after = prints.current()
    assert before is not None
    assert after != before
    assert after == fingerprint(net)  # what a second look says, without anything remembered about the first


def test_changes_of_the_class_and_of_what_its_code_names_are_noticed(net, monkeypatch):
    prints = Fingerprints(net)
    found = [prints.current()]
    for target, name, value in (
        (Net, "bias", 1.0),
        (sys.modules[__name__], "SCALE", 2.0),
        (Net, "forward", lambda self, x: x),
        (nn.ReLU, "forward", lambda self, x: x),
    ):
        monkeypatch.setattr(target, name, value)
        found.append(prints.current())
    assert len(set(found)) == len(found)
    monkeypatch.undo()
    assert prints.current() == found[0]


def test_what_a_closure_holds_is_noticed(net):
    factor = 2

    def hook(module, inputs, output):
        return output * factor

    net.features.register_forward_hook(hook)
    prints = Fingerprints(net)
    before = prints.current()
    factor = 3
    assert prints.current() != before


def test_architectures_with_equal_weights_differ():
    convolution = nn.Conv2d(3, 4, 3)
    models = [
        nn.Sequential(convolution, nn.ReLU()),
        nn.Sequential(convolution, nn.GELU()),
        nn.Sequential(convolution, nn.GELU(approximate="tanh")),
        nn.Sequential(convolution, nn.LeakyReLU(0.1)),
        nn.Sequential(convolution, nn.LeakyReLU(0.2)),
        nn.Sequential(nn.ReLU(), convolution),
        nn.ModuleList([convolution, nn.ReLU()]),
    ]
    assert len({fingerprint(model).digest for model in models}) == len(models)


def test_equal_bytes_of_other_type_or_shape_differ():
    def holding(tensor):
        model = nn.Identity()
        model.register_buffer("held", tensor)
        return fingerprint(model).digest

    zeros = [torch.zeros(4), torch.zeros(2, 2), torch.zeros(4, dtype=torch.int32), torch.zeros(8, dtype=torch.bfloat16)]
    assert len({holding(tensor) for tensor in zeros}) == len(zeros)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.bool, torch.complex64])
def test_every_dtype_and_layout_of_memory_has_a_fingerprint_by_value(dtype):
    values = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).to(dtype)
    found = set()
    for tensor in (
        values,
        values.to(memory_format=torch.channels_last),
        values.transpose(2, 3).clone().transpose(2, 3),
    ):
        model = nn.Identity()
        model.register_buffer("held", tensor)
        prints = Fingerprints(model)
        found.add(prints.current())
        tensor[0, 0, 0, 0] = 7
        assert prints.current() not in found or dtype is torch.bool
        tensor[0, 0, 0, 0] = 0
    assert len(found) == 1


def test_weights_made_in_inference_mode_are_read_each_time():
    with torch.inference_mode():
        model = nn.Linear(3, 2)
        prints = Fingerprints(model)
        before = prints.current()
        model.weight[0, 0] += 1
        assert prints.current() != before


@dataclass
class Settings:
    depth: int = 1


class Named(list):
    pass


class Slots:
    __slots__ = ("depth",)


OPAQUE = {
    "lock": threading.Lock(),
    "generator": (number for number in range(3)),
    "set of objects": {Settings},
    "slots": Slots(),
    "state outside Python": random.Random(0),
    "random generator": torch.Generator(),
    "reference": weakref.ref(Slots),
    "objects": np.array([object()]),
    "append of a list": [].append,
    "sparse": torch.eye(3).to_sparse(),
    "meta": torch.empty(3, device="meta"),
}


@pytest.mark.parametrize("value", OPAQUE.values(), ids=OPAQUE)
def test_a_model_that_cannot_be_read_has_no_fingerprint(net, value):
    net.extra = value
    prints = Fingerprints(net)
    assert prints.current() is None
    del net.extra
    assert prints.current() == fingerprint(build())


def test_hooks_on_all_modules_leave_no_fingerprint(net):
    prints = Fingerprints(net)
    assert prints.current() is not None
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert prints.current() is None
    finally:
        handle.remove()


def test_objects_cycles_and_shared_modules_can_be_read(net):
    net.settings = Settings()
    net.settings.owner = net
    net.sizes.append(net.sizes)
    net.again = net.features
    net.pool = partial(F.avg_pool2d, kernel_size=2)
    net.bound = net.forward
    net.library = F
    net.names = Named([1])
    net.names.kind = "a"
    prints = Fingerprints(net)
    before = prints.current()
    assert before is not None
    net.settings.depth = 2
    assert prints.current() != before
    net.settings.depth = 1
    assert prints.current() == before
    net.names.kind = "b"
    assert prints.current() != before


def test_a_fingerprint_keeps_no_model_alive():
    net = build()
    net.owner = [net]
    net.bound = net.forward
    model, weight = weakref.ref(net), weakref.ref(net.head.weight)
    assert Fingerprints(net).current() is not None
    del net
    gc.collect()
    assert model() is None
    assert weight() is None


def test_a_class_without_source_stays_in_memory():
    space = {"__name__": "nowhere"}
    exec("from torch import nn\nclass Made(nn.Module):\n    def forward(self, x):\n        return x", space)
    found = fingerprint(space["Made"]())
    assert found is not None
    assert not found.portable


USER = """
from torch import nn
{imports}

class Part(nn.Module):
    def forward(self, x):
        {inner}
        return {call}
"""


#: Explains with the model of user.py, as far as the cache is concerned, and says whether it had been done before.
RUN = """
import sys
from pathlib import Path

import numpy as np
import torch

import user
from pytest_gradcam.cam.cache import HeatmapCache, key
from pytest_gradcam.cam.fingerprint import Fingerprints
from pytest_gradcam.cam.outputs import Goal
from pytest_gradcam.evidence import Subject
from pytest_gradcam.evidence.store import Store

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.LSTM(6, 6), user.Part())
cache = HeatmapCache(store=Store(Path("cache")))
one = key(Fingerprints(model).current(), torch.ones(3, 8, 8), layer=None, method="gradcam", target=Goal(3))
assert one.portable
print(cache.get(one) is not None)
cache.put(one, np.ones((2, 2), np.float32), Subject(layer="x"))
"""


def served(root, seed, **files):
    """Whether the heatmap is found in a process of its own, with these files."""
    for name, text in files.items():
        (root / f"{name}.py").write_text(text)
    path = os.pathsep.join((str(root), str(Path(pytest_gradcam.__file__).parents[1])))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", RUN], capture_output=True, text=True, timeout=120, env=environment, cwd=root
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip() == "True"


def test_another_process_is_served_while_the_code_that_the_model_reaches_is_the_same(tmp_path):
    user = USER.format(imports="import first", inner="", call="first.run(x)")
    files = {"user": user, "first": "from second import run", "second": "def run(x): return x", "other": "a = 1"}
    assert not served(tmp_path, "1", **files)
    assert served(tmp_path, "2", other="a = 2")
    assert not served(tmp_path, "2", second="def run(x): return -x")


def test_code_imported_inside_functions_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = []
    for number in range(2):
        (tmp_path / "inner_user.py").write_text(
            USER.format(imports="", inner="import inner_part", call="inner_part.run(x)")
        )
        (tmp_path / "inner_part.py").write_text(f"def run(x): return x * {number}")
        for name in ("inner_user", "inner_part"):
            importlib.import_module(name)
        found.append(sources.digest("inner_user"))
        for name in ("inner_user", "inner_part"):
            del sys.modules[name]
        for function in (sources.digest, sources._read, sources._content):
            function.cache_clear()
    assert len(set(found)) == 2


def test_code_that_was_edited_after_it_was_loaded_is_not_known(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "edited_user.py").write_text(USER.format(imports="", inner="", call="x"))
    module = importlib.import_module("edited_user")
    (tmp_path / "edited_user.py").write_text(USER.format(imports="", inner="", call="x + 1"))
    found = fingerprint(module.Part())
    del sys.modules["edited_user"]
    assert not found.portable


IMAGE = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
PRINT = Fingerprint("f", True)


def asked(fingerprint=PRINT, image=IMAGE, *, layer=None, method="gradcam", target=None):
    return key(fingerprint, image, layer=layer, method=method, target=Goal() if target is None else target)


def one_value_changed():
    image = IMAGE.clone()
    image[2, 7, 7] += 1e-6
    return image


def test_every_ingredient_of_a_key_counts():
    mask = np.zeros((200, 200), bool)
    other = mask.copy()
    other[100, 100] = True
    keys = [
        asked(),
        asked(Fingerprint("g", True)),
        asked(image=one_value_changed()),
        asked(image=IMAGE.double()),
        asked(image=IMAGE.reshape(3, 4, 16)),
        asked(layer="features"),
        asked(layer="None"),
        asked(method="hirescam"),
        asked(target=Goal(index=1)),
        asked(target=Goal(index=1, against=2)),
        asked(target=Goal(against=1)),
        asked(target=(Goal(), "names")),
        asked(target=Contrast(1, 2)),
        asked(target=Contrast("1", 2)),
        asked(target=("region", mask)),
        asked(target=("region", other)),
    ]
    assert None not in keys
    assert len({one.digest for one in keys}) == len(keys)
    assert asked(image=IMAGE.clone()) == asked()


def test_an_image_written_to_behind_pytorchs_back_has_another_key():
    pixels = np.zeros((3, 64, 64), np.float32)
    image = torch.from_numpy(pixels)
    before = asked(image=image)
    pixels[1, 20, 20] = 1e-3
    assert asked(image=image) != before


def test_settings_of_the_moment_count():
    found = {asked().digest}
    with torch.autocast("cpu"):
        found.add(asked().digest)
    with torch.autocast("cpu", dtype=torch.float16):
        found.add(asked().digest)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if precision != "medium" else "high")
    try:
        found.add(asked().digest)
    finally:
        torch.set_float32_matmul_precision(precision)
    assert len(found) == 4


@pytest.mark.parametrize("name", ["torch", "numpy", "grad-cam"])
def test_versions_count(name, monkeypatch):
    from pytest_gradcam.cam import cache

    before = asked()
    version = cache.metadata.version
    monkeypatch.setattr(cache.metadata, "version", lambda asked: "99.0" if asked == name else version(asked))
    if name == "torch":
        monkeypatch.setattr(torch, "__version__", "99.0")
    cache._versions.cache_clear()
    try:
        assert asked() != before
    finally:
        cache._versions.cache_clear()


class Callable:
    def __call__(self, output):
        return output[0]


@pytest.mark.parametrize(
    "target", [Goal(function=lambda output: output[0]), Goal(function=Callable()), torch.sum, Callable, [F.relu], Net()]
)
def test_callables_have_no_key(target):
    assert identity(target) is None
    assert asked(target=target) is None


def test_what_cannot_be_read_has_no_key():
    assert asked(target=object()) is None
    assert key(None, IMAGE, layer=None, method="gradcam", target=None) is None


def test_a_key_is_portable_if_the_model_is():
    assert asked().portable
    assert not asked(Fingerprint("f", False)).portable


A = Key("a", portable=True)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def assert_same(found, grid, subject):
    np.testing.assert_array_equal(found.grid, grid)
    assert found.grid.dtype == np.float32
    assert found.subject == subject


def test_everything_about_a_heatmap_comes_back_from_memory_and_from_disk(store):
    assert all(getattr(SUBJECT, field.name) not in ("", None) for field in fields(Subject))
    first, second = HeatmapCache(store=store), HeatmapCache(store=store)
    assert first.get(A) is None
    first.put(A, GRID, SUBJECT)
    for cache in (first, second, second):
        assert_same(cache.get(A), GRID, SUBJECT)


def test_a_heatmap_for_which_little_is_known_comes_back(store):
    HeatmapCache(store=store).put(A, GRID, Subject())
    assert_same(HeatmapCache(store=store).get(A), GRID, Subject())


def test_memory_alone_is_a_cache():
    cache = HeatmapCache()
    cache.put(A, GRID, SUBJECT)
    assert_same(cache.get(A), GRID, SUBJECT)


def test_what_is_kept_cannot_be_written_to(store):
    grid = GRID.copy()
    cache = HeatmapCache(store=store)
    cache.put(A, grid, SUBJECT)
    grid[:] = 0
    for found in (cache.get(A), HeatmapCache(store=store).get(A)):
        assert_same(found, GRID, SUBJECT)
        with pytest.raises(ValueError, match="read-only"):
            found.grid[0] = 0


def test_no_key_is_never_kept(tmp_path, store):
    cache = HeatmapCache(store=store)
    cache.put(None, GRID, SUBJECT)
    assert cache.get(None) is None
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_not_portable_stays_in_memory(tmp_path, store):
    here = Key("a", portable=False)
    cache = HeatmapCache(store=store)
    cache.put(here, GRID, SUBJECT)
    assert list(tmp_path.iterdir()) == []
    assert_same(cache.get(here), GRID, SUBJECT)
    HeatmapCache(store=store).put(A, GRID, SUBJECT)
    assert HeatmapCache(store=store).get(here) is None


def test_memory_stays_within_its_bound_and_holds_what_was_used_last():
    grid = np.zeros((64, 64), np.float32)  # 16 KiB
    cache = HeatmapCache(memory_bytes=100 * 1024)
    for number in range(50):
        cache.put(Key(str(number), portable=False), grid, SUBJECT)
        assert cache.get(Key("0", portable=False)) is not None
    kept = [number for number in range(50) if cache.get(Key(str(number), portable=False))]
    assert kept[0] == 0
    assert kept[1:] == list(range(50 - len(kept) + 1, 50))
    assert 4 <= len(kept) <= 6
    cache.put(Key("big", portable=False), np.zeros((1000, 1000), np.float32), SUBJECT)
    assert cache.get(Key("big", portable=False)) is None


def test_putting_again_takes_no_more_memory():
    grid = np.zeros((64, 64), np.float32)
    cache = HeatmapCache(memory_bytes=50 * 1024)
    for key_ in "ab":
        for _ in range(10):
            cache.put(Key(key_, portable=False), grid, SUBJECT)
    assert cache.get(Key("a", portable=False)) is not None


def test_entries_of_another_shape_are_misses(store):
    store.put("a", {"other": GRID}, {})
    assert HeatmapCache(store=store).get(A) is None
    store.put("a", {"grid": GRID}, {"unknown": 1})
    assert HeatmapCache(store=store).get(A) is None
