"""Audits in processes of Ray: the rows of the local engine, byte for byte, whatever dies meanwhile.

The tests that start Ray are skipped where it is not installed: tox -e ray.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_gradcam import Case, Explainer, data
from pytest_gradcam.data import on_ray
from pytest_gradcam.data.rows import RowFile
from pytest_gradcam.errors import HeatmapError

from .conftest import LEFT, Colour, blob, to_tensor

COUNT = 200  # images: seven chunks


@pytest.fixture(scope="module")
def ray():
    found = pytest.importorskip("ray")
    # Where other programs keep the processors busy, processes of Ray's own niceness start after minutes.
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_AUTH_TOKEN": os.urandom(32).hex()}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    found.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield found
    found.shutdown()
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Cases of which some cannot be judged."""
    folder = tmp_path_factory.mktemp("images")
    found = []
    for number in range(COUNT):
        path = folder / f"{number:03}.png"
        Image.fromarray(blob(number % 4 > 0, number)).save(path)
        found.append(Case(path, mask=LEFT, invalid=~LEFT, target="red", slices={"site": "ab"[number % 2]}))
    found[40].image.write_bytes(b"not an image")
    found[90] = Case(found[90].image, mask=LEFT[:4], invalid=~LEFT, target="green")
    found[150] = Case(np.zeros((32, 32, 3), np.uint8), mask=LEFT, id="black")
    return found


@pytest.fixture
def together(monkeypatch):
    """A chunk at a time, so that both actors have several."""
    monkeypatch.setattr(on_ray, "_TOGETHER", 1)


def explained(preprocess=to_tensor, model=None):
    return Explainer(model or Colour().eval(), "features", preprocess=preprocess, classes=["red", "green"])


