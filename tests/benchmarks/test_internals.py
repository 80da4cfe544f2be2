"""Benchmarks use the public surface of the package; what else they need is listed in one place, and exists."""

import ast
from pathlib import Path

import pytest

import benchmarks
import pytest_gradcam
from benchmarks import internals

FILES = sorted(Path(benchmarks.__file__).parent.rglob("*.py"))
#: Modules whose names are documented, beside the package itself.
PUBLIC = (
    "pytest_gradcam.data",
    "pytest_gradcam.errors",
    "pytest_gradcam.masks",
    "pytest_gradcam.metrics",
    "pytest_gradcam.perturbations",
    "pytest_gradcam.strategies",
)


@pytest.mark.parametrize("name", internals.INTERNALS)
def test_the_name_exists(name):
    assert getattr(internals, name).__name__ == name


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="has no attribute 'Engine'"):
        _ = internals.Engine


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_benchmark_takes_other_names(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.startswith("pytest_gradcam.")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pytest_gradcam"):
            assert node.module in ("pytest_gradcam", *PUBLIC), f"{path.name} imports from {node.module}"
            if node.module == "pytest_gradcam":
                assert {alias.name for alias in node.names} <= set(pytest_gradcam.__all__)


def test_each_is_used():
    used = {
        alias.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "benchmarks.internals"
        for alias in node.names
    }
    assert used == set(internals.INTERNALS)
