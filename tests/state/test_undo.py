"""What a call changes is undone wherever an interrupt hits it, and threads take turns."""

import os
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import checkpoint
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from pytest_gradcam import Explainer, HeatmapError
from pytest_gradcam.state import undo
from pytest_gradcam.state.undo import finished, in_turn, later, undoing
from tests.states import same, state_of

#: Lines from one interrupt to the next. `GRADCAM_SWEEP=whole` tries all of them, in four times the time.
_STEP = 1 if os.environ.get("GRADCAM_SWEEP") == "whole" else 5
_ROOM = Path(undo.__file__).parent
# Those that change something. The rest only reads, or hooks modules, which the guard takes back.
_FILES = [str(_ROOM / f"{name}.py") for name in ("undo", "guard", "surroundings", "values", "capture", "model_methods")]


class Interrupt(BaseException):
    """What a Ctrl-C or an alarm raises."""


class Busy(nn.Module):
    """In train mode but for a part, partly frozen, with a grad; a forward pass writes, draws and replaces."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, 2)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)
        self.register_buffer("seen", torch.zeros(4))
        self.register_buffer("made", None)
        self.norm.eval()
        self.conv.weight.grad = torch.ones_like(self.conv.weight)
        self.head.bias.requires_grad_(False)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        self.seen.data.add_(x.detach().mean((0, 2, 3)))
        self.made = torch.rand(3)
        return self.head(nn.functional.dropout(x, 0.5, self.training).mean((2, 3)))


def everything(model):
    kinds = ("math", "flash", "mem_efficient", "cudnn")
    return {
        **state_of(model),
        "recomputing": {key: value for key, value in vars(checkpoint).items() if "heckpoint" in key},
        "stance": torch._dynamo.eval_frame._stance.stance,
        "attention": [getattr(torch.backends.cuda, f"{kind}_sdp_enabled")() for kind in kinds],
        "dispatch": len(_get_current_dispatch_mode_stack()),
        "undos": (len(undo._thread.undos), undo._thread.has_turn),
    }


def interrupted(call, at):
    """Run the call, and interrupt it at so many lines of our files. Gives the line, None where there are not so many."""
    count, hit = 0, None

    def line(frame, event, _argument):
        nonlocal count, hit
        if event == "line":
            count += 1
            if count > at:
                hit = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                sys.settrace(None)
                raise Interrupt
        return line

    outer = sys.gettrace()
    sys.settrace(lambda frame, _event, _argument: line if frame.f_code.co_filename in _FILES else None)
    try:
        call()
    except Interrupt:
        pass
    finally:
        sys.settrace(outer)
    return hit


@pytest.mark.parametrize("method", ["gradcam", "shapleycam", "scorecam"])
def test_an_interrupt_at_any_line_leaves_nothing(method):
    model, image = Busy(), torch.rand(3, 9, 9)
    explainer = Explainer(model, layer="norm", method=method)
    explainer(image, 0)
    assert _swept(lambda: explainer(image, 0), model, step=_STEP) > 200


def test_an_interrupt_while_the_layer_is_chosen_leaves_nothing():
    model, image = Busy(), torch.rand(3, 9, 9)
    assert _swept(lambda: Explainer(model)(image, 0), model, step=11) > 200


def _swept(call, model, step):
    """Interrupts the call at every step-th line, from a first one that a seed chooses. Gives the number of lines."""
    before, line = everything(model), random.Random(0).randrange(step)
    while hit := interrupted(call, line):
        assert same(before, everything(model)), f"an interrupt in {hit} leaves something"
        line += step
    return line


class TestUndoing:
    def test_goes_from_the_last_change_to_the_first_and_does_an_interrupted_one_again(self):
        done = []

        def fails_once():
            done.append("second")
            if done.count("second") == 1:
                raise Interrupt

        def begin():
            later(lambda: done.append("first"))
            later(fails_once)
            return "given"

        with pytest.raises(Interrupt), undoing(begin) as given:
            assert given == "given"
        assert done == ["second", "second", "first"]

    def test_what_fails_twice_is_passed_over_and_said(self):
        done = []

        def fails():
            raise RuntimeError("no way back")

        def begin():
            later(lambda: done.append("first"))
            later(fails)

        with pytest.raises(RuntimeError, match="no way back"), undoing(begin):
            pass
        assert done == ["first"]

    def test_a_beginning_that_fails_is_undone(self):
        done = []

        def begin():
            later(lambda: done.append("undone"))
            raise RuntimeError

        with pytest.raises(RuntimeError), undoing(begin):
            raise AssertionError("not reached")
        assert done == ["undone"]

    def test_a_call_finishes_what_an_interrupted_block_left(self):
        done = []

        @finished
        def call():
            undoing(lambda: later(lambda: done.append("undone"))).__enter__()

        call()
        assert done == ["undone"]

    def test_blocks_of_two_threads_do_not_overlap(self):
        inside, most = [], []

        def block(_):
            with undoing(lambda: None), undoing(lambda: None):
                inside.append(1)
                most.append(len(inside))
                threading.Event().wait(0.001)
                inside.pop()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(block, range(20)))
        assert max(most) == 1
        assert not undo._thread.has_turn


class TestThreads:
    @pytest.fixture(autouse=True)
    def many_switches(self):
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-4)
        yield
        sys.setswitchinterval(before)

    def test_the_maps_of_one_model_are_those_of_one_thread(self):
        model = Busy()
        images = [torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(i)) for i in range(8)]
        alone = [Explainer(model)(image, 0).grid for image in images]
        before, explainer = everything(model), Explainer(model)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda i: explainer(images[i % 8], 0).grid, range(200)))
        for i, grid in enumerate(found):
            np.testing.assert_array_equal(grid, alone[i % 8])
        assert same(before, everything(model))

    def test_two_models_may_share_modules(self):
        first, second = Busy(), Busy()
        second.conv, second.norm = first.conv, first.norm
        explainers, image = [Explainer(first), Explainer(second)], torch.rand(3, 9, 9)
        alone = [explainer(image, 0).grid for explainer in explainers]
        before = everything(first), everything(second)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda i: explainers[i % 2](image, 0).grid, range(100)))
        for i, grid in enumerate(found):
            np.testing.assert_array_equal(grid, alone[i % 2])
        assert same(before, (everything(first), everything(second)))


class TestATargetThatWaitsForAThreadThatExplains:
    @in_turn
    def explain(self):
        return 1

    @in_turn
    def explain_with(self, target):
        return target()

    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch):
        monkeypatch.setattr(undo, "_PATIENCE", 0.5)
        monkeypatch.setattr(undo, "_LOOKS", 0.05)

    def test_the_other_thread_is_told_and_both_go_on(self):
        with ThreadPoolExecutor(1) as pool:

            def target():
                return pool.submit(self.explain).result()

            with pytest.raises(HeatmapError, match=r"has been waiting for 0\.5 s in target \(test_undo\.py\)"):
                self.explain_with(target)
            assert pool.submit(self.explain).result(timeout=30) == 1
            assert self.explain_with(lambda: 2) == 2

    def test_a_target_that_explains_in_its_own_thread_has_its_turn(self):
        assert self.explain_with(self.explain) == 1

    def test_one_that_computes_for_long_is_waited_for(self):
        def target():
            end = monotonic() + 1.5
            while monotonic() < end:
                sum(range(1000))

        with ThreadPoolExecutor(1) as pool:
            began = threading.Event()
            other = pool.submit(lambda: began.wait() and self.explain())
            self.explain_with(lambda: (began.set(), target()))
            assert other.result(timeout=30) == 1