@pytest.fixture(scope="module")
def undisturbed(many, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    explained().audit(many, rows=path)
    return path.read_bytes()


def test_without_ray_the_extra_is_named(explainer, dataset, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(HeatmapError, match=r"engine='ray' needs Ray, .* pip install 'pytest-gradcam\[ray\]'"):
        explainer.audit(dataset, engine="ray")


@pytest.mark.parametrize("engine", ["Ray", "dask", 3, None])
def test_another_engine(explainer, dataset, engine):
    with pytest.raises(HeatmapError, match=f"engine={engine!r} is not known; expected local or ray"):
        data.audit(explainer, dataset, engine=engine)


class Ended:
    """In place of Ray: what is asked of an actor is done when it is waited for, the latest first."""

    def wait(self, waiting, *, timeout):
        return [waiting[-1]], waiting[:-1]

    def get(self, answer):
        return answer()


class Remote:
    """A method of an actor, called as Ray's are."""

    def __init__(self, function):
        self.remote = lambda *arguments: partial(function, *arguments)


class Actor:
    ready = Remote(lambda work: None)
    rows = Remote(lambda work, handful: [f"{work} {handful}"])


@pytest.mark.parametrize("makers", [1, 2, 5])
@pytest.mark.parametrize("total", [1, 2, 13])
def test_what_ends_out_of_order_is_put_in_order(makers, total):
    taken = []
    handfuls = (taken.append(number) or number for number in range(total))
    for number, found in enumerate(on_ray._in_order(Ended(), [Actor() for _ in range(makers)], "job", handfuls, total)):
        assert found == [f"job {number}"]
        assert len(taken) <= number + 1 + on_ray._AHEAD * makers  # memory does not grow with the data set
    assert taken == list(range(total))


@pytest.mark.usefixtures("ray", "together")
def test_the_rows_are_those_of_the_local_engine(many, undisturbed, tmp_path):
    path = tmp_path / "rows.jsonl"
    audit = explained().audit(many, rows=path, engine="ray")
    assert path.read_bytes() == undisturbed
    assert (audit.rate("focus_within").undecided, audit.images) == (3, COUNT)
    assert data.audit(explained(), many[:20], engine="ray").rows == audit.rows[: len(data.Audit.load(path).rows)][:60]


class Fatal:
    """A preprocess that ends its process at an image, as a kill -9 from outside would, but never the test's own."""

    def __init__(self, flag, number, *, each_time=False):
        self.flag, self.number, self.each_time = flag, number, each_time
        self.driver = os.getpid()

    def __call__(self, image):
        pixels = np.asarray(image)
        wanted = pixels[self.number // 8 % 8, self.number % 8, 2] == 1 + self.number // 64
        if wanted and os.getpid() != self.driver and (self.each_time or not self.flag.exists()):
            self.flag.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return to_tensor(image)


@pytest.mark.usefixtures("ray", "together")
def test_a_worker_killed_half_way_changes_nothing(many, undisturbed, tmp_path):
    path, flag = tmp_path / "rows.jsonl", tmp_path / "killed"
    explained(Fatal(flag, 110)).audit(many, rows=path, engine="ray")
    assert int(flag.read_text()) != os.getpid()
    assert path.read_bytes() == undisturbed


@pytest.mark.usefixtures("ray", "together")
def test_workers_that_keep_dying_end_the_audit_which_goes_on_later(many, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(on_ray, "_RETRIES", 0)
    path = tmp_path / "rows.jsonl"
    with pytest.raises(
        HeatmapError, match=r"over the same images workers of Ray died 1 times \(Actor\w+Error: .*; their memory"
    ):
        explained(Fatal(tmp_path / "killed", 110, each_time=True)).audit(many, rows=path, engine="ray")
    assert undisturbed.startswith(path.read_bytes())
    explained().audit(many, rows=path)
    assert path.read_bytes() == undisturbed


@pytest.mark.usefixtures("ray", "together")
def test_an_interrupted_audit_goes_on(many, undisturbed, tmp_path, monkeypatch):
    path, append, written = tmp_path / "rows.jsonl", RowFile.append, []

    def interrupted(self, rows):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(append(self, rows))

    monkeypatch.setattr(RowFile, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        explained().audit(many, rows=path, engine="ray")
    monkeypatch.setattr(RowFile, "append", append)
    assert undisturbed.startswith(path.read_bytes())
    assert path.read_bytes() != undisturbed
    explained().audit(many, rows=path, engine="ray")
    assert path.read_bytes() == undisturbed
    explained().audit(many, rows=path, engine="ray")  # there is nothing left to make
    assert path.read_bytes() == undisturbed


class Dimmed:
    """In the workers another preprocess than here."""

    def __init__(self):
        self.driver = os.getpid()

    def __call__(self, image):
        return to_tensor(image) + (0.1 if os.getpid() != self.driver else 0)


class Drawn(Colour):
    """A model that another process gets with other weights."""

    def __reduce_ex__(self, protocol):
        return (_brighter, ())


def _brighter():
    model = Colour().eval()
    with torch.no_grad():
        model.features.weight.mul_(2)
    return model


@pytest.mark.usefixtures("ray", "together")
@pytest.mark.parametrize(
    ("explainer", "message"),
    [
        (explained(Dimmed()), r"a worker on .* makes other rows than this process of case '000'; expected the same"),
        (
            explained(model=Drawn().eval()),
            r"a worker on .* has another model than this process: another model, weights",
        ),
    ],
    ids=["preprocess", "weights"],
)
def test_workers_that_would_make_other_rows_are_refused(explainer, many, message):
    with pytest.raises(HeatmapError, match=message):
        explainer.audit(many, engine="ray")


@pytest.mark.usefixtures("ray")
def test_what_cannot_be_sent_is_refused_by_name(many):
    lock = threading.Lock()
    with pytest.raises(HeatmapError, match=r"the preprocess cannot be sent to another process: TypeError"):
        explained(lambda image: to_tensor(image) if lock else None).audit(many, engine="ray")
    several = [*many[:40], Case(lambda: blob(True, 1) if lock else None, mask=LEFT, id="locked")]
    with pytest.raises(HeatmapError, match=r"the cases from '032' on cannot be sent .* pass paths, or callables"):
        explained().audit(several, engine="ray")
