"""The cache of heatmaps: nothing is kept unless asked for, and where it is, every ingredient decides the key."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer
from pytest_gradcam.cam import cache as engine_cache
from pytest_gradcam.cam.cache import HeatmapCache, key, model_key
from pytest_gradcam.cam.identity import weights_digest
from pytest_gradcam.cam.output_kind import Asked, OutputReader
from pytest_gradcam.cam.outputs import Goal
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.evidence.store import Store
from pytest_gradcam.state.parts import parts_of
from pytest_gradcam.targets import ClassNames

GRID = np.arange(49, dtype=np.float32).reshape(7, 7)
SUBJECT = Subject(
    centres=((3.0, 4.0), (2.5, 4.0)),
    target="pedestrian",
    target_index=1,
    score=1.5,
    probability=0.75,
    rank=1,
    classes=2,
    predicted="pedestrian",
    predicted_index=1,
    output="scores at 'logits'",
    task="single",
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
SCALE = {"all": 1.0}


class Gain:
    """What a model may hold that is neither a tensor nor plain."""

    factor = 1.0

    def apply(self, values):
        return values * self.factor


def gain(values):
    return values


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 40, 3), nn.BatchNorm2d(40), nn.ReLU())
        self.head = nn.Linear(40, 2)
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.plain = torch.ones(2)
        self.table = np.ones(2, np.float32)
        self.gain = Gain()

    def forward(self, x):
        FORWARDS.append(len(x))
        scores = self.head(self.features(x).mean((2, 3))) * self.passing * self.plain * torch.from_numpy(self.table)
        return gain(self.gain.apply(scores)) * SCALE["all"]


FORWARDS: list[int] = []
IMAGE = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))


def build(seed=0):
    torch.manual_seed(seed)
    net = Net().eval()
    net.features[1].running_mean.normal_(std=0.05)
    return net


@pytest.fixture
def net():
    return build()


def explained(explainer):
    heatmap = explainer(IMAGE, 1)
    return heatmap.score, heatmap.grid.copy()


def same(first, second):
    return first[0] == second[0] and np.array_equal(first[1], second[1])


def optimizer_step(net):
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    optimizer.step()


def new_memory_twice(net):
    net.head.bias.data = net.head.bias.data * 2
    net.head.bias.data = net.head.bias.data * 3


def value_without_gradient(net):
    with torch.no_grad():
        net.head.weight[1, 0] += 9


#: Ways to change what a model computes that every key has to see.
SEEN = {
    "optimizer step": optimizer_step,
    "load_state_dict": lambda net: net.load_state_dict(build(1).state_dict()),
    "load_state_dict, assigned": lambda net: net.load_state_dict(build(1).state_dict(), assign=True),
    "one value": value_without_gradient,
    "one value through data": lambda net: net.head.weight.data.__setitem__((1, 3), 9.0),
    "input channel through data": lambda net: net.features[0].weight.data[:, 1].mul_(2),
    "output channel through data": lambda net: net.features[0].weight.data[7].mul_(2),
    "one value through NumPy": lambda net: net.head.weight.detach().numpy().__setitem__((1, 5), 5.0),
    "signs through NumPy": lambda net: np.negative(net.head.weight.detach().numpy(), net.head.weight.detach().numpy()),
    "new memory": lambda net: setattr(net.head.weight, "data", net.head.weight.data * 2),
    "new memory, twice": new_memory_twice,
    "new parameter": lambda net: setattr(net.head, "bias", nn.Parameter(torch.ones(2))),
    "parameter removed": lambda net: setattr(net.head, "bias", None),
    "buffer that is not saved": lambda net: net.passing.mul_(2),
    "running statistics": lambda net: net.features[1].running_mean.data.add_(1),
    "tensor attribute": lambda net: net.plain.data.mul_(2),
    "array attribute": lambda net: net.table.__setitem__(1, 2),
    "attribute of a layer": lambda net: setattr(net.features[0], "stride", (2, 2)),
    "module replaced": lambda net: net.features.__setitem__(2, nn.GELU()),
    "module added": lambda net: net.features.append(nn.Tanh()),
    "modules swapped": lambda net: setattr(net, "features", nn.Sequential(*[net.features[i] for i in (0, 2, 1)])),
    "hook": lambda net: net.features[2].register_forward_hook(lambda module, inputs, output: output * 2),
}


def class_attribute_of_what_it_holds(net, patch):
    patch.setattr(Gain, "factor", 2.0)


def method_of_what_it_holds(net, patch):
    patch.setattr(Gain, "apply", lambda self, values: values * 3)


def forward_of_a_class(net, patch):
    forward = nn.ReLU.forward
    patch.setattr(nn.ReLU, "forward", lambda self, x: 2 * forward(self, x))


def function_of_the_module(net, patch):
    patch.setitem(globals(), "gain", lambda values: values * 2)


def object_at_module_level(net, patch):
    patch.setitem(SCALE, "all", 2.0)


def hook_on_all_modules(net, patch):
    def double(module, inputs, output):
        return output * 2 if isinstance(module, nn.ReLU) else None

    handle = nn.modules.module.register_module_forward_hook(double)
    patch.callback = handle.remove


#: Ways that a key may not see.
UNSEEN = {
    "attribute of what it holds": lambda net, patch: setattr(net.gain, "factor", 2.0),
    "class attribute of what it holds": class_attribute_of_what_it_holds,
    "method of what it holds": method_of_what_it_holds,
    "forward of a class": forward_of_a_class,
    "function of the module": function_of_the_module,
    "object at module level": object_at_module_level,
    "hook on all modules": hook_on_all_modules,
}


@pytest.fixture
def patch():
    with pytest.MonkeyPatch.context() as patched:
        patched.callback = lambda: None
        yield patched
        patched.callback()


@pytest.mark.parametrize("change", SEEN.values(), ids=SEEN)
@pytest.mark.parametrize("cache", [None, "run", "disk"])
def test_every_change_of_weights_and_structure_is_seen(net, change, cache, tmp_path):
    kept = {None: None, "run": HeatmapCache(), "disk": HeatmapCache(store=Store(tmp_path))}[cache]
    explainer = Explainer(net, "features", output="logits", cache=kept)
    before = explained(explainer)
    change(net)
    after = explained(explainer)
    assert not same(after, before)
    assert same(after, explained(Explainer(net, "features", output="logits")))
    if cache == "disk":  # as a later run finds it
        assert same(
            after, explained(Explainer(net, "features", output="logits", cache=HeatmapCache(store=Store(tmp_path))))
        )


@pytest.mark.parametrize("change", UNSEEN.values(), ids=UNSEEN)
def test_by_default_what_no_key_could_see_is_seen_as_well(net, change, patch):
    explainer = Explainer(net, "features")
    before = explained(explainer)
    change(net, patch)
    after = explained(explainer)
    assert not same(after, before)
    assert same(after, explained(Explainer(net, "features")))


def test_what_did_not_change_is_computed_once_where_a_cache_is_given(net):
    explainer = Explainer(net, "features", cache=HeatmapCache())
    first = explained(explainer)
    FORWARDS.clear()
    assert same(explained(explainer), first)
    assert FORWARDS == []


def test_what_did_not_change_is_read_from_the_disk(net, tmp_path):
    first = explained(Explainer(net, "features", cache=HeatmapCache(store=Store(tmp_path))))
    FORWARDS.clear()
    assert same(explained(Explainer(build(), "features", cache=HeatmapCache(store=Store(tmp_path)))), first)
    assert FORWARDS == []


def test_without_a_cache_every_call_computes(net):
    explainer = Explainer(net, "features")
    explained(explainer)
    FORWARDS.clear()
    for _ in range(3):
        explained(explainer)
    assert FORWARDS == [1, 1, 1]


def test_inside_one_call_nothing_is_computed_twice(net):
    explainer = Explainer(net, "features")
    explained(explainer)
    FORWARDS.clear()
    explainer.compare(IMAGE, [0, 1])
    heatmap = explainer(IMAGE, 1)
    for _ in range(3):
        heatmap.mass(np.eye(16, dtype=bool))
    assert FORWARDS == [1, 1]


def asked(net=None, image=IMAGE, *, goal=None, names=None, layer=None, method="gradcam"):
    model = build() if net is None else net
    goal = Goal() if goal is None else goal
    outputs = OutputReader(Asked(), ClassNames(names))
    return key(model_key(parts_of(model), weights_digest(model), outputs), image, goal, layer, method)


def one_value_changed():
    image = IMAGE.clone()
    image[2, 7, 7] += 1e-6
    return image


def test_every_ingredient_of_a_key_counts():
    keys = [
        asked(),
        asked(build(1)),
        asked(build().train()),
        asked(image=one_value_changed()),
        asked(image=IMAGE.double()),
        asked(image=IMAGE.reshape(3, 8, 32)),
        asked(layer="features"),
        asked(layer="None"),
        asked(method="hirescam"),
        asked(goal=Goal(index=1)),
        asked(goal=Goal(index=1, against=2)),
        asked(names=["a", "b"]),
        asked(names=["b", "a"]),
        asked(names={"a": 1}),
    ]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert asked(image=IMAGE.clone()) == asked()


def test_an_image_written_to_behind_pytorchs_back_has_another_key(net):
    pixels = np.zeros((3, 64, 64), np.float32)
    image = torch.from_numpy(pixels)
    before = asked(net, image)
    pixels[1, 20, 20] = 1e-3
    assert asked(net, image) != before


def test_settings_of_the_moment_count(net):
    found = {asked(net)}
    with torch.autocast("cpu"):
        found.add(asked(net))
    with torch.autocast("cpu", dtype=torch.float16):
        found.add(asked(net))
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if precision != "medium" else "high")
    try:
        found.add(asked(net))
    finally:
        torch.set_float32_matmul_precision(precision)
    assert len(found) == 4


@pytest.mark.parametrize("name", ["torch", "numpy", "grad-cam"])
def test_versions_count(name, net, monkeypatch):
    before = asked(net)
    version = engine_cache.metadata.version
    monkeypatch.setattr(engine_cache.metadata, "version", lambda asked: "99.0" if asked == name else version(asked))
    if name == "torch":
        monkeypatch.setattr(torch, "__version__", "99.0")
    engine_cache._versions.cache_clear()
    try:
        assert asked(net) != before
    finally:
        engine_cache._versions.cache_clear()


def test_a_callable_is_never_kept(net):
    explainer = Explainer(net, "features", cache=HeatmapCache())
    sign = 1
    first = explainer(IMAGE, lambda output: sign * output[1])
    sign = -1
    second = explainer(IMAGE, lambda output: sign * output[1])
    assert second.score == -first.score
    assert asked(goal=Goal(function=lambda output: output[0])) is None


@pytest.mark.parametrize("value", [torch.eye(3).to_sparse(), torch.empty(3, device="meta")], ids=["sparse", "meta"])
def test_weights_without_bytes_have_no_key(net, value):
    net.register_buffer("extra", value)
    assert asked(net) is None


def test_a_class_without_a_file_has_no_key():
    space = {"__name__": "nowhere"}
    exec("from torch import nn\nclass Made(nn.Module):\n    def forward(self, x):\n        return x", space)
    assert asked(space["Made"]()) is None


A = "a"


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


def test_memory_stays_within_its_bound_and_holds_what_was_used_last():
    grid = np.zeros((64, 64), np.float32)  # 16 KiB
    cache = HeatmapCache(memory_bytes=100 * 1024)
    for number in range(50):
        cache.put(str(number), grid, SUBJECT)
        assert cache.get("0") is not None
    kept = [number for number in range(50) if cache.get(str(number))]
    assert kept[0] == 0
    assert kept[1:] == list(range(50 - len(kept) + 1, 50))
    assert 4 <= len(kept) <= 6
    cache.put("big", np.zeros((1000, 1000), np.float32), SUBJECT)
    assert cache.get("big") is None


def test_putting_again_takes_no_more_memory():
    grid = np.zeros((64, 64), np.float32)
    cache = HeatmapCache(memory_bytes=50 * 1024)
    for name in "ab":
        for _ in range(10):
            cache.put(name, grid, SUBJECT)
    assert cache.get("a") is not None


def test_entries_of_another_shape_are_misses(store):
    store.put("a", {"other": GRID}, {})
    assert HeatmapCache(store=store).get(A) is None
    store.put("a", {"grid": GRID}, {"unknown": 1})
    assert HeatmapCache(store=store).get(A) is None
