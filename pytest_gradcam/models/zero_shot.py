"""Image classifiers whose classes are texts: the score of a class is the logit of the image and its prompt.

CLIP (Radford et al., ICML 2021) and SigLIP (Zhai et al., ICCV 2023). The texts are encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models.kinds import Wanted
from pytest_gradcam.targets import ClassNames

PROMPT = "a photo of a {}"
_ALIKE = 1e-3  # of the largest logit: by less the model's own logits differ from these


class ZeroShot(nn.Module):
    """Scores (N, classes) of images (N, C, H, W): scale x the cosine of image and text features, plus a bias.

    `encode` gives the image features (N, d) of the model's own towers; `texts` are the text features (classes, d).
    """

    gives_logits = True
    texts: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(
        self, model: nn.Module, encode: Callable[[Tensor], Tensor], texts: Tensor, scale: Tensor, bias: Tensor | None
    ) -> None:
        super().__init__()
        self.model = model
        self._encode = encode
        self.register_buffer("texts", nn.functional.normalize(texts.detach(), dim=-1))
        self.register_buffer("scale", scale.detach().exp().reshape(()).clone())
        self.register_buffer(
            "bias", torch.zeros_like(self.scale) if bias is None else bias.detach().reshape(()).clone()
        )

    def forward(self, images: Tensor) -> Tensor:
        features = nn.functional.normalize(self._encode(images), dim=-1)
        scores: Tensor = self.scale * features @ self.texts.T + self.bias
        return scores


def require_alike(network: nn.Module, own: Callable[[Tensor], Tensor], image: Tensor, what: str) -> None:
    """Raises SettingsError unless the network gives an image (1, C, H, W) the logits that the model itself does."""
    with torch.no_grad():
        expected, found = own(image).float(), network(image).float()
    if expected.shape != found.shape or not bool((expected - found).abs().max() <= _ALIKE * expected.abs().max()):
        raise SettingsError(
            f"{what} does not score an image by the cosine of its features and those of a text; expected a model "
            "such as CLIP or SigLIP. Write a fixture gradcam_model: a torch.nn.Module from images to scores"
        )


def prompts(wanted: Wanted, what: str) -> list[str]:
    """The text of each class, in the order of the scores. Raises SettingsError without classes."""
    names, prompt = wanted.classes(), wanted.prompt or PROMPT
    if names is None:
        raise SettingsError(
            f"{what} reads its classes from texts, and there are none; set gradcam_classes to a file with one class per line"
        )
    return [prompt.replace("{}", name) for name in _in_order(names)]


def _in_order(names: Sequence[Any] | Mapping[Any, Any]) -> list[str]:
    found = ClassNames(names)
    count = 1 + max(index for _, index in found.pairs)
    missing = [index for index in range(count) if not any(own == index for _, own in found.pairs)]
    if missing:
        raise SettingsError(
            f"gradcam_classes names no class {missing[0]}, and {count - 1} is the last; expected a name for each"
        )
    return [found.name(index) for index in range(count)]
