"""Several models in one run: a candidate against the released model, and a conftest.py for each folder."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.conftest import COLOUR_MODEL

TWINS = """
import pytest
import torch
from colour import build, preprocess

def weighted(weight):
    model = build()
    with torch.no_grad():
        model.features.weight.mul_(weight)
    return model

@pytest.fixture(scope="session")
def gradcam_preprocess():
    return preprocess
"""
BOTH = """
@pytest.fixture(scope="session", params=["released", "candidate"])
def gradcam_model(request):
    return weighted(1 if request.param == "released" else -1)
"""
ONE = """
from models import weighted

@pytest.fixture(scope="session")
def gradcam_model():
    return weighted({weight})
"""
TEST = """
from pytest_gradcam import masks

def test_red_is_class_0(gradcam):
    gradcam("IMAGE", 0, layer="features").assert_focus_within(masks.box((64, 64), (0, 0, 32, 32)))
"""


@pytest.fixture
def project(warm, pytester):
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32, :32, 0] = 255
    Image.fromarray(image).save(pytester.path / "red.png")
    pytester.makepyfile(colour=COLOUR_MODEL)
    pytester.makeini("[pytest]\npythonpath = .\n")
    return pytester


def by_weights(folder):
    """What became of the checks, by the weights that they are about: a test's name and its outcome."""
    evidence = json.loads((folder / "report" / "evidence.json").read_text("utf-8"))
    found = {}
    for record in evidence["runs"][0]["checks"]:
        found.setdefault(record["weights"], []).append((record["test"].rpartition("::")[2], record["outcome"]))
    return found


def test_a_candidate_is_tested_beside_the_released_model_and_the_report_tells_them_apart(project):
    project.makeconftest(TWINS + BOTH)
    project.makepyfile(test_model=TEST.replace("IMAGE", str(project.path / "red.png")))
    result = project.inline_run("--gradcam-report=report")
    result.assertoutcome(passed=1, failed=1)
    found = by_weights(project.path)
    assert "" not in found
    assert sorted(found.values()) == [
        [("test_red_is_class_0[candidate]", "no evidence")],
        [("test_red_is_class_0[released]", "passed")],
    ]


def test_each_folder_has_the_model_of_its_own_conftest(project):
    project.makepyfile(models=TWINS)
    for folder, weight in (("good", 1), ("bad", -1)):
        place = project.mkpydir(folder)
        head = "import pytest\nfrom models import gradcam_preprocess\n"
        (place / "conftest.py").write_text(head + ONE.format(weight=weight))
        (place / f"test_{folder}.py").write_text(TEST.replace("IMAGE", str(project.path / "red.png")))
    project.inline_run("--gradcam-report=report").assertoutcome(passed=1, failed=1)
    found = by_weights(project.path)
    assert len(found) == 2
    assert sorted(outcome for checks in found.values() for _, outcome in checks) == ["no evidence", "passed"]
