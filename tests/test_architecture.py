"""Imports point downwards only, each room keeps off what is not its own, and no files import each other in a circle."""

import ast
import re
from pathlib import Path

import pytest

import pytest_gradcam

PACKAGE = Path(pytest_gradcam.__file__).parent
CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"

#: From the top down: a file imports from its own room and from those below it. CONTRIBUTING.md says what each is for.
ROOMS = (
    "plugin",
    "__main__",
    "cli",
    "tools",
    "report",
    "explainer",
    "data",
    "models",
    "cam",
    "inputs",
    "state",
    "strategies",
    "heatmap",
    "checks",
    "questions",
    "replacement",
    "perturbations",
    "overlay",
    "outlines",
    "plots",
    "metrics",
    "masks",
    "images",
    "grids",
    "evidence",
    "targets",
    "settings",
    "validation",
    "errors",
)
DEPTH = {name: depth for depth, name in enumerate(ROOMS)}
#: Third-party modules and the only rooms that may import them.
OWNERS = {
    "torch": ("cam", "inputs", "models", "state"),
    "torchvision": ("cam", "inputs", "models", "state"),
    "timm": ("models",),
    "onnx": ("models",),
    "onnxruntime": ("models",),
    "transformers": ("models",),
    "open_clip": ("models",),
    "ultralytics": ("models",),
    "pytorch_grad_cam": ("cam",),
    "safetensors": ("models",),
    "pytest": ("plugin",),
    "_pytest": (),
    "hypothesis": ("plugin", "strategies"),
    "quantus": (),
    "click": ("cli",),
}


#: The functions with six or more parameters, self and cls not counted: each is public, and its keywords are its documentation.
#: What belongs together travels as a value everywhere else. Those of the explainer have the model as their first one.
LONG_SIGNATURES = {
    "checks.determinism.assert_deterministic",
    "checks.faithfulness.assert_faithful",
    "checks.intervention.assert_ignores",
    "checks.intervention.assert_relies_on",
    "checks.no_reliance.assert_no_reliance",
    "checks.randomisation.assert_depends_on_weights",
    "checks.reliance.reliance",
    "checks.robustness.robustness",
    "checks.stability.assert_stable",
    "data.auditing.audit",
    "data.cases.from_coco",
    "data.cases.from_csv",
    "data.cases.from_frame",
    "explainer.__init__",
}


def files():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def name_of(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in files()}


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Every module that the file imports, at any depth of its code, those for types as well."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    for name in imports(path):
        root, _, rest = name.partition(".")
        if root == "pytest_gradcam" and rest:
            assert DEPTH[room(path)] <= DEPTH[rest.split(".")[0]], f"{path.name} imports {name}"
        assert room(path) in OWNERS.get(root, (room(path),)), f"{path.name} imports {name}"


def test_no_files_import_each_other_in_a_circle():
    arrows = {name: {found for found in imports(path) if found in MODULES} - {name} for name, path in MODULES.items()}
    while leaves := [name for name, found in arrows.items() if not found]:
        arrows = {name: found - set(leaves) for name, found in arrows.items() if name not in leaves}
    assert not arrows, f"a circle runs through {sorted(arrows)}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= 400


def test_only_public_functions_have_six_parameters():
    found = set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                own = node.args
                every = [*own.posonlyargs, *own.args, *own.kwonlyargs, *filter(None, (own.vararg, own.kwarg))]
                if len([each for each in every if each.arg not in ("self", "cls")]) > 5:
                    found.add(f"{name.removeprefix('pytest_gradcam.')}.{node.name}")
    assert found == LONG_SIGNATURES


def says(path):
    """The first line of a file's docstring."""
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))).splitlines()[0].rstrip(".")


def the_map():
    """Every room and every file in it, in the words of its own docstring."""
    lines = []
    for name in ROOMS:
        folder = PACKAGE / name
        if folder.is_dir():
            lines += ["", f"**`{name}/`** {says(folder / '__init__.py')}.", ""]
            lines += [
                f"- `{path.name}`: {says(path)}" for path in files() if room(path) == name and path.stem != "__init__"
            ]
        else:
            lines += ["", f"**`{name}.py`** {says(folder.with_suffix('.py'))}."]
    return "\n".join(lines).strip()


def test_contributing_has_the_map():
    assert mapped()[1] == the_map(), "CONTRIBUTING.md is stale: run python -m tests.test_architecture"


def mapped():
    """CONTRIBUTING.md up to its map, and the map."""
    return re.fullmatch(r"(.*\n## Every file\n\n.*?\n\n)(.*)\n", CONTRIBUTING.read_text("utf-8"), re.DOTALL).groups()


if __name__ == "__main__":
    CONTRIBUTING.write_text(mapped()[0] + the_map() + "\n", "utf-8")
