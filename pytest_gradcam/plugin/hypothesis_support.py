"""Tests under Hypothesis' @given: settings that suit models, and which of the examples' records are kept.

Used only if Hypothesis is loaded: a test that was decorated with @given has imported it.
"""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from PIL.Image import Image

    from pytest_gradcam.evidence.record import Record

    Draw = Callable[[Record], Image]
    Keep = Callable[[Record, Draw], Record]

# Where @given and Hypothesis' own pytest plugin keep a test's settings, and what is there if the user decorated with
# @settings: private, and the only access to the settings of a test that is already decorated.
_SETTINGS = "_hypothesis_internal_use_settings"
_APPLIED = "_hypothesis_internal_settings_applied"
_THEIR_EXAMPLES, _THEIR_DEADLINE = 100, timedelta(milliseconds=200)  # Hypothesis' defaults


def suit(test: Callable[..., object], examples: int) -> None:
    """Give a test under @given the settings that suit a model, where they are still Hypothesis' defaults.

    These are no deadline, `examples` examples, no health checks for slow data and function-scoped fixtures, and no explain
    phase, which runs the model three times as often after a failure. A profile that the user chose is not changed, nor is
    what their own @settings set. If this version of Hypothesis stores the settings elsewhere, nothing is changed.
    """
    from hypothesis import HealthCheck, Phase, is_hypothesis_test, settings

    profile = settings.get_current_profile_name()
    built_in = profile.partition("-with-")[0]  # with a verbosity, or an explanation, that the command line asked for
    if not is_hypothesis_test(test) or built_in not in ("default", "ci") or not _kept_here():
        return
    function: Any = getattr(test, "__func__", test)
    now, own = getattr(function, _SETTINGS, None), hasattr(function, _APPLIED)
    if not isinstance(now, settings):
        return
    theirs = own or now.max_examples != _THEIR_EXAMPLES
    # Not equal but the same: a deadline that the user set is an object of its own.
    inherited = now.deadline is settings.get_profile(built_in).deadline and now.deadline == _THEIR_DEADLINE
    checks = (*now.suppress_health_check, HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
    suited = settings(
        now,
        max_examples=now.max_examples if theirs else examples,
        deadline=None if inherited else now.deadline,
        suppress_health_check=tuple(dict.fromkeys(checks)),
        phases=[phase for phase in now.phases if phase is not Phase.explain or "explain" in profile],
    )
    setattr(function, _SETTINGS, suited)


def _kept_here() -> bool:
    """Whether this version of Hypothesis keeps the settings of a test under the names that are read here."""
    from hypothesis import settings

    def probe() -> None: ...

    wanted = settings()
    wanted(probe)
    return vars(probe).get(_SETTINGS) is wanted and _APPLIED in vars(probe)


@contextmanager
def no_repeats(test: Callable[..., object]) -> Iterator[None]:
    """Within it, once an example of the test has failed, examples that were tried already are not run again.

    To shrink a perturbation, Hypothesis changes what was drawn for it, which mostly leaves the perturbation the same.
    The example that Hypothesis reports is run in any case.
    """
    handle = getattr(getattr(test, "__func__", test), "hypothesis", None)
    if handle is None or not hasattr(handle, "inner_test"):
        yield
        return
    inner = handle.inner_test
    once = _Once(inner)

    @functools.wraps(inner)
    def run(*arguments: Any, **named: Any) -> None:
        once(*arguments, **named)

    handle.inner_test = run
    try:
        yield
    finally:
        handle.inner_test = inner


class _Once:
    """A test that is called once with the same perturbations: what followed, follows again."""

    def __init__(self, test: Callable[..., object]) -> None:
        self._test = test
        self._passed: dict[object, object] = {}
        self._raised: dict[object, tuple[Exception, TracebackType | None, object]] = {}

    def __call__(self, /, *arguments: Any, **named: Any) -> None:  # a method of a class has a self among the named
        running = example()
        if running is None or running.final:
            self._test(*arguments, **named)
            return
        # By identity what is not a perturbation: fixtures, and other things that were drawn, which stay referenced.
        given = (*arguments, *named.values())
        key = tuple(each if _is_perturbation(each) else id(each) for each in given)
        if key in self._raised:
            error, trace, _ = self._raised[key]
            raise error.with_traceback(trace)
        if key in self._passed and self._raised:
            return
        try:
            self._test(*arguments, **named)
        except Exception as error:
            if not _is_of_hypothesis(error):
                self._raised[key] = error, error.__traceback__, given
            raise
        self._passed[key] = given


def _is_perturbation(value: object) -> bool:
    perturbations = sys.modules.get("pytest_gradcam.perturbations")
    return perturbations is not None and isinstance(value, perturbations.Perturbation)


def _is_of_hypothesis(error: Exception) -> bool:
    """Whether it says that the example is none, as after `assume`."""
    from hypothesis.errors import HypothesisException

    return isinstance(error, HypothesisException)


@dataclass(frozen=True, eq=False)
class Example:
    """One call of a test by Hypothesis; `final` if it is reported: an explicit example, or a failure that was shrunk."""

    context: object
    final: bool


def example() -> Example | None:
    """The running example, if there is one; None if Hypothesis does not say, and then each example leaves its records."""
    hypothesis, control = sys.modules.get("hypothesis"), sys.modules.get("hypothesis.control")
    if hypothesis is None or not hypothesis.currently_in_test_context():
        return None
    try:
        context = control.current_build_context()  # type: ignore[union-attr]
        return Example(context, bool(context.is_final))
    except AttributeError:
        return None


@dataclass
class _Tries:
    """The examples of one check so far: how many there were, and the record and drawing that would be kept."""

    count: int
    record: Record
    draw: Draw
    reported: bool = False


class Tries:
    """The records of a test under @given: one per check is kept, and only a kept one is drawn.

    It is each failure that Hypothesis reports, after shrinking. For a check that passed in all examples it is the one
    nearest to its bound; for a check whose failures Hypothesis did not see, such as expected ones, the last of them.
    A check is identified by its position in the example.
    """

    def __init__(self, keep: Keep, test_id: str) -> None:
        self._keep = keep
        self._replay = f"pytest {shlex.quote(test_id)}"
        self._context: object = None
        self._place = 0
        self._checks: dict[tuple[int, str], _Tries] = {}

    def add(self, example: Example, record: Record, draw: Draw) -> Record:
        """The record as it was kept, if it is reported; unchanged, if it is one of many tries."""
        self._place = self._place + 1 if example.context is self._context else 0
        self._context = example.context
        place = (self._place, record.check)
        tries = self._checks.setdefault(place, _Tries(0, record, draw))
        tries.count += 1
        if example.final and record.outcome != "passed":
            tries.reported = True
            return self._keep(self._with_replay(record), draw)
        if _supersedes(record, tries.record):
            tries.record, tries.draw = record, draw
        return record

    def close(self) -> None:
        """Keep the records of the checks that Hypothesis did not report."""
        reported = any(tries.reported for tries in self._checks.values())
        for tries in self._checks.values():
            record = tries.record
            if record.outcome == "passed" and not tries.reported:
                counted = ("examples", f"{tries.count}; these are the figures of the one nearest to the bound")
                self._keep(replace(record, details=(*record.details, counted)), tries.draw)
            elif not reported:
                self._keep(self._with_replay(record), tries.draw)
        self._checks.clear()

    def _with_replay(self, record: Record) -> Record:
        if any(label == "replay" for label, _ in record.details):
            return record
        again = ("replay", f"{self._replay} (Hypothesis begins with the example that failed)")
        return replace(record, details=(*record.details, again))


def _supersedes(new: Record, old: Record) -> bool:
    """Whether the new one of two tries of a check is kept."""
    if new.outcome != "passed" or old.outcome != "passed":
        return new.outcome != "passed"
    if new.figure is None or old.figure is None:
        return old.figure is None
    return new.figure <= old.figure if new.direction == "at_least" else new.figure >= old.figure
