"""The test item as checks see it: its markers, its model, and a place for its records."""

from __future__ import annotations

import inspect
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_gradcam.errors import FocusError, HeatmapError
from pytest_gradcam.evidence import baseline_paths
from pytest_gradcam.evidence.current_test import Objects
from pytest_gradcam.plugin.stash import (
    MADE,
    MARKER,
    PROPERTY,
    REQUIREMENTS,
    RETRIED,
    SETTINGS,
    UNCHECKED,
    WRITTEN,
    name_in_file,
    test_id,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from pytest_gradcam.evidence.record import Record
    from pytest_gradcam.plugin.hypothesis_support import Tries


class TestItem:
    """The test item as checks see it: its markers, and a place for its records."""

    def __init__(self, item: pytest.Item) -> None:
        self.marker = item.stash.get(MARKER, {})
        self.path = item.path
        self.id = test_id(item)
        self.name = name_in_file(item)
        self.updates = item.config.stash[SETTINGS].update
        self.baselines: list[str] = []
        self.tries: Tries | None = None  # under Hypothesis' @given
        self.pictures: list[str] = []  # of the phase that runs
        self.ended = False  # whether the test itself is over: its teardown may follow
        self._item = item
        self._lock = threading.RLock()  # a test may check in several threads
        self._try = 0
        self._checked = False
        self._checks = 0
        self._failed = False
        self._since = time.perf_counter()
        self._objects: Objects | None = None

    def begin(self) -> None:
        """The test begins, for the first time or again; checks of an earlier try that did not pass are kept."""
        self.baselines.clear()
        self._try += 1
        self._checked = self.ended = False
        self._checks, self._failed, self._since, self._objects = 0, False, time.perf_counter(), None
        kept = self._item.user_properties
        earlier = [(RETRIED, value) for name, value in kept if name == PROPERTY and _did_not_pass(value)]
        kept[:] = [pair for pair in kept if pair[0] not in (PROPERTY, UNCHECKED)] + earlier

    def wrote(self, path: Path) -> None:
        self._checked = True
        self._item.user_properties.append((WRITTEN, baseline_paths.shown(path)))

    def keep(self, record: Record, draw: Callable[[Record], Image]) -> Record:
        with self._lock:
            return self._keep_one_of_many(record, draw)

    def _keep_one_of_many(self, record: Record, draw: Callable[[Record], Image]) -> Record:
        from pytest_gradcam.plugin import session

        self._checked = True
        record = session.on_trained_weights(record, self._item.config.stash[SETTINGS])
        if "hypothesis" in sys.modules:
            from pytest_gradcam.plugin import hypothesis_support

            if (example := hypothesis_support.example()) is not None:
                self.tries = self.tries or hypothesis_support.Tries(self._keep, self.id)
                return self.tries.add(example, record, draw)
        return self._keep(record, draw)

    def _keep(self, record: Record, draw: Callable[[Record], Image]) -> Record:
        from pytest_gradcam.evidence.requirements import of_check
        from pytest_gradcam.plugin import session

        config = self._item.config
        self._checks += 1
        record = replace(
            record,
            test=self.id,
            number=self._checks,
            requirements=self._item.stash.get(REQUIREMENTS, ()) or of_check(record.check),
            duration=time.perf_counter() - self._since,
        )
        settings, root = config.stash[SETTINGS], config.rootpath
        kept = session.illustrate(record, draw, settings=settings, root=root, attempt=self._try)
        self._tell(kept)
        self._failed |= kept.outcome != "passed"
        if kept.picture:
            self.pictures.append(kept.picture)
            if config.pluginmanager.hasplugin("allure_listener"):
                from pytest_gradcam.plugin import attachments

                attachments.to_allure(kept.picture, kept.check)
        self._since = time.perf_counter()
        return kept

    def objects(self) -> Objects:
        with self._lock:
            return self._found_objects()

    def _found_objects(self) -> Objects:
        if self._objects is None:
            self._objects = Objects(*map(self._fixture, ("gradcam_model", "gradcam_preprocess", "gradcam_classes")))
        return self._objects

    def _fixture(self, name: str) -> Any:
        """The fixture's value as this test sees it: another folder's conftest.py may have another."""
        values: dict[str, Any] = getattr(self._item, "funcargs", {})
        if name in values:
            return values[name]
        # Where a fixture asks for `gradcam` before the test has its arguments, or by name, only the private request knows.
        request = getattr(self._item, "_request", None)
        if request is None:
            raise HeatmapError(
                f"it is not known which {name} this test sees; expected gradcam among the test's arguments; add it there"
            )
        return request.getfixturevalue(name)

    def skip(self, reason: str) -> NoReturn:
        pytest.skip(reason)

    def ended_by(self, error: BaseException) -> None:
        """A test with the fixture that ends by anything but one of our checks leaves a record that says why."""
        recorded = self._failed and isinstance(error, (FocusError, HeatmapError, BaseExceptionGroup))
        if recorded or "gradcam" not in getattr(self._item, "fixturenames", ()):
            return
        from pytest_gradcam.plugin import session

        self._checks += 1
        record = session.broken(
            error,
            test_id=self.id,
            check=self._checks,
            requirements=self._item.stash.get(REQUIREMENTS, ()),
        )
        self._tell(record)

    def _tell(self, record: Record) -> None:
        self._item.user_properties.append((PROPERTY, json.dumps(record.to_plain())))
        if MADE in self._item.config.stash:
            self._item.config.stash[MADE](self.id, record, self._try)

    def unchecked(self) -> str:
        """What to do about a test that has the fixture and made no check: warn or fail; nothing for all others."""
        wanted: str = self.marker.get("unchecked", self._item.config.stash[SETTINGS].unchecked)
        if wanted == "allow" or self._checked or not (self._objects is not None or _asks_for_gradcam(self._item)):
            return ""
        self._item.user_properties.append((UNCHECKED, ""))
        return wanted


def _did_not_pass(value: object) -> bool:
    return bool(json.loads(str(value))["outcome"] != "passed")


def _asks_for_gradcam(item: pytest.Item) -> bool:
    """Whether the test's own arguments and marks lead to the fixture. Autouse fixtures and marks of its class do not count."""
    try:
        names = list(inspect.signature(item.obj).parameters)  # type: ignore[attr-defined]
    except (AttributeError, TypeError, ValueError):
        return False
    if any(mark.name == "gradcam" for mark in item.own_markers):
        return True
    names += [name for mark in item.own_markers if mark.name == "usefixtures" for name in mark.args]
    # Only private names show what a fixture depends on; without them, only the test's own arguments count.
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name not in seen:
            seen.add(name)
            names += (more for one in definitions.get(name, ()) for more in getattr(one, "argnames", ()))
    return "gradcam" in seen
