"""The texts of the files that `pytest-gradcam init` writes."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from pytest_gradcam.tools.data_facts import Case
from pytest_gradcam.tools.kept_part import KeptPart
from pytest_gradcam.tools.model_choice import Found

_SEVERAL = 6  # images, from which on a set of them can be judged
_WIDTH = 77  # of a line after its indentation and `return`, as ruff formats it
_DOCSTRING = '''"""Where this model looks: first tests, written by `pytest-gradcam init`.

The bounds are chance (a lift of 1). `pytest --gradcam-report=gradcam-report` and then `pytest-gradcam calibrate gradcam-report`
propose tighter ones from what the model does.
"""
'''
_FRAME = '''
def frame(path: Path) -> object:
    """The outer twentieth of an image, which no model should need."""
    with Image.open(path) as picture:
        width, height = ImageOps.exif_transpose(picture).size
    return masks.border((height, width), max(1, min(height, width) // 20))
'''
_FRAME_OF_PART = '''
def frame(path: Path) -> object:
    """The outer twentieth of what the model sees, which no model should need: its preprocess keeps the middle of an image."""
    with Image.open(path) as picture:
        width, height = ImageOps.exif_transpose(picture).size
    across, down = {sides}
    left, top, edge = (width - across) / 2, (height - down) / 2, min(across, down) / 20
    inner = (left + edge, top + edge, left + across - edge, top + down - edge)
    seen = masks.box((height, width), (left, top, left + across, top + down))
    return seen & ~masks.box((height, width), inner)
'''
_SOUND = '''
def test_the_explanation_is_sound(gradcam: Explainer) -> None:
    """Before anything is read off a heatmap: it is the same each time, and it depends on what the model learned."""
    gradcam.assert_deterministic({first})
    gradcam.assert_depends_on_weights({first})
'''
_OBJECT = '''
@pytest.mark.parametrize({arguments}, {cases})
def test_the_model_looks_at_the_object({parameters}) -> None:
    """The attention peaks on the object, and more of it lies there than on the same area elsewhere."""
    heatmap = gradcam(ROOT / image{target})
    heatmap.assert_focus_within(ROOT / mask, at_least=masks.lift(1))
    heatmap.assert_peak_within(ROOT / mask)
'''
_AVOIDS = '''
@pytest.mark.parametrize({arguments}, {cases})
def test_the_frame_draws_no_attention({parameters}) -> None:
    """Less of the attention lies on the frame than on the same area elsewhere."""
    heatmap = gradcam(ROOT / image{target})
    heatmap.assert_focus_avoids(frame(ROOT / image), at_most=masks.lift(1))
'''
_RELIANCE = '''
def test_the_model_does_not_rely_on_the_frame(gradcam: Explainer) -> None:
    """Over all images: exchanging the frame between images leaves the predictions."""
    images = [ROOT / {of_case} for {case} in {cases}]
    gradcam.assert_no_reliance(images, [frame(image) for image in images])
'''


def tests(cases: Sequence[Case], root: Path, folder: Path, kept: KeptPart | None) -> str:
    """test_attention.py; without a `kept` part that is known nothing is tested on the frame of images."""
    labelled, masked = all(case.label for case in cases), [case for case in cases if case.mask is not None]
    up = len(folder.relative_to(root).parts)
    parts = [
        _DOCSTRING,
        "from pathlib import Path\n",
        "\n".join(_test_imports(kept is not None, bool(masked))),
        f"ROOT = Path(__file__).parents[{up}]",
        _table("CASES", (_row(case, root, labelled, False) for case in cases)),
    ]
    if masked:
        parts.append(_table("MASKED", (_row(case, root, labelled, True) for case in masked)))
    text = "\n".join(parts) + "\n\n"
    first = "ROOT / CASES[0][0]" if labelled else "ROOT / CASES[0]"
    functions = [*_frame(kept), _SOUND.format(first=first)]
    if masked:
        functions.append(_parametrised(_OBJECT, "MASKED", labelled, masked=True))
    if kept is not None:
        functions.append(_parametrised(_AVOIDS, "CASES", labelled, masked=False))
    if kept is not None and len(cases) >= _SEVERAL:
        case, of_case = ("image, _", "image") if labelled else ("image", "image")
        functions.append(_RELIANCE.format(case=case, of_case=of_case, cases="CASES"))
    return text + "\n".join("\n" + function.strip("\n") + "\n" for function in functions)


def _test_imports(framed: bool, masked: bool) -> Iterator[str]:
    if framed or masked:
        yield "import pytest"
    if framed:
        yield "from PIL import Image, ImageOps"
    yield f"from pytest_gradcam import Explainer{', masks' if framed or masked else ''}\n"


def _frame(kept: KeptPart | None) -> Iterator[str]:
    """The function of the frame: of the whole image, or of the middle that the preprocess keeps."""
    if kept is not None and kept.whole:
        yield _FRAME
    elif kept is not None:
        sides = f"{kept.across} * width, {kept.down} * height"
        if kept.square:
            sides = f"{kept.across} * min(width, height), {kept.down} * min(width, height)"
        yield _FRAME_OF_PART.format(sides=sides)


def _parametrised(text: str, cases: str, labelled: bool, *, masked: bool) -> str:
    names = ["image", *(["target"] if labelled else []), *(["mask"] if masked else [])]
    arguments = f'"{names[0]}"' if len(names) == 1 else "(" + ", ".join(f'"{name}"' for name in names) + ")"
    parameters = ", ".join(["gradcam: Explainer", *(f"{name}: str" for name in names)])
    target = ", target=target" if labelled else ""
    return text.format(arguments=arguments, cases=cases, parameters=parameters, target=target)


def _table(name: str, rows: Iterator[str]) -> str:
    return f"{name} = [\n" + "".join(f"    {row},\n" for row in rows) + "]"


def _row(case: Case, root: Path, labelled: bool, masked: bool) -> str:
    parts = [_relative(case.image, root), *([str(case.label)] if labelled else [])]
    parts += [_relative(case.mask, root)] if masked and case.mask is not None else []
    quoted = [json.dumps(part, ensure_ascii=False) for part in parts]
    return quoted[0] if len(quoted) == 1 else f"({', '.join(quoted)})"


def conftest(found: Found, root: Path, folder: Path, names: Sequence[str]) -> str:
    """conftest.py with the fixtures that settings cannot express; empty if there are none."""
    fixtures = [*_model_fixture(found, root), *_preprocess_fixture(found), *_class_fixture(names)]
    if not fixtures:
        return ""
    text = "\n\n\n".join(fixtures)
    code = re.sub(r"#.*", "", text)
    needed = {line for line in _imports(found) if re.search(rf"\b{line.split()[-1].split('.')[0]}\b", code)}
    needed |= set(found.transform.imports) if found.transform is not None else set()
    up = len(folder.relative_to(root).parts)
    if "ROOT" in text:
        needed.add("from pathlib import Path")
        text = f"ROOT = Path(__file__).parents[{up}]\n\n\n{text}"
    else:
        text = f"\n{text}"  # two blank lines before a function
    head = '"""What the tests explain: written by `pytest-gradcam init` from what it found in this repository."""'
    return f"{head}\n\n{_sorted(needed | {'import pytest'}, root)}\n\n{text}\n"


def _imports(found: Found) -> Iterator[str]:
    yield "import torch"
    if found.source is not None and found.source.library:
        yield f"import {found.source.library}"
    if found.source is not None and found.source.callable:
        module, _, name = found.source.callable.partition(":")
        yield f"from {module} import {name}"


def _model_fixture(found: Found, root: Path) -> Iterator[str]:
    source, weights = found.source, found.weights
    if source is None or weights is None:
        return
    path = json.dumps(_relative(weights, root))
    head = '@pytest.fixture(scope="session")\ndef gradcam_model() -> torch.nn.Module:\n'
    about = f"    # as in {source.where}\n"
    if source.callable:
        name = source.callable.partition(":")[2]
        body = f'    model: torch.nn.Module = {name}.load_from_checkpoint(ROOT / {path}, map_location="cpu")\n'
        yield f"{head}{about}{body}    return model.eval()"
        return
    arguments = ", ".join([json.dumps(source.name), *(f"{key}={value!r}" for key, value in source.keywords.items())])
    call = "torchvision.models.get_model" if source.library == "torchvision" else "timm.create_model"
    body = f"    model: torch.nn.Module = {call}({arguments})\n"
    layout = found.layout
    keys = "".join(f"[{json.dumps(key)}]" for key in layout.keys) if layout else ""
    loaded = f'torch.load(ROOT / {path}, map_location="cpu", weights_only=True){keys}'
    if weights.suffix == ".safetensors":
        loaded = f"safetensors.torch.load_file(ROOT / {path})"
    body += f"    state = {loaded}\n"
    if layout and layout.prefix:
        body += (
            f"    state = {{name.removeprefix({json.dumps(layout.prefix)}): value for name, value in state.items()}}\n"
        )
    yield f"{head}{about}{body}    model.load_state_dict(state)\n    return model.eval()"


def _preprocess_fixture(found: Found) -> Iterator[str]:
    if found.transform is not None:
        yield (
            '@pytest.fixture(scope="session")\ndef gradcam_preprocess() -> object:\n'
            f"    # {found.transform.label} of {found.transform.where}: keep the two the same\n"
            f"    return {_on_lines(found.transform.text)}"
        )


def _on_lines(pipeline: str) -> str:
    """A pipeline that is too long for one line, with a line for each of its parts."""
    call = ast.parse(pipeline, mode="eval").body
    if (
        len(pipeline) < _WIDTH
        or not isinstance(call, ast.Call)
        or not call.args
        or not isinstance(call.args[0], ast.List)
    ):
        return pipeline
    parts = "".join(f"            {ast.unparse(part)},\n" for part in call.args[0].elts)
    rest = "".join(f"        {ast.unparse(more)},\n" for more in (*call.args[1:], *call.keywords))
    return f"{ast.unparse(call.func)}(\n        [\n{parts}        ]{f',{chr(10)}{rest}' if rest else chr(10)}    )"


def _class_fixture(names: Sequence[str]) -> Iterator[str]:
    if names:
        listed = "".join(f"        {json.dumps(name, ensure_ascii=False)},\n" for name in names)
        yield (
            '@pytest.fixture(scope="session")\ndef gradcam_classes() -> list[str]:\n'
            f"    # the folders of images, as torchvision's ImageFolder orders them\n    return [\n{listed}    ]"
        )


def _sorted(statements: set[str], root: Path) -> str:
    """The imports in ruff's order: the standard library, packages, the repository's own; untyped packages marked for mypy."""
    import sys

    groups: tuple[list[str], list[str], list[str]] = ([], [], [])
    for statement in statements:
        package = statement.split()[1].partition(".")[0]
        own = any(
            (folder / package).is_dir() or (folder / f"{package}.py").is_file() for folder in (root, root / "src")
        )
        place = 0 if package in sys.stdlib_module_names else 2 if own else 1
        untyped = "" if place != 1 or _is_typed(package) else "  # type: ignore[import-untyped]"
        groups[place].append(statement + untyped)
    ordered = [sorted(group, key=lambda line: (line.startswith("from"), line.lower())) for group in groups if group]
    return "\n\n".join("\n".join(group) for group in ordered)


def _is_typed(package: str) -> bool:
    spec = find_spec(package)
    folders = (spec.submodule_search_locations or []) if spec else []
    return any(Path(folder, "py.typed").exists() for folder in folders)


def _relative(path: Path, root: Path) -> str:
    path = path.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
