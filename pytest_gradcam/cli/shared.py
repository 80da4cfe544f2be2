"""What the commands share: how they print, and the options of a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from pytest_gradcam import settings
from pytest_gradcam.evidence.messages import one_line

PROGRAM = "pytest-gradcam"
_Command = TypeVar("_Command", bound=Callable[..., Any])

#: The settings that say which model is explained and how, as options of a command: --weights for gradcam_weights.
_OF_MODEL = ("weights", "preprocess", "classes", "output", "output_key", "task", "layer", "method", "device")

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


def answer(as_json: bool, plain: Callable[[], Any], lines: Callable[[], Iterable[str]]) -> None:
    """Print the one or the other."""
    if as_json:
        print(json.dumps(plain(), indent=1, allow_nan=False))
    else:
        for line in lines():
            print(one_line(line))


def path(*, must_be: str = "") -> click.Path:
    """A path; it must exist as a 'file' or 'folder' where that is said."""
    return click.Path(exists=bool(must_be), file_okay=must_be != "folder", dir_okay=must_be != "file", path_type=Path)


def model_options(command: _Command) -> _Command:
    """The options that say which model, with the help of the settings' table."""
    for option in reversed([option for option in settings.OPTIONS if option.name in _OF_MODEL]):
        flag = "--" + option.name.replace("_", "-")
        command = click.option(flag, option.name, metavar=option.metavar, help=option.help)(command)
    return command


def model_settings(model: str, given: dict[str, Any]) -> settings.Settings:
    """The settings of these options. Raises SettingsError for a value that cannot be used."""
    values = {"model": model, **{name: value for name, value in given.items() if value is not None}}
    flags = {option.name: option for option in settings.OPTIONS}
    return settings.Settings(
        **{
            name: flags[name].parse("MODEL" if name == "model" else "--" + name.replace("_", "-"), value)
            for name, value in values.items()
        }
    )
