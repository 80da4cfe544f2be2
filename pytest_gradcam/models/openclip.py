"""Zero-shot classifiers of open_clip, with the transforms that belong to their weights."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models.kinds import Wanted, package
from pytest_gradcam.models.zero_shot import ZeroShot, prompts, require_alike
from pytest_gradcam.validation import nearest

WEIGHTS = "own"


def look_up(name: str) -> None:
    """Raises SettingsError where open_clip is missing, for an unknown architecture, and where no weights are named."""
    _parts(name)


def build(name: str, wanted: Wanted) -> nn.Module:
    """The classifier whose classes are the texts of `wanted`. Raises SettingsError for what cannot be read."""
    architecture, _ = _parts(name)
    texts = prompts(wanted, f"open_clip:{name}")
    model, transform = _created(name, wanted)
    tokens = _open_clip().get_tokenizer(architecture)(texts)
    with torch.no_grad():
        features = model.encode_text(tokens)
    network = ZeroShot(
        model, partial(_image_features, model), features, model.logit_scale, getattr(model, "logit_bias", None)
    )
    from PIL import Image

    grey = transform(Image.new("RGB", (96, 64), (127, 0, 255)))[None]
    require_alike(network, lambda image: model.get_logits(image, tokens)[0], grey, f"open_clip:{name}")
    return network


def preprocess(name: str, wanted: Wanted) -> Any:
    """The transforms for inference that belong to the weights."""
    return _created(name, wanted)[1]


def classes(name: str, wanted: Wanted) -> None:
    """None: the classes are texts."""


def _open_clip() -> Any:
    return package("open_clip", "an open_clip: model", "open_clip")


def _parts(name: str) -> tuple[str, str]:
    """The architecture, and the file or tag of its weights."""
    architecture, _, weights = name.partition("/")
    known = _open_clip().list_models()
    if architecture not in known:
        raise SettingsError(f"open_clip has no architecture {architecture!r}{nearest(architecture, known)}")
    if not weights:
        raise SettingsError(
            f"open_clip:{name} names no weights, so they would be a random draw; expected open_clip:{name}/FILE_OR_TAG"
        )
    return architecture, weights


def _created(name: str, wanted: Wanted) -> tuple[Any, Any]:
    architecture, weights = _parts(name)
    path = Path(weights)
    if not path.is_file():
        tags = _open_clip().list_pretrained_tags_by_model(architecture)
        if weights not in tags:
            known = (
                f", or one of the {len(tags)} tags of open_clip.list_pretrained_tags_by_model({architecture!r})"
                if tags
                else ""
            )
            raise SettingsError(f"open_clip:{name}: there is no file {weights!r}; expected a file of weights{known}")
        if not wanted.pretrained:
            raise SettingsError(
                f"open_clip:{name} names published weights, which are downloaded only on request; set "
                "gradcam_weights = pretrained, or name a file"
            )
    return _loaded(architecture, weights, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=1)
def _loaded(architecture: str, weights: str, _changed: int) -> tuple[Any, Any]:
    """The model in eval mode and its transforms, which come in one; `_changed` is when the file was written."""
    try:
        model, _, transform = _open_clip().create_model_and_transforms(architecture, pretrained=weights)
    except Exception as error:  # open_clip, torch and huggingface_hub each raise their own
        reason = next(iter(str(error).splitlines()), "")
        raise SettingsError(
            f"open_clip cannot read the weights {weights!r} of {architecture} ({type(error).__name__}: "
            f"{reason:.300}); check that the file is complete, and of this architecture"
        ) from None
    return model.eval(), transform


def _image_features(model: Any, images: Tensor) -> Tensor:
    features: Tensor = model.encode_image(images)
    return features
