"""The test item as checks see it: its markers, its model, and a place for its records."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_gradcam.errors import FocusError, HeatmapError
from pytest_gradcam.evidence import baseline_paths
from pytest_gradcam.evidence.current_test import Objects
from pytest_gradcam.plugin.controller import PROPERTY, WRITTEN
from pytest_gradcam.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from pytest_gradcam.evidence.record import Record
    from pytest_gradcam.plugin.hypothesis_support import Tries

SETTINGS = pytest.StashKey[Settings]()
MARKER = pytest.StashKey[Mapping[str, Any]]()
REQUIREMENTS = pytest.StashKey[tuple[str, ...]]()


class TestItem:
    """The test item as checks see it: its markers, and a place for its records."""

    def __init__(self, item: pytest.Item) -> None:
        self.marker = item.stash.get(MARKER, {})
        self.path = item.path
        self.name = name_in_file(item)
        self.updates = item.config.stash[SETTINGS].update
        self.baselines: list[str] = []
        self.tries: Tries | None = None  # under Hypothesis' @given
        self.pictures: list[str] = []  # of the phase that runs
        self._item = item
        self._checks = 0
        self._failed = False
        self._since = time.perf_counter()
        self._objects: Objects | None = None

    def begin(self) -> None:
        """Nothing is kept of an earlier try of the test."""
        self.baselines.clear()
        self._checks, self._failed, self._since, self._objects = 0, False, time.perf_counter(), None
        kept = self._item.user_properties
        kept[:] = [(name, value) for name, value in kept if name != PROPERTY]

    def wrote(self, path: Path) -> None:
        self._item.user_properties.append((WRITTEN, baseline_paths.shown(path)))

    def keep(self, record: Record, draw: Callable[[Record], Image]) -> Record:
        from pytest_gradcam.plugin import session

        record = session.on_trained_weights(record, self._item.config.stash[SETTINGS])
        if "hypothesis" in sys.modules:
            from pytest_gradcam.plugin import hypothesis_support

            if (example := hypothesis_support.example()) is not None:
                self.tries = self.tries or hypothesis_support.Tries(self._keep, self._item.nodeid)
                return self.tries.add(example, record, draw)
        return self._keep(record, draw)

    def _keep(self, record: Record, draw: Callable[[Record], Image]) -> Record:
        from pytest_gradcam.plugin import session

        config = self._item.config
        self._checks += 1
        kept = session.keep(
            record,
            draw,
            test_id=self._item.nodeid,
            check=self._checks,
            settings=config.stash[SETTINGS],
            root=config.rootpath,
            requirements=self._item.stash.get(REQUIREMENTS, ()),
            duration=time.perf_counter() - self._since,
        )
        self._item.user_properties.append((PROPERTY, json.dumps(kept.to_plain())))
        self._failed |= kept.outcome != "passed"
        if kept.picture:
            self.pictures.append(kept.picture)
            if config.pluginmanager.hasplugin("allure_listener"):
                from pytest_gradcam.plugin import attachments

                attachments.to_allure(kept.picture, kept.check)
        self._since = time.perf_counter()
        return kept

    def objects(self) -> Objects:
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
                f"which {name} this test sees cannot be told; expected gradcam among the test's arguments. Add it there"
            )
        return request.getfixturevalue(name)

    def skip(self, reason: str) -> NoReturn:
        pytest.skip(reason)

    def ended_by(self, error: BaseException) -> None:
        """A test with the fixture that ends otherwise than by a check of ours leaves a record that says why."""
        told = self._failed and isinstance(error, (FocusError, HeatmapError, BaseExceptionGroup))
        if told or "gradcam" not in getattr(self._item, "fixturenames", ()):
            return
        from pytest_gradcam.plugin import session

        self._checks += 1
        record = session.broken(
            error,
            test_id=self._item.nodeid,
            check=self._checks,
            requirements=self._item.stash.get(REQUIREMENTS, ()),
        )
        self._item.user_properties.append((PROPERTY, json.dumps(record.to_plain())))


TEST = pytest.StashKey[TestItem]()


def name_in_file(item: pytest.Item) -> str:
    """The test's id within its file."""
    return item.nodeid.partition("::")[2]
