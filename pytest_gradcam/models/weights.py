"""Files of weights: state dicts, however they were saved, read and loaded into a model."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.validation import nearest

_KEYS = ("state_dict", "model_state_dict", "model")  # that lead to the state dict of a training checkpoint
_PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile and Lightning
_SHOWN = 4  # keys in a message


def require_file(path: Path) -> None:
    """Raises SettingsError if there is no such file of weights."""
    if not path.is_file():
        raise SettingsError(
            f"gradcam_weights = {str(path)!r} is not a file; check the path{nearest(str(path), ['pretrained'])}"
        )


def load(model: nn.Module, path: Path) -> None:
    """Load a state dict file into the model, whole. Raises SettingsError that names what does not fit."""
    state = _strip(read(path)[0], set(model.state_dict()))
    own = model.state_dict()
    problems = [
        listed("missing", [key for key in own if key not in state]),
        listed("unexpected", [key for key in state if key not in own]),
        listed("of another shape", [key for key in own if key in state and own[key].shape != state[key].shape]),
    ]
    if any(problems):
        raise SettingsError(
            f"the weights in {path} do not fit {type(model).__name__}: {'; '.join(p for p in problems if p)}. "
            "Check that gradcam_model builds the architecture, and the number of classes, that were trained"
        )
    model.load_state_dict(state)


def read(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state dict in a file, and the keys that lead to it. Raises SettingsError for a file without one."""
    require_file(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path), ()
        except SafetensorError as error:
            raise SettingsError(f"{path} is not a safetensors file ({error}); check that it is complete") from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise SettingsError(
            f"{path} holds more than tensors, and reading it would run code from the file, which is refused; if you "
            "trust it, save only the weights: torch.save(model.state_dict(), path), or safetensors.torch.save_model"
        ) from None
    except Exception as error:  # on a file that is not a pickle, the unpickler may raise anything
        raise SettingsError(
            f"{path} was not written by torch.save ({type(error).__name__}: {error}); check that it is complete"
        ) from None
    return _inside(found, path)


def _inside(found: Any, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    keys: tuple[str, ...] = ()
    while key := next((key for key in _KEYS if isinstance(found, Mapping) and isinstance(found.get(key), Mapping)), ""):
        found, keys = found[key], (*keys, key)
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise SettingsError(
            f"{path} holds no state dict; expected names and tensors, as torch.save(model.state_dict(), path) writes them, "
            "or those under 'state_dict', 'model_state_dict' or 'model'"
        )
    return dict(found), keys


def _strip(state: dict[str, Tensor], own: set[str]) -> dict[str, Tensor]:
    """The state without a prefix that a wrapper put before every key."""
    for prefix in _PREFIXES:
        if state.keys() <= own:
            break
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def listed(what: str, keys: list[str]) -> str:
    """How many keys there are, and the first of them; empty for none."""
    if not keys:
        return ""
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{len(keys)} {what} ({', '.join(keys[:_SHOWN])}{more})"
