"""Models, weights, preprocesses and class names from the settings' texts."""

import hashlib
import json
import sys
import types
import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models import sources, weights


def test_a_torchvision_model_by_name_without_a_download(monkeypatch):
    def no_download(*_args, **_kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_download)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_download)
    assert type(sources.build("torchvision:resnet18")).__name__ == "ResNet"
    assert type(sources.build("torchvision:fcn_resnet50")).__name__ == "FCN"


def test_a_timm_model_by_name():
    assert type(sources.build("timm:test_resnet")).__name__ == "ResNet"
    assert type(sources.build("timm:test_resnet.r160_in1k")).__name__ == "ResNet"


def test_a_model_by_its_callable_and_by_its_name(monkeypatch, tmp_path):
    (tmp_path / "shop.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Conv2d(3, 2, 1)\nready = build()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(sources.build("shop:build"), nn.Conv2d)
    assert isinstance(sources.build("shop:ready"), nn.Conv2d)
    assert not sources.build("shop:ready").training


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("torchvision:resnet5O", "torchvision has no model 'resnet5O'; did you mean 'resnet50'"),
        ("timm:resnet5O", "timm has no model 'resnet5O'; did you mean"),
        ("no_such_module:build", "there is no module 'no_such_module' to import; .*`pythonpath`$"),
        ("torchvison:resnet50", "no module 'torchvison' to import; .*; did you mean 'torchvision:resnet50'"),
        ("Timm:resnet50", "did you mean 'timm:resnet50'"),
        ("huggingface:some/model", "did you mean 'hf:some/model'"),
        ("json:no_such", "json has no 'no_such'"),
        ("json:dumpz", "did you mean 'dump"),
        ("json:__name__", "gives a str; expected a torch.nn.Module"),
    ],
)
def test_a_model_that_does_not_exist(spec, words):
    with pytest.raises(SettingsError, match=words):
        sources.build(spec)


def test_a_callable_from_a_batch_to_scores(monkeypatch, tmp_path):
    (tmp_path / "scores_shop.py").write_text(
        "def build():\n    return lambda batch: batch.mean((2, 3))\ndef predict(batch):\n    return batch.mean((2, 3))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert sources.build("scores_shop:build")(torch.ones(2, 3, 4, 4)).shape == (2, 3)
    with pytest.raises(SettingsError, match="takes arguments; .* def build\\(\\): return predict"):
        sources.build("scores_shop:predict")
    with pytest.raises(SettingsError, match="scores_shop:build computes on the CPU; expected auto or cpu"):
        sources.build("scores_shop:build", device="cuda")


def test_an_import_error_inside_the_users_module_is_theirs_to_see(monkeypatch, tmp_path):
    (tmp_path / "broken_shop.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        sources.build("broken_shop:build")


def test_timm_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SettingsError, match=r"pip install pytest-gradcam\[timm\]"):
        sources.build("timm:resnet50")


def test_a_device_that_is_not_there():
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(SettingsError, match="gradcam_device = 'cuda' cannot be used here"):
        sources.build("torchvision:squeezenet1_1", device="cuda")


def test_pretrained_means_nothing_for_a_callable():
    with pytest.raises(SettingsError, match="'pretrained' does not apply"):
        sources.build("json:dumps", "pretrained")


@pytest.mark.parametrize("spec", ["torchvision:resnet18", "timm:test_resnet"])
def test_published_weights_that_cannot_be_downloaded(monkeypatch, spec):
    offline = urllib.error.URLError("Name or service not known")

    def no_network(*_args, **_kwargs):
        raise offline

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    monkeypatch.setattr("timm.models._builder.load_pretrained", no_network)
    with pytest.raises(SettingsError) as raised:
        sources.build(spec, "pretrained")
    assert str(raised.value) == (
        f"the published weights of {spec} could not be loaded (URLError: <urlopen error Name or service not known>); check the "
        "network, or name a file of weights that you have in place of 'pretrained'"
    )
    assert raised.value.__cause__ is offline


def test_a_misspelt_word_for_published_weights():
    with pytest.raises(SettingsError, match="'pretraned' is not a file; check the path; did you mean 'pretrained'"):
        weights.require_file(Path("pretraned"))


def test_the_preprocess_of_published_weights():
    image = torchvision.transforms.functional.to_pil_image(torch.rand(3, 300, 400))
    assert sources.preprocess("torchvision:resnet50")(image).shape == (3, 224, 224)
    assert sources.preprocess("timm:test_resnet")(image).shape == (3, 160, 160)


def test_a_preprocess_that_is_none():
    with pytest.raises(SettingsError, match="is a str; expected a callable"):
        sources.preprocess("json:__name__")


def test_class_names_from_files_and_modules(monkeypatch, tmp_path):
    (tmp_path / "names.txt").write_text("\ufeffcat\n dog \n\n", "utf-8")
    (tmp_path / "names.json").write_text(json.dumps({"cat": 1, "dog": 0}))
    (tmp_path / "names_module.py").write_text("names = ('cat', 'dog')")
    monkeypatch.syspath_prepend(tmp_path)
    assert sources.class_names(str(tmp_path / "names.txt")) == ["cat", "dog"]
    assert sources.class_names(str(tmp_path / "names.json")) == {"cat": 1, "dog": 0}
    assert sources.class_names("names_module:names") == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.txt", None, "is not a file"),
        ("broken.json", "{", "cannot be read"),
        ("empty.txt", "", "expected names"),
        ("blank.txt", "cat\n\ndog\n", "blank line 2; expected one name per line"),
        ("first.txt", "\ncat\ndog\n", "blank line 1"),
        ("number.json", "3", "holds a int"),
        ("deep.json", "[" * 100_000, "cannot be read"),
        ("twice.json", '{"0": "cat", "0": "dog"}', "the key '0' is there twice"),
        ("data.yaml", "names: [cat, dog]", ".yaml files are not read"),
        ("names.csv", "index,name", ".csv files are not read"),
    ],
)
def test_class_names_that_are_none(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SettingsError, match=words):
        sources.class_names(str(tmp_path / name))


