"""Files of weights and models of libraries, as `pytest-gradcam init` puts them together in a fixture."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from torch import nn

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models import weights


@dataclass(frozen=True)
class Layout:
    """`keys` lead to the state dict, `prefix` stands before each of its names, `classes` are the rows of its last matrix."""

    keys: tuple[str, ...]
    prefix: str
    classes: int


def layout(path: Path) -> Layout:
    """Raises SettingsError for a file that holds no state dict, or no matrix in it."""
    state, keys = weights.read(path)
    parts = [name.split(".")[:-1] for name in state]
    common = [same[0] for same in takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False))]
    prefix = "".join(f"{part}." for part in common)
    matrices = [value for value in state.values() if value.ndim == 2 or (value.ndim == 4 and value.shape[2:] == (1, 1))]
    if not matrices:
        raise SettingsError(f"{path} holds no weight matrix of a classifier, so its number of classes is unknown")
    return Layout(keys, prefix, int(matrices[-1].shape[0]))


def load(model: nn.Module, path: Path, where: Layout) -> nn.Module:
    """The model with the weights, in eval mode. Raises RuntimeError if they do not fit."""
    state, _ = weights.read(path)
    model.load_state_dict({name.removeprefix(where.prefix): value for name, value in state.items()})
    return model.eval()


def library_model(library: str, name: str, keywords: Mapping[str, Any]) -> nn.Module:
    """torchvision's or timm's model of this name, with random weights. Raises whatever the library raises."""
    if library == "timm":
        model: nn.Module = importlib.import_module("timm").create_model(name, pretrained=False, **keywords)
    else:
        model = importlib.import_module("torchvision.models").get_model(name, weights=None, **keywords)
    return model
