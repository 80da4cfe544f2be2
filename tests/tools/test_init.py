"""`pytest-gradcam init` on repositories as people have them: what it writes runs, and is green or red for true reasons."""

import io
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_gradcam.cli import main
from pytest_gradcam.tools import data_facts, templates
from pytest_gradcam.tools.kept_part import KeptPart, kept_part

TORCHVISION = """
import torch
import torch.nn as nn
from torchvision import datasets, models, transforms

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
data_transforms = {
    "train": transforms.Compose([transforms.RandomResizedCrop(64), transforms.ToTensor()]),
    "val": transforms.Compose([transforms.Resize(64), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]),
}
model = models.shufflenet_v2_x0_5(weights=None)
model.fc = nn.Linear(model.fc.in_features, 2)
dataset = datasets.ImageFolder("data/train", data_transforms["train"])  # importing this file would fail here
"""
TIMM_MODEL = """
import timm


def build_model():
    return timm.create_model("test_resnet", num_classes=2)
"""
TIMM_DATA = """
from torchvision import transforms

SIZE = 64
train_transform = transforms.Compose([transforms.RandomResizedCrop(SIZE), transforms.ToTensor()])
eval_transform = transforms.Compose([transforms.Resize((SIZE, SIZE)), transforms.ToTensor()])
"""
LIGHTNING = """
import lightning as L
import torch
from torch import nn
from torchvision import transforms


class Classifier(L.LightningModule):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Conv2d(3, width, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def test_transform():
    return transforms.Compose([transforms.Resize(64), transforms.CenterCrop(64), transforms.ToTensor()])


if __name__ == "__main__":
    L.Trainer(max_epochs=3).fit(Classifier(16))
"""


def draw(root, folder, channel, masks="", count=4):
    """Some grey images with a square of one colour, and their masks."""
    (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(channel)
    for number in range(count):
        pixels = rng.integers(90, 110, (64, 64, 3)).astype(np.uint8)
        x, y = rng.integers(8, 32, 2)
        pixels[y : y + 24, x : x + 24] = np.eye(3, dtype=np.uint8)[channel] * 220
        name = f"{'rgb'[channel]}{number}.png"
        Image.fromarray(pixels).save(root / folder / name)
        if masks:
            (root / masks).mkdir(exist_ok=True)
            mask = np.zeros((64, 64), np.uint8)
            mask[y : y + 24, x : x + 24] = 255
            Image.fromarray(mask).save(root / masks / name)


def bare_torchvision(root):
    import torch
    import torchvision

    (root / "train.py").write_text(TORCHVISION)
    draw(root, "data/val/green", 1)
    draw(root, "data/val/red", 0)
    torch.manual_seed(0)
    model = torchvision.models.shufflenet_v2_x0_5(num_classes=2)
    torch.nn.init.constant_(model.fc.bias, -0.5)
    torch.save({"epoch": 3, "model_state_dict": model.state_dict()}, root / "checkpoint.pth")


def timm_package(root):
    import timm
    import torch
    from safetensors.torch import save_file

    (root / "src/shapes").mkdir(parents=True)
    (root / "src/shapes/__init__.py").touch()
    (root / "src/shapes/model.py").write_text(TIMM_MODEL)
    (root / "src/shapes/data.py").write_text(TIMM_DATA)
    (root / "pyproject.toml").write_text('[project]\nname = "shapes"\n\n[tool.pytest.ini_options]\naddopts = "-q"\n')
    (root / "classes.txt").write_text("green\nred\n")
    draw(root, "images", 0, masks="masks")
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=2).state_dict(), root / "model.safetensors")
    torch.save({"other": torch.zeros(3)}, root / "other.pt")


