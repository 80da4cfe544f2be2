"""Paths in the settings: relative ones begin at the folder of the configuration, or of the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pytest_gradcam.settings import FILES, FOLDERS, Option

_NO_PATHS = ("pretrained",)  # what gradcam_weights takes besides a file
_NAMED = r"[\w.]{2,}:\s*[\w.\-/]*"  # of package.module:name, also where the name is missing; a drive has one letter


def located(option: Option, value: Any, folder: Path) -> Any:
    """The value; a relative path is resolved against this folder."""
    if not option.path or not isinstance(value, str) or not value.strip() or value.strip() in _NO_PATHS:
        return value
    if option.name == "model":
        return _located_model(value.strip(), folder)
    path = folder / value.strip()
    return value if re.fullmatch(_NAMED, value.strip()) and not path.exists() else str(path)


def _located_model(spec: str, folder: Path) -> str:
    """The spec of a model with the file or folder in it, if there is one, resolved against this folder."""
    kind, _, name = spec.partition(":")
    if f"{kind}:" in FILES and name:
        return f"{kind}:{folder / name}"
    if f"{kind}:" in FOLDERS:
        architecture, _, rest = name.partition("/")
        if kind == "open_clip" and rest and (folder / rest).exists():
            return f"{kind}:{architecture}/{folder / rest}"
        if name and (folder / name).exists():
            return f"{kind}:{folder / name}"
    return spec
