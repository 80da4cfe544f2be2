"""What a call changes in a model or in the process is undone at its end, wherever an interrupt hits it.

Ctrl-C and the alarm of a timeout can come between any two lines, also while things are being undone. So each undoing is
registered before its change and can be done twice, and whatever the end of the `with` block of `undoing` left undone,
since an interrupt hit it, `finished` does at the end of the whole call.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import wraps
from time import monotonic
from typing import Generic, ParamSpec, TypeVar

from pytest_gradcam.errors import HeatmapError

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
Undo = Callable[[], None]


class _Thread(threading.local):
    """What the running thread has to undo, last things first, and whether it is its turn."""

    def __init__(self) -> None:
        self.undos: list[Undo] = []
        self.has_turn = False


_thread = _Thread()
_turn = threading.RLock()
_holder = [0]  # the thread whose turn it is
_LOOKS = 1.0  # seconds between two looks at where it is
#: Where Python waits for locks, events, threads, queues and results.
_WAITING = tuple(
    os.sep + os.path.join(*parts) for parts in (["threading.py"], ["queue.py"], ["concurrent", "futures", "_base.py"])
)
_PATIENCE = 60.0  # seconds that it may stand still in code of the user's before a waiting thread gives up


def _new_turn() -> None:
    """In a forked process the thread that had its turn is gone."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_turn)


class undoing(Generic[_Result]):
    """A `with` block: `begin` makes changes and registers their undoing with `later`; at the end they are undone.

    Gives what `begin` returns. Threads take turns: what is changed (submodules that two models share, random states, the
    functions of torch) is seen by all of them.
    """

    def __init__(self, begin: Callable[[], _Result]) -> None:
        self._begin = begin
        self._mark = 0

    def __enter__(self) -> _Result:
        self._mark = len(_thread.undos)
        try:
            _take_turn()
            return self._begin()
        except BaseException:
            _undo_to(self._mark)
            raise

    def __exit__(self, *_: object) -> None:
        _undo_to(self._mark)


def later(undo: Undo) -> None:
    """Have this done at the end of the innermost `undoing`; it must be harmless to do it twice, or without the change."""
    _thread.undos.append(undo)


def finished(call: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """The call, after which nothing that began in it is left to undo."""

    @wraps(call)
    def run(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        mark = len(_thread.undos)
        try:
            try:
                return call(*arguments, **options)
            finally:
                _undo_to(mark)
        finally:  # an interrupt may have hit the line above
            _undo_to(mark)

    return run


def in_turn(call: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """The call, `finished`, which no other thread's `undoing` or call in turn runs beside."""

    @finished
    @wraps(call)
    def run(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        _take_turn()
        return call(*arguments, **options)

    return run


def _take_turn() -> None:
    if not _thread.has_turn:
        later(_end_turn)
        _wait_for_turn()
        _thread.has_turn = True
        _holder[0] = threading.get_ident()


def _wait_for_turn() -> None:
    """Raises HeatmapError where the thread whose turn it is stands still: it may be waiting for this one."""
    seen, since = None, monotonic()
    while not _turn.acquire(timeout=_LOOKS):
        now = _waits_in(_holder[0])
        if now is None or now != seen:
            seen, since = now, monotonic()
        elif monotonic() - since > _PATIENCE:
            raise HeatmapError(
                f"another thread that explains a model has been waiting for {_PATIENCE:g} s in {now[2]}, and no other can "
                "explain meanwhile; expected a target, preprocess or model that does not wait for a thread that explains. Do "
                "in one thread what belongs together, or compute it before the call"
            )


def _waits_in(thread: int) -> tuple[int, int, str] | None:
    """Where a thread waits for others: its innermost frame and place in it, and the function that waits."""
    inner = frame = sys._current_frames().get(thread)
    while frame is not None and frame.f_code.co_filename.endswith(_WAITING):
        frame = frame.f_back
    if inner is None or frame is None or frame is inner:
        return None
    return id(inner), inner.f_lasti, f"{frame.f_code.co_name} ({os.path.basename(frame.f_code.co_filename)})"


def _end_turn() -> None:
    if _thread.has_turn:
        _thread.has_turn = False
        _turn.release()
        return
    try:  # an interrupt came between the turn and the note of it, or between the two lines above
        while True:
            _turn.release()
    except RuntimeError:  # not ours, or not any more
        pass


def _undo_to(mark: int) -> None:
    """Undo what was registered after the mark. What an error interrupts is done again; what fails twice is passed over."""
    problem: BaseException | None = None
    failed: Undo | None = None
    while len(_thread.undos) > mark:
        undo = _thread.undos[-1]
        try:
            undo()
        except BaseException as error:
            problem = problem or error
            if failed is not undo:
                failed = undo
                continue
        _thread.undos.pop()
    if problem is not None:
        raise problem
