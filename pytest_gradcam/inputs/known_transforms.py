"""Pipelines that treat all images of one size alike, by what they are made of: no image can show otherwise."""

from __future__ import annotations

from typing import Any

_SAME_FOR_ALL = {
    "CenterCrop",
    "ConvertImageDtype",
    "Grayscale",
    "ImageClassification",
    "MaybeToTensor",
    "Normalize",
    "Pad",
    "PILToTensor",
    "Resize",
    "ToDtype",
    "ToImage",
    "ToPureTensor",
    "ToTensor",
}
_LIBRARIES = ("torchvision.transforms.", "timm.data.transforms")


def description(preprocess: Any) -> str:
    """Every part and its settings, of a pipeline that consists of such parts of torchvision and timm alone; else empty."""
    kind = type(preprocess)
    if not kind.__module__.startswith(_LIBRARIES) or _does_more(preprocess):
        return ""
    if kind.__name__ != "Compose":
        return repr(preprocess) if kind.__name__ in _SAME_FOR_ALL else ""
    parts = [description(part) for part in preprocess.transforms]
    return " ".join(parts) if all(parts) else ""


def _does_more(part: Any) -> bool:
    """Whether something was hung on to the part that its class does not say: hooks, or another forward."""
    own = vars(part)
    return "forward" in own or bool(own.get("_forward_hooks") or own.get("_forward_pre_hooks"))
