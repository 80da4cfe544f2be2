"""The documentation is true: its code runs, its commands and settings exist, its page of settings is the table."""

import inspect
import re
import runpy
import shlex
import sys
import tomllib
from configparser import ConfigParser
from contextlib import suppress
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from click import Context
from PIL import Image

from pytest_gradcam import FocusError, HeatmapError, masks, settings
from pytest_gradcam.cli import commands
from tests.conftest import COLOUR_MODEL

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Pictures that are masks in the examples; all others are photographs.
MASKS = ("masks/", "caption", "timestamp", "pedestrian", "headscarf", "mask")
SHAPE = (96, 128)


def blocks(*kinds):
    """Each block of code of these kinds: the page and its line, and the text."""
    for page in PAGES:
        text = page.read_text("utf-8")
        for found in re.finditer(r"^```(\w+)( no-run)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            if found[1] in kinds and not found[2]:
                line = text[: found.start()].count("\n") + 1
                yield pytest.param(found[3], id=f"{page.relative_to(ROOT)}:{line}")


@pytest.fixture(scope="session")
def explained():
    """One model for all blocks: its first class sees red, its second green."""
    from pytest_gradcam import Explainer

    module = {}
    exec(COLOUR_MODEL, module)
    names = ["Egyptian cat", "disk brake"]
    model, preprocess = module["build"](), module["preprocess"]
    return {
        "model": model,
        "preprocess": preprocess,
        "names": names,
        "explainer": Explainer(model, preprocess=preprocess, classes=names),
    }


def photo(path, green=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path.name))).integers(90, 110, (*SHAPE, 3)).astype(np.uint8)
    pixels[32:64, 32:64] = (20, 220, 20) if green else (220, 20, 20)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def names(explained, tmp_path, monkeypatch):
    """What the blocks take for granted, and the folder that they run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for number in range(4):
        photo(tmp_path / f"set/{number}.png", green=number % 2 == 1)
    images = [str(path) for path in sorted((tmp_path / "set").glob("*.png"))]
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
        "other_frames": images[1:],
        "build_my_model": lambda: explained["model"],
        "masks": masks,
        "np": np,
        "pytest": pytest,
    }


def draw_named(text, folder):
    """The pictures that a block names, each as a photograph or as a mask."""
    shape = (480, 640) if "(480, 640)" in text else SHAPE
    for name in re.findall(r'"([\w/.\-]+\.(?:png|jpg))"', text):
        path = folder / name
        if any(part in name for part in MASKS):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(masks.box(shape, (32, 32, 64, 64)).astype(np.uint8) * 255).save(path)
        else:
            photo(path)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("text", list(blocks("python")))
def test_python_runs(text, names, tmp_path):
    """What the model makes of a check does not matter here: a verdict is one, and everything else is an error."""
    draw_named(text, tmp_path)
    if ">>>" in text:
        text = "\n".join(line[4:] for line in text.splitlines() if line.startswith((">>>", "...")))
    prepare(text, names, tmp_path)
    before = set(names)
    verdict(lambda: exec(text, names))
    for name in set(names) - before:
        if name.startswith("test_"):
            verdict(lambda test=names[name]: call(test, names))


def verdict(act):
    with suppress(FocusError, HeatmapError):
        act()


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
        import torchvision

        from pytest_gradcam import cases

        for place in ("a", "b"):
            photo(folder / f"images/north/{place}.png")
            (folder / "masks/north").mkdir(parents=True, exist_ok=True)
            mask = Image.fromarray(names["mask"].astype(np.uint8) * 255)
            mask.save(folder / f"masks/north/{place}.png")
        names |= {"cases": cases, "torchvision": torchvision, "photos": cases.from_folder("images", "masks")}
        names["frame"] = pytest.importorskip("pandas").DataFrame({"image": ["north/a.png"]})
    if text.startswith("audit."):
        names["audit"] = names["earlier"] = names["gradcam"].audit(names["photos"])


@pytest.mark.parametrize("text", list(blocks("console")))
def test_commands_exist(text):
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


@pytest.mark.parametrize("text", list(blocks("toml", "ini")))
def test_settings_exist(text):
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
        if page.parent.name == "docs":
            assert page.name in nav, f"mkdocs.yml does not name {page.name}"
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
