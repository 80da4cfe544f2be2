"""A run that uses no gradcam fixture loads nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = (
    "numpy",
    "torch",
    "torchvision",
    "PIL",
    "skimage",
    "scipy",
    "matplotlib",
    "pytorch_grad_cam",
    "hypothesis",
    "jinja2",
)


@pytest.mark.parametrize(
    "module",
    [
        *(
            "scipy.signal",
            "scipy.stats",
            "scipy.ndimage",
            "scipy.special",
            "scipy.sparse",
            "scipy.spatial",
            "scipy.linalg",
        ),
        *("skimage.transform", "matplotlib", "pandas", "filelock"),
    ],
)
def test_an_explainer_loads_only_what_every_check_needs(module):
    """SciPy's parts and what they load took four fifths of the time that our own files take."""
    probe = f"import pytest_gradcam.explainer, sys; print({module!r} in sys.modules)"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout.strip() == "False"


def test_a_check_of_focus_loads_nothing_of_scipy(tmp_path):
    """With the user's own preprocess, through which the mask is followed."""
    code = """
import sys
import numpy as np, torch
from PIL import Image
from pytest_gradcam import Explainer

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3)
).eval()

def preprocess(image):
    return torch.from_numpy(np.asarray(image.resize((32, 32)))).permute(2, 0, 1) / 255

image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
mask = np.zeros((48, 48), bool)
mask[8:24, 8:24] = True
network[4].weight.data.abs_()  # what lights up speaks for every class
Explainer(network, preprocess=preprocess)(image, 0).assert_focus_avoids(mask, at_most=0.999)
print([name for name in sys.modules if name.startswith(("scipy.ndimage", "scipy.special", "scipy.sparse"))])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["pytest_gradcam", "pytest_gradcam.plugin"])
def test_the_package_and_the_plugin_import_nothing_heavy(module):
    probe = f"import {module}, sys; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout.strip() == "[]"


def test_a_run_that_does_not_use_the_plugin_imports_nothing_heavy(pytester, monkeypatch):
    """With pytest's own plugins and ours alone: others that are installed may import what they like."""
    pytester.makepyfile(
        f"""
        import sys

        def test_nothing_heavy():
            assert "pytest_gradcam.plugin" in sys.modules
            assert [name for name in {HEAVY} if name in sys.modules] == []
        """
    )
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.runpytest_subprocess("-p", "pytest_gradcam.plugin").assert_outcomes(passed=1)
