"""A folder of images as a test module: `pytest --gradcam-data=DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gradcam.errors import SettingsError

if TYPE_CHECKING:
    from pytest_gradcam.data.folder import Folder


class DataSet(pytest.Module):
    """The folder, with the tests of `data_tests` for a module."""

    folder: Folder

    def _getobj(self) -> object:
        from pytest_gradcam.plugin import data_tests

        return data_tests

    def collect(self):  # type: ignore[no-untyped-def]
        from pytest_gradcam.data import folder

        try:
            self.folder = folder.read(self.path)
        except SettingsError as error:
            raise self.CollectError(str(error)) from None
        return super().collect()

    def funcnamefilter(self, name: str) -> bool:
        """Whether it is a test, and one that has something to judge in this folder."""
        if name == "test_slices_equal":
            return bool(self.folder.equal_by)
        if name == "test_no_reliance":
            return any(case.invalid is not None for case in self.folder.found)
        return name.startswith("test_")


def add_to_arguments(config: pytest.Config, path: Path) -> None:
    """Have the folder collected: alone, if no other tests are named on the command line."""
    named = config.args if config.args_source == pytest.Config.ArgsSource.ARGS else []
    config.args = named if str(path) in named else [*named, str(path)]  # a worker of pytest-xdist is given it
