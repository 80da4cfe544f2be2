"""Whether what the settings name exists, checked before the first test: nothing is built or downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.settings import Settings

_FIXTURES = ("gradcam_model", "gradcam_preprocess", "gradcam_classes")
_OURS = "pytest_gradcam.plugin.fixtures"


def problem(settings: Settings, items: Iterable[pytest.Item]) -> str:
    """What is wrong with a setting that one of these tests needs; an empty string if nothing is."""
    wanted = {name for item in items for name in _ours(item)}
    if not wanted:
        return ""
    from pytest_gradcam.plugin import session

    try:
        session.look_up(settings, wanted)
    except SettingsError as error:
        return str(error)
    except Exception:  # of the user's own module: the fixture of the first test will show it
        return ""
    return ""


def _ours(item: pytest.Item) -> Iterator[str]:
    """The fixtures of ours that the test gets; none if pytest's private names for them are gone."""
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    for name in _FIXTURES:
        found = definitions.get(name, ())
        if found and getattr(getattr(found[-1], "func", None), "__module__", "") == _OURS:
            yield name
