"""Models of other kinds the user's way: three settings, one test file; the honest model passes and its twin fails."""

import pytest
from PIL import Image

from pytest_gradcam.models import sources
from tests.model_files import CORNER, DISC, Reads, pixels, to_export, to_onnx

TEST = """
from pytest_gradcam import masks

DISC = masks.box((32, 32), (8, 8, 20, 20))
CORNER = masks.box((32, 32), (24, 24, 32, 32))

def test_looks_at_the_disc(gradcam):
    gradcam("image.png", method="occlusion").assert_focus_within(DISC, at_least=masks.lift(2))

def test_ignores_the_corner(gradcam):
    gradcam.assert_ignores("image.png", CORNER)

def test_relies_on_the_disc(gradcam):
    gradcam.assert_relies_on("image.png", DISC)
"""


@pytest.fixture
def project(pytester, warm):
    Image.fromarray(pixels(2, 0, 1)).save(pytester.path / "image.png")
    pytester.makepyfile(data="from torchvision.transforms import ToTensor\npreprocess = ToTensor()\n", test_model=TEST)
    (pytester.path / "classes.txt").write_text("red\ngreen\nneither\n")
    return pytester


@pytest.mark.parametrize(("kind", "write"), [("onnx:model.onnx", to_onnx), ("export:model.pt2", to_export)])
def test_a_file(project, kind, write):
    pytest.importorskip("onnxruntime")
    project.makeini(
        f"[pytest]\npythonpath = .\ngradcam_model = {kind}\ngradcam_preprocess = data:preprocess\n"
        "gradcam_classes = classes.txt\n"
    )
    path = project.path / kind.partition(":")[2]
    sources.build(f"{kind.partition(':')[0]}:{write(Reads(DISC), path)}")  # imports what no second run may import again
    for region, passed in ((DISC, 3), (CORNER, 0)):
        write(Reads(region), path)
        result = project.inline_run("--gradcam-report=report")
        result.assertoutcome(passed=passed, failed=3 - passed)


def test_a_callable_and_what_it_cannot_have(project):
    project.makepyfile(
        shop="def build():\n    return lambda batch: batch.mean((2, 3)).numpy()\n",
        test_model="""
def test_gradcam(gradcam):
    gradcam("image.png")

def test_stable(gradcam):
    from pytest_gradcam import perturbations
    gradcam.assert_stable("image.png", perturbations.brightness(0.1))

def test_the_heatmap_is_stable(gradcam):
    from pytest_gradcam import perturbations
    gradcam.assert_stable("image.png", perturbations.brightness(0.1), similarity_at_least=0.5)
""",
    )
    project.makeini(
        "[pytest]\npythonpath = .\ngradcam_model = shop:build\ngradcam_preprocess = data:preprocess\n"
        "gradcam_classes = classes.txt\n"
    )
    result = project.runpytest()
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*known by its scores alone*rise or occlusion*"])
