"""The documentation is true: its code runs, its commands and settings exist, its page of settings is the table."""

import inspect
import json
import re
import runpy
import shlex
import sys
import tomllib
from configparser import ConfigParser
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import hypothesis
import numpy as np
import pytest
import torch
from click import Context
from PIL import Image
from torch import nn

import pytest_gradcam
from pytest_gradcam import Explainer, FocusError, HeatmapError, masks, settings
from pytest_gradcam.cli import commands
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.evidence.requirements import BY_CHECK
from tests.conftest import RecordingTest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Pictures that are masks in the examples; all others are photographs.
MASKS = ("masks/", "caption", "timestamp", "pedestrian", "headscarf", "mask")
SHAPE = (96, 128)
CLASSES = ["Egyptian cat", "disk brake"]
BLOCK = re.compile(r"^(?:<!-- (?P<mark>.+?) -->\n\n?)?```(?P<kind>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(*kinds):
    """Each block of code of these kinds that runs: its text, and the word of the mark above it."""
    for page in PAGES:
        text = page.read_text("utf-8")
        for found in BLOCK.finditer(text):
            mark = found["mark"] or ""
            if found["kind"] in kinds and not mark.startswith("not run"):
                line = text[: found.start("kind")].count("\n") + 1
                yield pytest.param(found["text"], mark, id=f"{page.relative_to(ROOT)}:{line}")


class Spots(nn.Module):
    """Two classes: how much of the image is more red than green, and how much is more green than red."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 8, stride=8, bias=False)
        with torch.no_grad():
            red, green, blue = 1 / 64, -1 / 64, 0
            self.features.weight[0] = torch.tensor([red, green, blue]).view(3, 1, 1)
            self.features.weight[1] = -self.features.weight[0]

    def forward(self, x):
        return 10 * nn.functional.softplus(20 * (self.features(x) - 0.2)).mean((2, 3))


def preprocess(image):
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).float() / 255


@pytest.fixture(scope="session")
def explained():
    """One model for all blocks: its first class sees red, its second green."""
    model = Spots().eval()
    explainer = Explainer(model, preprocess=preprocess, classes=CLASSES)
    return {"model": model, "preprocess": preprocess, "names": CLASSES, "explainer": explainer}


def photo(path, green=False, shape=SHAPE):
    """A picture of one class that no other path has: noise, a square of the class's colour, and bars if it is a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(crc32(str(path).encode())).integers(90, 110, (*shape, 3)).astype(np.uint8)
    pixels[32:64, 32:64] = (20, 220, 20) if green else (220, 20, 20)
    if path.name.startswith("frame"):
        pixels[:8] = pixels[-8:] = 0
    Image.fromarray(pixels).save(path)


def photos(folder, number, name=""):
    """Pictures of both classes in turn."""
    paths = [folder / f"{name}{index:03}.png" for index in range(number)]
    for index, path in enumerate(paths):
        photo(path, green=index % 2 == 1)
    return [str(path) for path in paths]


@pytest.fixture
def names(explained, tmp_path, monkeypatch):
    """What the blocks take for granted, and the folder that they run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    images = photos(tmp_path / "set", 24)
    explainer = explained["explainer"]
    mask = masks.box(SHAPE, (32, 32, 64, 64))
    heatmap = explainer(images[0])
    return {
        **explained,
        "gradcam": explainer,
        "heatmap": heatmap,
        "image": np.asarray(Image.open(images[0])),
        "images": images,
        "targets": [None] * len(images),
        "mask": mask,
        "cat": mask,
        "timestamp": masks.border(SHAPE, 12),
        "timestamp_mask": masks.border(SHAPE, 12),
        "unstamped": [
            np.where(masks.border(SHAPE, 12)[..., None], 0, np.asarray(Image.open(path))).astype(np.uint8)
            for path in images
        ],
        "other_frames": photos(tmp_path / "others", 10, "frame"),
        "build_my_model": lambda: explained["model"],
        "masks": masks,
        "np": np,
        "pytest": pytest,
    }


def draw_named(text, folder):
    """The pictures that a block names, each as a photograph or as a mask."""
    size = re.search(r"\((\d{3}), (\d{3})\)", text)
    shape = (int(size[1]), int(size[2])) if size else SHAPE
    for name in re.findall(r'"([\w/.\-]+\.(?:png|jpg))"', text):
        path = folder / name
        if any(part in name for part in MASKS):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(masks.box(shape, (32, 32, 64, 64)).astype(np.uint8) * 255).save(path)
        else:
            photo(path, shape=shape)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("text", "mark"), list(blocks("python")))
def test_python_runs(text, mark, names, tmp_path):
    """A check that fails is a verdict. Everything else is an error, unless the mark above the block names its words."""
    draw_named(text, tmp_path)
    if ">>>" in text:
        text = "\n".join(line[4:] for line in text.splitlines() if line.startswith((">>>", "...")))
    prepare(text, names, tmp_path)
    before = set(names)
    if mark:
        with pytest.raises(HeatmapError) as caught:
            run(text, names, before)
        assert mark == f"raises HeatmapError: {mark.partition(': ')[2]}"
        assert mark.partition(": ")[2] in str(caught.value)
    else:
        run(text, names, before)


def run(text, names, before):
    """The block, and the tests that it defines."""
    with suppress(FocusError):
        exec(text, names)
    for name in sorted(set(names) - before):
        if name.startswith("test_"):
            for updates in (True, False) if "baseline" in text else (False,):  # as after --gradcam-update
                with running(Recorded(name, updates)), suppress(FocusError):
                    call(names[name], names)


class Recorded(RecordingTest):
    """The test of a block that runs, as checks know it: its baselines lie in the block's folder."""

    def __init__(self, name, updates):
        super().__init__(draws=False)
        self.name, self.path, self.updates, self.baselines = name, Path("test_block.py").absolute(), updates, []

    def wrote(self, path):
        assert path.exists()


def call(test, names):
    """Call a test as pytest would, with the first value of each parameter; under @given, Hypothesis fills in the rest."""
    given = {}
    for mark in getattr(test, "pytestmark", ()):
        if mark.name == "parametrize":
            given[mark.args[0]] = next(iter(mark.args[1]))
    if getattr(test, "is_hypothesis_test", False):
        test = hypothesis.settings(max_examples=3, deadline=None, database=None)(test)
    asked = inspect.signature(test).parameters
    test(**{name: names[name] for name in asked if name in names and name not in given}, **given)


def prepare(text, names, folder):
    """Data sets, reports and audits for the blocks about them."""
    if "gradcam-report" in text:
        from pytest_gradcam.report import Report, Run
        from pytest_gradcam.report.write import write

        write(Report((Run(id="1"),)), folder / "gradcam-report")
    if re.search(r"\b(cases|audit)\b", text):
        names |= data_set(names, folder)
    if text.startswith("audit."):
        names["audit"] = names["earlier"] = names["gradcam"].audit(names["photos"])


def data_set(names, folder):
    """A data set in each of the forms that cases are read from: enough images of two cameras for a verdict."""
    import pandas as pd
    import torchvision

    from pytest_gradcam import Case, cases

    mask = Image.fromarray(names["mask"].astype(np.uint8) * 255)
    (folder / "masks/north").mkdir(parents=True)
    files = [Path(path).relative_to(folder / "images") for path in photos(folder / "images/north", 120)]
    for file in files:
        mask.save(folder / "masks" / file)
    box = {"bbox": [32, 32, 32, 32], "area": 1024, "iscrowd": 0}
    (folder / "annotations.json").write_text(
        json.dumps(
            {
                "images": [
                    {"id": n, "file_name": str(file), "width": 128, "height": 96} for n, file in enumerate(files)
                ],
                "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "caption"}],
                "annotations": [{"id": n, "image_id": n, "category_id": 1, **box} for n in range(len(files))],
            }
        )
    )
    frame = pd.DataFrame({"image": map(str, files), "label": CLASSES * 60, "camera": ["A2", "A2", "B1", "B1"] * 30})
    frame.rename(columns={"image": "file"}).assign(file=lambda table: "images/" + table.file).to_csv(
        "cases.csv", index=False
    )
    rows = zip(files, frame.camera, strict=True)
    known = [Case(folder / "images" / file, mask=names["mask"], slices={"camera": camera}) for file, camera in rows]
    return {"cases": cases, "torchvision": torchvision, "frame": frame, "photos": cases.of(known)}


@pytest.mark.parametrize(("text", "mark"), list(blocks("console")))
def test_commands_exist(text, mark):
    """Every pytest-gradcam command of the documentation has the options that it is called with."""
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["pytest-gradcam"] and len(words) > 1:
            command = commands.commands[words[1]]
            known = {option for parameter in command.params for option in parameter.opts}
            used = {word.partition("=")[0] for word in words[2:] if word.startswith("--")}
            assert used <= known | {"--help"}, line
            assert isinstance(command.make_context(words[1], ["--help"], resilient_parsing=True), Context)
        flags = {option.flag for option in settings.OPTIONS}
        assert {word.partition("=")[0] for word in words if word.startswith("--gradcam-")} <= flags, line


@pytest.mark.parametrize(("text", "mark"), list(blocks("toml", "ini")))
def test_settings_exist(text, mark):
    if "[tool." in text:
        keys = tomllib.loads(text).get("tool", {}).get("pytest", {}).get("ini_options", {})
    else:
        parser = ConfigParser(interpolation=None)
        parser.read_string(text if text.lstrip().startswith("[") else f"[pytest]\n{text}")
        keys = {key for section in parser.sections() for key in parser[section]}
    settings.reject_unknown(keys)


def test_the_page_of_settings_is_the_table():
    made = runpy.run_path(str(ROOT / "docs/render_settings.py"))
    assert made["PAGE"].read_text("utf-8") == made["render"](), "run python docs/render_settings.py"


def test_every_page_is_in_the_navigation_and_every_link_leads_somewhere():
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in PAGES:
        if page.is_relative_to(ROOT / "docs"):
            name = page.relative_to(ROOT / "docs")
            assert f"- {name}\n" in nav or f": {name}\n" in nav, f"mkdocs.yml does not name {name}"
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_fence_is_one_for_the_site_as_well():
    """Behind more than one word, the site shows a block's code as text: what is said of a block is a comment above it."""
    for page in PAGES:
        for line in page.read_text("utf-8").splitlines():
            if line.startswith("```"):
                assert re.fullmatch(r"```\w*", line), f"{page.name}: {line}"


def test_every_public_name_is_on_a_page_of_the_api():
    """Of a module its page shows all public names: `pytest_gradcam.masks` brings `box`."""
    pages = "".join(page.read_text("utf-8") for page in (ROOT / "docs/api").glob("*.md"))
    shown = re.findall(r"^::: pytest_gradcam\.(\w+)$", pages, re.MULTILINE)
    assert len(shown) == len(set(shown))
    inside = {name for module in shown for name in getattr(getattr(pytest_gradcam, module, None), "__all__", ())}
    assert set(pytest_gradcam.__all__) <= inside | set(shown)


@pytest.fixture(scope="module")
def failures():
    return SimpleNamespace(**runpy.run_path(str(ROOT / "docs/render_failures.py")))


def test_every_kind_of_check_has_a_page_with_its_failure(failures):
    pages = {page.stem: page.read_text("utf-8") for page in failures.PAGES.glob("*.md")}
    kinds = set(BY_CHECK) - {"test"}
    assert kinds == set(pages) - {"README", "refusals"}
    for kind in kinds:
        assert f"<!-- message: {kind} failed -->" in pages[kind]
        assert f"]({kind}.md)" in pages["README"]
    shown = re.findall(r"<!-- message: (.+?) -->", "".join(pages.values()))
    assert sorted(shown) == sorted(failures.MESSAGES)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", sorted((ROOT / "docs/failures").glob("*.md")), ids=lambda page: page.stem)
def test_the_pages_of_failures_say_what_the_checks_say(failures, page):
    """Word for word; figures may differ by what another processor's rounding makes of them."""
    text = page.read_text("utf-8")
    rendered = failures.render(text)
    assert NUMBER.split(text) == NUMBER.split(rendered), "run python docs/render_failures.py"
    assert numbers(text) == pytest.approx(numbers(rendered), rel=0.05, abs=0.05)


NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-\d+)?")


def numbers(text):
    return [float(found) for found in NUMBER.findall(text)]
