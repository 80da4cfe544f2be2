"""What the hooks leave for each other on pytest's own objects, and a test's id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_gradcam.evidence.record import Record
    from pytest_gradcam.settings import Settings

SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
MARKER: pytest.StashKey[Mapping[str, Any]] = pytest.StashKey()
REQUIREMENTS: pytest.StashKey[tuple[str, ...]] = pytest.StashKey()
#: Called with each check when it is made: its test's id, the record, and the number of the try.
MADE: pytest.StashKey[Callable[[str, Record, int], None]] = pytest.StashKey()

PROPERTY = "gradcam"  # the name under which records travel in item.user_properties, each as JSON
RETRIED, UNCHECKED = "gradcam_retried", "gradcam_unchecked"  # those of an earlier try; that the test made no check
WRITTEN, ORPHAN = "gradcam_baseline_written", "gradcam_baseline_orphan"  # and the paths of baselines
JOURNALS = "gradcam_journals"  # tells a pytest-xdist worker where to store its checks


def test_id(item: pytest.Item) -> str:
    """The test's id, however the tests are spread over processes."""
    return without_group(item.config, item.nodeid)


def name_in_file(item: pytest.Item) -> str:
    """The test's id within its file."""
    return test_id(item).partition("::")[2]


def without_group(config: pytest.Config, test: str) -> str:
    """The test's id without the group that pytest-xdist's --dist loadgroup appends to it."""
    grouped = getattr(config.option, "loadgroup", False) or getattr(config.option, "dist", "") == "loadgroup"
    end = test.rfind("@")
    return test[:end] if grouped and end > test.rfind("]") and end > test.rfind("::") else test
