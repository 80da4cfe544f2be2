"""Imports point downwards only, and each layer keeps off what is not its own."""

import ast
from pathlib import Path

import pytest

import pytest_gradcam

PACKAGE = Path(pytest_gradcam.__file__).parent

#: From the bottom up: a module imports from its own layer and from those below it.
LAYERS = (
    (
        "attachments",
        "bounds",
        "errors",
        "evidence",
        "files",
        "locations",
        "messages",
        "properties",
        "requirements",
        "running",
        "settings",
    ),
    (
        "baselines",
        "comparison",
        "controls",
        "curves",
        "effects",
        "fills",
        "heatmap",
        "images",
        "imputation",
        "masks",
        "metrics",
        "mispredicted",
        "overlay",
        "perturbations",
        "reliance",
        "store",
        "verdicts",
    ),
    ("engine",),
    ("strategies",),
    ("report",),
    ("__main__",),
    ("session",),
    ("controller", "ratchet"),
    ("plugin",),
)
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}
#: Third-party modules and the only parts of the package that may import them.
OWNERS = {
    "torch": ("engine",),
    "torchvision": ("engine",),
    "timm": ("engine",),
    "pytorch_grad_cam": ("engine",),
    "safetensors": ("engine",),
    "pytest": ("controller", "plugin", "ratchet"),
    "_pytest": (),
    "hypothesis": ("properties", "strategies"),
    "quantus": (),
}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def part(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path):
    """Every module that the file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            if node.module == "pytest_gradcam":
                yield from (f"pytest_gradcam.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    if part(path) == "__init__":
        return
    for name in imports(path):
        root, _, rest = name.partition(".")
        if root == "pytest_gradcam":
            assert HEIGHT[rest.split(".")[0]] <= HEIGHT[part(path)], f"{path.name} imports {name}"
        assert part(path) in OWNERS.get(root, (part(path),)), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= 400