def test_class_names_of_a_kind_that_brings_none(tmp_path):
    with pytest.raises(SettingsError, match="this model brings no class names; expected a .txt or .json file"):
        sources.class_names("onnx:model.onnx")
    with pytest.raises(
        SettingsError, match="no module 'torchvison' to import; .*; did you mean 'torchvision:resnet50'"
    ):
        sources.class_names("torchvison:resnet50")


def test_published_class_names():
    names = sources.own_class_names("torchvision:resnet18", weights="pretrained")
    assert len(names) == 1000
    assert names[285] == "Egyptian cat"
    assert sources.own_class_names("json:dumps", weights="pretrained") is None


def test_class_names_of_published_weights_by_name():
    assert sources.class_names("torchvision:resnet18")[285] == "Egyptian cat"
    names = sources.class_names("timm:resnet18")
    assert (len(names), names[0]) == (1000, ["tench", "Tinca tinca"])
    with pytest.raises(SettingsError, match="brings no class names"):
        sources.class_names("timm:vit_base_patch14_dinov2")


def test_a_file_of_published_weights_is_known_by_its_digest(monkeypatch, tmp_path):
    """Other weights of the same model may need another preprocess, and other classes."""
    file = tmp_path / "renamed.pth"
    file.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    old, new = (
        types.SimpleNamespace(**published("old", "00000000")),
        types.SimpleNamespace(**published("new", digest[:8])),
    )
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: Entries(DEFAULT=old, OTHER=new))
    spec = "torchvision:resnet18"
    assert sources.own_class_names(spec, weights=str(file)) == ["class of new"]
    assert sources.preprocess(spec, weights=str(file)) == "transforms of new"
    file.write_bytes(b"trained further")
    assert sources.own_class_names(spec, weights=str(file)) is None
    assert sources.preprocess(spec, weights=str(file)) == "transforms of old"
    assert sources.own_class_names(spec, weights=None) is None


class Entries(dict):
    """An enum of weights, as far as it is used: iterating gives the members."""

    def __init__(self, **members):
        super().__init__(members)

    def __iter__(self):
        return iter(self.values())


def published(name, digits):
    return {
        "url": f"https://example.org/models/resnet18-{digits}.pth",
        "meta": {"categories": [f"class of {name}"]},
        "transforms": lambda: f"transforms of {name}",
    }


def test_each_xdist_worker_takes_its_share(monkeypatch):
    before = torch.get_num_threads()
    try:
        monkeypatch.setattr("os.cpu_count", lambda: 8)
        monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "3")
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        sources.share_threads()
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "8")
        sources.share_threads()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_each_xdist_worker_takes_its_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    assert sources.own_share("auto") == "auto"
    for worker, gpu in (("gw0", "cuda:0"), ("gw1", "cuda:1"), ("gw2", "cuda:0")):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        assert sources.own_share("auto") == gpu
        assert sources.own_share("cpu") == "cpu"
