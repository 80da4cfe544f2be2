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


@pytest.mark.parametrize("module", ["scipy.signal", "scipy.stats", "skimage.transform", "matplotlib", "pandas"])
def test_an_explainer_loads_only_what_every_check_needs(module):
    """scipy.signal and what it loads took half of the time until the first heatmap."""
    probe = f"import pytest_gradcam.explainer, sys; print({module!r} in sys.modules)"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout.strip() == "False"


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