def lightning_module(root):
    """Its first class sees green, its second red: it can only look at the squares."""
    import torch
    from torch import nn

    (root / "lit.py").write_text(LIGHTNING)
    draw(root, "data/test/green", 1, count=8)  # enough for a verdict on reliance
    draw(root, "data/test/red", 0, count=8)
    net = nn.Sequential(nn.Conv2d(3, 2, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    state = {f"net.{name}": torch.zeros_like(value) for name, value in net.state_dict().items()}
    state["net.0.weight"][0, 1], state["net.0.weight"][0, 0] = 1 / 64, -1 / 64
    state["net.0.weight"][1, 0], state["net.0.weight"][1, 1] = 1 / 64, -1 / 64
    state["net.4.weight"].copy_(torch.tensor([[8.0, -8.0], [-8.0, 8.0]]))
    (root / "checkpoints").mkdir()
    checkpoint = {"state_dict": state, "hyper_parameters": {"width": 2}, "pytorch-lightning_version": "2.4.0"}
    torch.save(checkpoint, root / "checkpoints/last.ckpt")


@pytest.fixture
def repository(warm, pytester, monkeypatch):
    import lightning  # noqa: F401 - once, for what pytester forgets is imported again

    monkeypatch.setattr(sys, "path", list(sys.path))
    return pytester


@pytest.mark.filterwarnings("default")  # Lightning's own
@pytest.mark.parametrize(
    ("make", "found", "green"),
    [
        (
            bare_torchvision,
            ["torchvision's shufflenet_v2_x0_5 with 2 classes (train.py:11)", "data_transforms['val']"],
            False,
        ),
        (timm_package, ["shapes.model:build_model", "eval_transform", "4 of these images"], False),
        (lightning_module, ["lit:Classifier", "test_transform (lit.py:", "2: green, red"], True),
    ],
    ids=["torchvision", "timm", "lightning"],
)
def test_what_is_written_runs(repository, capsys, make, found, green):
    make(repository.path)
    assert main(["init", str(repository.path), "--yes"]) == 0
    out = capsys.readouterr().out
    assert all(words in out for words in found)
    result = repository.runpytest_inprocess("tests", "--gradcam-report=out", "-W", "ignore")
    outcomes = result.parseoutcomes()
    assert "errors" not in outcomes
    report = json.loads((repository.path / "out/evidence.json").read_text("utf-8"))
    checks = [check for run in report["runs"] for check in run["checks"]]
    assert len(checks) >= 6
    assert all(check["check"] != "test" for check in checks)  # none ended before its verdict
    assert not green or set(outcomes) == {"passed"}


def test_published_weights_bring_their_names(repository, capsys, monkeypatch):
    """The samples are of ImageNet's classes; the file is known as published, so that nothing is assumed."""
    import torch
    import torchvision

    torch.manual_seed(0)
    torch.save(torchvision.models.shufflenet_v2_x0_5().state_dict(), "weights.pth")
    assert main(["samples", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    assert len(written) == 6
    assert main(["samples"]) == 2
    assert "replaces no file" in capsys.readouterr().err
    command = ["init", "--model", "torchvision:shufflenet_v2_x0_5", "--yes", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"]["gradcam_classes"] == found["settings"]["gradcam_preprocess"] == command[2]
    assert sum("check that they are yours" in note for note in found["notes"]) == 2
    assert found["found"]["images"] == "3 from photos, of espresso, missile, tripod"
    assert found["found"]["masks"] == "3 of these images have one"
    shutil.rmtree("tests")
    (repository.path / "pytest.ini").unlink()
    entries = torchvision.models.get_model_weights("shufflenet_v2_x0_5")
    monkeypatch.setattr("pytest_gradcam.models.torchvision._published", lambda name, file: file and entries["DEFAULT"])
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["settings"]) == {"gradcam_model", "gradcam_weights"}
    (note,) = found["notes"]  # these weights are random
    assert "named after for 0 of 3 images" in note
    assert found["written"] == ["tests/test_attention.py", "pytest.ini"]


@pytest.mark.parametrize("named", [True, False])
def test_images_of_all_folders_are_used_though_no_class_has_their_names(repository, capsys, named):
    timm_package(repository.path)
    shutil.rmtree(repository.path / "images")
    for number in range(3):
        draw(repository.path, f"photos/scene{number}", number, count=1)
    images = ["--images", str(repository.path / "photos")] if named else []
    assert main(["init", str(repository.path), *images, "--yes", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["found"]["images"] == "3 from photos"
    assert "scene2" in (repository.path / "tests/test_attention.py").read_text()


def test_pictures_of_a_report_are_no_images_to_test_on(tmp_path):
    draw(tmp_path, "ci/pictures", 0)
    draw(tmp_path, "scenes", 1)
    (tmp_path / "ci/evidence.json").write_text("{}")
    facts = data_facts.data_facts(tmp_path)
    assert {case.image.parent.name for case in data_facts.cases(facts, ())[0]} == {"scenes"}


@pytest.mark.filterwarnings("default")  # Lightning's own
@pytest.mark.parametrize("swapped", [False, True])
def test_class_names_in_another_order_are_noticed_by_what_the_model_predicts(repository, capsys, swapped):
    lightning_module(repository.path)
    (repository.path / "classes.txt").write_text("red\ngreen\n" if swapped else "green\nred\n")
    assert main(["init", str(repository.path), "--yes", "--json"]) == 0
    notes = [note for note in json.loads(capsys.readouterr().out)["notes"] if "folder is named after" in note]
    assert [note.split(":")[0].partition(" for ")[2] for note in notes] == (["0 of 16 images"] if swapped else [])


def test_a_named_folder_may_lie_elsewhere_and_what_is_left_out_is_said(repository, capsys, tmp_path):
    timm_package(repository.path)
    draw(tmp_path, "elsewhere/red", 0, count=2)
    draw(tmp_path, "elsewhere/blue", 2, count=2)
    assert main(["init", str(repository.path), "--images", str(tmp_path / "elsewhere"), "--yes", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["found"]["images"] == f"2 from {tmp_path.as_posix()}/elsewhere/red, of red"
    assert "no class is called blue: the images there are left out" in found["notes"]


def test_published_weights_are_those_of_a_named_model(repository, capsys):
    assert main(["init", "--weights", "pretrained", "--yes"]) == 2
    assert "pass --model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        ("Resize((32, 32))", KeptPart(1.0, 1.0)),
        ("Resize((64, 64)), CenterCrop(48)", KeptPart(0.75, 0.75)),
        ("Resize(64), CenterCrop(48)", KeptPart(0.75, 0.75, square=True)),
        ("Lambda(lambda image: image.crop((0, 0, 100, 100)))", None),
        ("Resize(64), RandomCrop(32)", None),
    ],
)
def test_which_part_of_an_image_is_kept(warm, transforms, expected):
    from torchvision.transforms import v2

    pipeline = v2.Compose([*eval(f"[{transforms}]", vars(v2)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    found = kept_part(pipeline, torch.nn.Conv2d(3, 2, 1))
    assert (found is None) == (expected is None)
    if found is not None:
        assert (found.across, found.down) == pytest.approx((expected.across, expected.down), abs=0.01)
        assert (found.square, found.whole) == (expected.square, expected.across == 1)


def test_a_frame_is_of_what_the_preprocess_keeps(repository, capsys):
    """The frame of the image itself is cut off by most transforms for ImageNet, so that no test of it has a verdict."""
    bare_torchvision(repository.path)
    text = (repository.path / "train.py").read_text()
    (repository.path / "train.py").write_text(text.replace("Resize(64),", "Resize(64), transforms.CenterCrop(48),"))
    assert main(["init", str(repository.path), "--yes"]) == 0
    result = repository.runpytest_inprocess("tests", "--gradcam-report=out", "-W", "ignore", "-k", "frame")
    checks = json.loads((repository.path / "out/evidence.json").read_text("utf-8"))["runs"][0]["checks"]
    assert [check["outcome"] for check in checks if check["check"] == "focus_avoids"] != []
    assert all("kept" not in (check["reason"] or "") for check in checks), result.stdout.str()


def test_the_fixtures_of_class_names_alone_import_nothing_else(repository, capsys):
    timm_package(repository.path)
    (repository.path / "classes.txt").unlink()
    draw(repository.path, "images/other", 1)
    shutil.move(repository.path / "images", repository.path / "all")
    (repository.path / "all/red").mkdir()
    for image in (repository.path / "all").glob("*.png"):
        image.rename(repository.path / "all/red" / image.name)
    assert main(["init", str(repository.path), "--yes"]) == 0
    text = (repository.path / "tests/conftest.py").read_text()
    assert "\n\nimport pytest\n\n\n@pytest.fixture" in text
    assert "import torch" not in text


def test_a_long_pipeline_is_written_on_lines_of_its_own():
    parts = [
        "T.Resize(144)",
        "T.CenterCrop(128)",
        "T.ToTensor()",
        "T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))",
    ]
    lines = "".join(f"            {part},\n" for part in parts)
    assert templates._on_lines(f"T.Compose([{', '.join(parts)}])") == f"T.Compose(\n        [\n{lines}        ]\n    )"
    found = templates._on_lines(f"A.Compose([{', '.join(parts)}], p=1)")
    assert found == f"A.Compose(\n        [\n{lines}        ],\n        p=1,\n    )"
    assert templates._on_lines("T.Compose([T.ToTensor()])") == "T.Compose([T.ToTensor()])"


def test_settings_are_added_to_those_that_are_there(repository, capsys):
    timm_package(repository.path)
    assert main(["init", str(repository.path), "--yes", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["written"] == ["tests/test_attention.py", "pyproject.toml"]
    text = (repository.path / "pyproject.toml").read_text()
    assert 'addopts = "-q"' in text
    assert 'gradcam_weights = "model.safetensors"' in text
    assert main(["init", str(repository.path), "--yes"]) == 2  # a second time
    assert "has gradcam_" in capsys.readouterr().err


def test_nothing_is_written_before_a_yes(repository, capsys, monkeypatch):
    timm_package(repository.path)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    assert main(["init", str(repository.path)]) == 1
    assert not (repository.path / "tests").exists()
    assert "gradcam" not in (repository.path / "pyproject.toml").read_text()


def test_where_nobody_answers_nothing_is_written_and_the_way_out_is_named(repository, capsys, monkeypatch):
    timm_package(repository.path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["init", str(repository.path)]) == 2
    assert "there is nobody to ask; pass --yes to write without asking" in capsys.readouterr().err
    assert not (repository.path / "tests").exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "nothing below"),
        ({"train.py": "print('hello')\n"}, "nothing below"),
        ({"pyproject.toml": "[tool"}, "cannot be read"),
        ({"pytest.ini": "[pytest]\ngradcam_model = a:b\n"}, "has gradcam_model already"),
        ({"net.py": "def build_model():\n    raise KeyError('x')\n"}, "can be built without arguments or weights"),
    ],
    ids=["empty", "no model", "broken settings", "configured", "broken builder"],
)
def test_what_is_missing_is_said_in_one_line(repository, capsys, files, words):
    for name, text in files.items():
        (repository.path / name).write_text(text)
    assert main(["init", str(repository.path), "--yes"]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not (repository.path / "tests").exists()
