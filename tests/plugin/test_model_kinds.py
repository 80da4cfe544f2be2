"""Models of other kinds the user's way: three settings, one test file; the honest model passes and its twin fails."""

import importlib.util

import pytest
from PIL import Image

from pytest_gradcam.models import sources
from tests.hf_models import scene
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


@pytest.fixture(scope="session")
def loaded(warm, hf_folders, tmp_path_factory):
    """What each kind imports is loaded: pytester takes new modules out again, and some cannot be imported twice."""
    folder = tmp_path_factory.mktemp("loaded")
    sources.build(f"export:{to_export(Reads(DISC), folder / 'model.pt2')}")
    sources.build(f"hf:{hf_folders['clip']}", classes=lambda: ["red"])
    sources.preprocess(f"hf:{hf_folders['honest']}")
    if importlib.util.find_spec("onnxruntime"):
        sources.build(f"onnx:{to_onnx(Reads(DISC), folder / 'model.onnx')}")


@pytest.fixture
def project(loaded, pytester):
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


def test_a_folder_of_transformers(project, hf_folders):
    for seed in range(20):
        Image.fromarray(scene(seed, seed % 2, (seed // 2) % 2)).save(project.path / f"{seed}.png")
    project.makepyfile(
        test_model="""
from pytest_gradcam import masks

def test_does_not_rely_on_the_corner(gradcam):
    gradcam.assert_no_reliance([f"{seed}.png" for seed in range(20)], masks.box((32, 32), (24, 24, 32, 32)))

def test_looks_at_the_disc(gradcam):
    gradcam("2.png", method="occlusion").assert_focus_within(masks.box((32, 32), (8, 8, 20, 20)), at_least=masks.lift(1.5))
"""
    )
    for kind, passed in (("honest", 2), ("twin", 0)):
        project.makeini(f"[pytest]\ngradcam_model = hf:{hf_folders[kind]}\n")
        project.inline_run().assertoutcome(passed=passed, failed=2 - passed)


def test_texts_as_classes(project, hf_folders):
    project.makepyfile(
        test_model="""
def test_names(gradcam):
    assert gradcam("image.png", "green").target == "green"
    gradcam.assert_deterministic("image.png")
"""
    )
    project.makeini(
        f"[pytest]\ngradcam_model = hf:{hf_folders['clip']}\ngradcam_classes = classes.txt\ngradcam_prompt = a {{}} disc\n"
    )
    project.inline_run().assertoutcome(passed=1)
    result = project.runpytest("--gradcam-prompt=a disc")
    result.stderr.fnmatch_lines(["*--gradcam-prompt = 'a disc' has 0 places for the class name; expected one {}*"])
