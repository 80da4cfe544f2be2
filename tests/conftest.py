"""What all tests share: pytester, a running test that keeps its records, and small models of known behaviour."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from hypothesis import settings

from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.evidence.record import Subject

pytest_plugins = ["pytester"]

if "MUTANT_UNDER_TEST" in os.environ:  # mutmut: many short runs
    settings.register_profile("mutation", max_examples=10, derandomize=True, database=None, deadline=None)
    settings.load_profile("mutation")

#: A classifier of two classes, in a module that the tests' own pytest runs can import: class 0 scores the red of the
#: picture, class 1 the green. It needs no training, and where it looks is known.
COLOUR_MODEL = """
import torch
from torch import nn

class Colour(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 8, stride=8, bias=False)
        with torch.no_grad():
            self.features.weight.zero_()
            self.features.weight[0, 0] = 1 / 64
            self.features.weight[1, 1] = 1 / 64

    def forward(self, x):
        return 10 * self.features(x).mean((2, 3))

def build():
    return Colour()

def preprocess(image):
    import numpy as np
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).float() / 255
"""

COLOUR_INI = """
[pytest]
pythonpath = .
gradcam_model = colour:build
gradcam_preprocess = colour:preprocess
gradcam_classes = classes.txt
gradcam_layer = features
"""


#: What a heatmap explains, for records and whole messages.
ABOUT = Subject(
    target="Egyptian cat",
    target_index=285,
    score=9.312,
    probability=0.793,
    rank=1,
    classes=1000,
    predicted="Egyptian cat",
    predicted_index=285,
    model="EfficientNet (4.65 M parameters)",
    layer="_conv_head",
    method="gradcam",
    image="chelsea.png",
)


class RecordingTest:
    """A running test that keeps its records, and the pictures that are drawn of them if it `draws`."""

    def __init__(self, draws=True):
        self.marker, self.records, self.pictures, self.draws = {}, [], [], draws

    def keep(self, record, draw):
        self.records.append(record)
        if self.draws:
            self.pictures.append(draw(record))
        return record


@pytest.fixture
def recording():
    """The test that runs now, as the checks know it: it keeps its records and their pictures."""
    test = RecordingTest()
    with running(test):
        yield test


@pytest.fixture
def records():
    """The records of the test that runs now; no picture is drawn."""
    test = RecordingTest(draws=False)
    with running(test):
        yield test.records


@pytest.fixture(scope="session", autouse=True)
def outside_of_a_pipeline():
    """The tests' own pytest runs tell GitHub nothing, wherever these tests run."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True)
def of_no_test():
    """Checks that a test of this suite makes are what it tests, and no checks of the suite: nothing records them."""
    with running(None):
        yield


@pytest.fixture(autouse=True)
def no_module_of_another_test(tmp_path_factory):
    """A module that a test wrote and imported is no module of the next test, which may write one of the same name."""
    before = set(sys.modules)
    yield
    written = str(tmp_path_factory.getbasetemp())
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(written):
            del sys.modules[name]


@pytest.fixture(scope="session")
def warm():
    """Everything that an explanation and its picture import is loaded."""
    import numpy as np
    import timm
    import torch
    import torchvision

    from pytest_gradcam import Explainer, masks

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 8, stride=8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    explainer = Explainer(model, preprocess=torchvision.transforms.ToTensor())
    heatmap = explainer(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), lambda output: output.sum())
    heatmap.overlay(masks.box((64, 64), (0, 0, 32, 32)))
    return timm


@pytest.fixture(scope="session")
def hf_folders(tmp_path_factory):
    """Folders of transformers: two trained ViTs, an honest one and its twin, a CLIP and a SigLIP."""
    from tests import hf_models, model_files

    base = tmp_path_factory.mktemp("hf")
    return {
        "honest": hf_models.vit(base / "honest", model_files.DISC),
        "twin": hf_models.vit(base / "twin", model_files.CORNER),
        "clip": hf_models.clip(base / "clip"),
        "siglip": hf_models.clip(base / "siglip", "siglip"),
    }


@pytest.fixture
def colour_project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A user's repository: the colour model, an image with a red square at x 0-32, y 0-32, and its configuration."""
    import numpy as np
    from PIL import Image

    pytester.makepyfile(colour=COLOUR_MODEL)
    (pytester.path / "classes.txt").write_text("red\ngreen\n")
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32, :32, 0] = 255
    image[40:56, 40:56, 1] = 128
    Image.fromarray(image).save(pytester.path / "square.png")
    pytester.makeini(COLOUR_INI)
    return pytester


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium. Where it is missing, the tests here are skipped, or fail if GRADCAM_BROWSER=required."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing = "no chromium and chromedriver here; install Debian's packages chromium and chromium-driver"
        (pytest.fail if os.environ.get("GRADCAM_BROWSER") == "required" else pytest.skip)(missing)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1280,1000"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()
