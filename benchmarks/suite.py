"""What a suite of one-image tests costs: ours cold and warm, on pytorch-grad-cam, and bare loops over the same images.

Each contender is a pytest run on the same JPEG files and the same model, in processor time on one thread, less an empty
run that loads torch, torchvision and the model. Ratios are to the bare loop in batches of 16. Rounds run every contender
once. "ours, run cache" is the second half of a run in which every test comes twice, with gradcam_cache = run: that run
less one in which every test comes once. "ours, disk cache" follows a run that has filled the cache on disk.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial

from benchmarks.networks import LAYERS, RESHAPES
from benchmarks.projects import Project, project
from benchmarks.timing import Run, Times, children, interleaved, less, ratios, row

_EMPTY = """
from common import model


def test_nothing():
    model()
"""
_BATCHED = """
import torch
from common import PATHS, model, read


@torch.no_grad()
def test_all():
    built = model()
    for first in range(0, len(PATHS), 16):
        built(torch.stack([read(path) for path in PATHS[first : first + 16]]))
"""
_ONE_BY_ONE = """
import torch
from common import PATHS, model, read


@torch.no_grad()
def test_all():
    built = model()
    for path in PATHS:
        built(read(path)[None])
"""
_OURS = """
import numpy as np
import pytest
from common import CASES

MASK = np.zeros((240, 320), bool)
MASK[60:180, 80:240] = True


@pytest.mark.parametrize(("turn", "path"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_focus(gradcam, turn, path):
    gradcam(path).assert_focus_avoids(MASK, at_most=0.999)
"""
_PYTORCH_GRAD_CAM = """
import numpy as np
import pytest
from common import CASES, model, read
from pytorch_grad_cam import GradCAM

MASK = np.zeros((224, 224), bool)
MASK[56:168, 56:168] = True


@pytest.fixture(scope="session")
def cam():
    built = model()
    return GradCAM(model=built, target_layers=[built.get_submodule({layer!r})])


@pytest.mark.parametrize(("turn", "path"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_focus(cam, turn, path):
    heat = cam(input_tensor=read(path)[None], targets=None)[0]
    assert heat.sum() > 0
    assert heat[MASK].sum() / heat.sum() <= 0.999
"""
BASE = "bare loop, batches of 16"
_ONCE, _TWICE = "every test once", "every test twice"


def write_tests(made: Project, model: str) -> None:
    made.write("test_empty.py", _EMPTY)
    made.write("test_batched.py", _BATCHED)
    made.write("test_one_by_one.py", _ONE_BY_ONE)
    made.write("test_ours.py", _OURS)
    made.write("test_pytorch_grad_cam.py", _PYTORCH_GRAD_CAM.format(layer=LAYERS[model]))


def ours(made: Project, model: str, cache: str, *, turns: int = 1) -> Run:
    arguments = ("-p", "pytest_gradcam.plugin", f"--gradcam-model=torchvision:{model}", "--gradcam-weights=weights.pt")
    return partial(made.pytest, *arguments, f"--gradcam-cache={cache}", "test_ours.py", TURNS=str(turns))


def measure(made: Project, model: str, rounds: int) -> Times:
    """The seconds of each contender in each round, less those of the empty run."""
    runs: dict[str, Run] = {
        "empty": partial(made.pytest, "test_empty.py"),
        BASE: partial(made.pytest, "test_batched.py"),
        "bare loop, one by one": partial(made.pytest, "test_one_by_one.py"),
        "ours, cold": ours(made, model, "off"),
        _ONCE: ours(made, model, "run"),
        _TWICE: ours(made, model, "run", turns=2),
        "ours, disk cache": ours(made, model, "disk"),
        "on pytorch-grad-cam": partial(made.pytest, "test_pytorch_grad_cam.py"),
    }
    ours(made, model, "disk")()  # fills the cache
    times = interleaved(runs, rounds, children, warm_up=False)
    second_half = less({name: times[name] for name in (_ONCE, _TWICE)}, _ONCE)[_TWICE]
    found = {name: own for name, own in less(times, "empty").items() if name not in (_ONCE, _TWICE)}
    return {**found, "ours, run cache": second_half}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="resnet18", choices=[name for name in LAYERS if name not in RESHAPES])
    parser.add_argument("--tests", type=int, default=200, help="images, one test each")
    parser.add_argument("--rounds", type=int, default=3)


def run(options: argparse.Namespace) -> None:
    with project(options.model, options.tests) as made:
        write_tests(made, options.model)
        times = measure(made, options.model, options.rounds)
    found = ratios(times, BASE)
    print(f"{options.tests} one-image tests on {options.model}, medians of {options.rounds} rounds")
    print(row("", ["ratio", "ms a test"], width=12))
    for name, own in times.items():
        print(row(name, [found[name], 1000 * statistics.median(own) / options.tests], width=12))
    cold = ratios(times, "ours, cold")
    print(f"ours, cold, to the bare loop one by one: {1 / cold['bare loop, one by one']:.2f}")
    print(f"the tests on pytorch-grad-cam to ours, cold: {cold['on pytorch-grad-cam']:.2f}")
