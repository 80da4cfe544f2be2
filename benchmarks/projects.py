"""A repository of a user in a temporary directory, whose pytest runs are timed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest_gradcam

#: What the tests of all contenders share: the images, the model and its preprocess.
_COMMON = '''
"""The model and the images, for everyone."""

import os
from pathlib import Path

import torch
import torchvision
from PIL import Image

NAME = {name!r}
PATHS = sorted(Path("images").glob("*.jpg"))
CASES = [(turn, path) for turn in range(int(os.environ.get("TURNS", 1))) for path in PATHS]


def model():
    built = torchvision.models.get_model(NAME, weights=None)
    built.load_state_dict(torch.load("weights.pt", weights_only=True))
    return built.eval()


preprocess = torchvision.models.get_model_weights(NAME).DEFAULT.transforms()


def read(path):
    return preprocess(Image.open(path).convert("RGB"))
'''
SIZE = (320, 240)  # of an image, width and height


def environment(**more: str) -> dict[str, str]:
    """That of this process, with one thread, no plugins but those that are named, and the package that is measured here."""
    package = Path(pytest_gradcam.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    own = {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own, **more}


class Project:
    """A directory in which pytest is run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.write("pytest.ini", "[pytest]\n")

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text, "utf-8")

    def pytest(self, *arguments: str, exit_status: int = 0, **variables: str) -> str:
        """Runs pytest in a process of its own and gives its output. Raises RuntimeError for another exit status."""
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *arguments],
            cwd=self.directory,
            env=environment(**variables),
            capture_output=True,
            text=True,
        )
        if done.returncode != exit_status:
            raise RuntimeError(
                f"pytest {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout


@contextmanager
def project(name: str = "", images: int = 0) -> Iterator[Project]:
    """A project with so many photographs and, in `common.py`, a model of torchvision with random weights."""
    with TemporaryDirectory() as directory:
        made = Project(Path(directory))
        if name:
            _add_model(made, name)
            _add_photographs(made.directory / "images", images)
        yield made


def _add_model(project: Project, name: str) -> None:
    import torch

    from benchmarks.networks import build

    project.write("common.py", _COMMON.format(name=name))
    torch.save(build(name).state_dict(), project.directory / "weights.pt")


def _add_photographs(directory: Path, count: int) -> None:
    """JPEG files of 320 x 240: crops of three photographs that scikit-image brings with it, from a seed."""
    import numpy as np
    from PIL import Image
    from skimage import data

    directory.mkdir()
    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(image()) for image in (data.astronaut, data.coffee, data.chelsea)]
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        scale = rng.uniform(0.6, 0.8)
        width, height = (round(scale * side) for side in photograph.size)
        left, top = rng.integers(photograph.width - width + 1), rng.integers(photograph.height - height + 1)
        crop = photograph.crop((left, top, left + width, top + height)).resize(SIZE, Image.Resampling.BICUBIC)
        crop.save(directory / f"{number:04}.jpg", quality=90)
