"""What the commands share: how they print, and the options of a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from pytest_gradcam.evidence.messages import one_line
from pytest_gradcam.settings import OPTIONS, Settings

PROGRAM = "pytest-gradcam"
_Result = TypeVar("_Result")

#: The settings that say which model is explained and how, as options of a command: --weights for gradcam_weights.
_OF_MODEL = ("weights", "preprocess", "classes", "output", "output_key", "task", "layer", "method", "device")

_AS_JSON = f"{__name__}.as_json"


def _remember(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_AS_JSON] = value


as_json = click.option(
    "--json", is_flag=True, expose_value=False, callback=_remember, help="Print one JSON object instead of text."
)


def wants_json() -> bool:
    """Whether the running command was given --json."""
    return bool(click.get_current_context().meta[_AS_JSON])


def answer(plain: Callable[[], Any], lines: Callable[[], Iterable[str]]) -> None:
    """Print the one where --json was given, and the other where it was not."""
    if wants_json():
        print(json.dumps(plain(), indent=1, allow_nan=False))
    else:
        say(lines())


def say(lines: Iterable[str]) -> None:
    for line in lines:
        print(one_line(line))


def path(*, must_be: str = "", may_be: str = "") -> click.Path:
    """A path; it must exist as a 'file' or 'folder' where that is said, or may be new, but nothing else."""
    kind = must_be or may_be
    return click.Path(exists=bool(must_be), file_okay=kind != "folder", dir_okay=kind != "file", path_type=Path)


def model_options(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """The options that say how a model is explained; the command gets them, and its argument MODEL, as Settings."""

    @wraps(command)
    def run(model: str, **given: Any) -> _Result:
        own = {name: given.pop(name) for name in _OF_MODEL}
        return command(_settings(model, own), **given)

    made: Callable[..., _Result] = run
    for option in reversed([option for option in OPTIONS if option.name in _OF_MODEL]):
        flag = "--" + option.name.replace("_", "-")
        made = click.option(flag, option.name, metavar=option.metavar, help=option.help)(made)
    return made


def _settings(model: str, given: dict[str, Any]) -> Settings:
    """The settings of these options. Raises SettingsError for a value that cannot be used."""
    values = {"model": model, **{name: value for name, value in given.items() if value is not None}}
    flags = {option.name: option for option in OPTIONS}
    return Settings(
        **{
            name: flags[name].parse("MODEL" if name == "model" else "--" + name.replace("_", "-"), value)
            for name, value in values.items()
        }
    )
