"""What users pass as an image, ready for the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pytest_gradcam import images, masks
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.heatmap import SeenImage, View
from pytest_gradcam.inputs.mask_transform import Channels, TracedPreprocess, display
from pytest_gradcam.inputs.preprocess import Preprocess
from pytest_gradcam.perturbations.movement import Placement
from pytest_gradcam.questions.protocols import MaskInView
from pytest_gradcam.state.tensors import all_finite, digest, unreadable
from pytest_gradcam.validation import is_whole


@dataclass(frozen=True)
class Input:
    """One image: the tensor (C, H, W) for the model, its name, how to show it and how to carry masks into it."""

    tensor: Tensor
    name: str
    show: Callable[[Tensor], View]
    carry: Callable[[Any], MaskInView]
    size: tuple[int, int] | None = None  # (H, W) of the picture before the preprocess, if there was one
    place: Callable[[], Placement] | None = None  # where the view lies in that picture
    lasting: bool = True  # whether its heatmaps are worth keeping: the tries of a search are not
    identify: Callable[[], str] = str  # a digest of what the user passed, for the record

    @property
    def pixels(self) -> NDArray[np.float32]:
        """float32 (C, H, W), in the units of the model's input."""
        pixels: NDArray[np.float32] = self.tensor.detach().float().cpu().numpy()
        return pixels

    def with_pixels(self, pixels: NDArray[np.floating]) -> Input:
        """The same image with these pixels (C, H, W)."""
        changed = torch.from_numpy(np.array(pixels, np.float32))
        return replace(self, tensor=changed.to(self.tensor.device, self.tensor.dtype))

    def named(self, name: str) -> Input:
        """The same image under another name."""
        return replace(self, name=name)

    def variant_of(self, original: Input) -> Input:
        """This image as a changed version of another: a record names, and identifies, the original."""
        return replace(self, name=original.name, identify=original.identify, lasting=False)

    def look(self) -> View:
        """The image as the model sees it."""
        return self.show(self.tensor)

    @property
    def seen(self) -> SeenImage:
        """What a heatmap of it lies on."""
        return SeenImage(self.shape, self.look, self.carry)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the view."""
        return self.tensor.shape[1], self.tensor.shape[2]


class Reader:
    """Reads images through one preprocess; float tensors (C, H, W) are taken as they are."""

    def __init__(
        self,
        preprocess: Preprocess | None,
        model: nn.Module,
        window: images.Window | None = None,
        channels: Channels | None = None,
    ) -> None:
        if preprocess is not None and not callable(preprocess):
            raise HeatmapError(
                f"preprocess={preprocess!r} is not callable; expected a function from PIL image to tensor"
            )
        self._window, self._channels = images.as_window(window), _as_channels(channels)
        traced = partial(TracedPreprocess, grey=_takes_grey(model), channels=self._channels)
        self._preprocess = None if preprocess is None else traced(preprocess)

    @property
    def in_parallel(self) -> bool:
        """Whether several threads may read at a time: nothing that they share is changed or measured meanwhile."""
        return self._preprocess is not None and self._preprocess.known

    def picture(self, image: Any) -> images.Picture:
        """The picture of what is no tensor, 16-bit and float images through the window."""
        return images.read(image, self._window)

    def read(self, image: Any) -> Input:
        """Raises HeatmapError if it is not an image, or cannot become the model's input."""
        if isinstance(image, Tensor):
            if problem := unreadable(image, "a plain float tensor (C, H, W)"):
                raise HeatmapError(f"the image is {problem}")
            return _ready(image, self._channels)
        picture, preprocess = self.picture(image), self._preprocess
        if preprocess is None:
            raise HeatmapError(
                "no preprocess is set, so an image cannot become the model's input; pass preprocess= "
                "(gradcam_preprocess in pytest), or a float tensor (C, H, W) that is ready for the model"
            )
        seen = preprocess.read(picture)
        return Input(
            seen.tensor,
            picture.name,
            seen.view,
            seen.carry,
            picture.shape,
            seen.placement,
            identify=lambda: picture.digest,
        )


def batches(inputs: Sequence[Input], size: int) -> list[list[int]]:
    """The places of inputs that can share a forward pass, at most `size` each."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, one in enumerate(inputs):
        by_shape.setdefault(tuple(one.tensor.shape), []).append(place)
    return [places[i : i + size] for places in by_shape.values() for i in range(0, len(places), size)]


def stack(group: Sequence[Input], model: nn.Module) -> Tensor:
    """One batch (B, C, H, W), where the model computes and in its type."""
    batch = torch.stack([one.tensor for one in group])
    for parameter in model.parameters():
        if parameter.is_floating_point():
            return batch.to(parameter.device, parameter.dtype)
    return batch


def _as_channels(channels: Any) -> Channels | None:
    """Raises HeatmapError for anything but one or three channels, from 0."""
    if channels is None:
        return None
    several = tuple(channels) if isinstance(channels, (tuple, list)) else (channels,)
    if len(several) not in (1, 3) or not all(is_whole(each) and each >= 0 for each in several):
        raise HeatmapError(
            f"channels={channels!r:.60} are no channels to look at; expected one, or three for red, green and blue, by their "
            "numbers from 0"
        )
    return tuple(map(int, several))


def _ready(tensor: Tensor, channels: Channels | None = None) -> Input:
    if tensor.ndim == 5 or (tensor.ndim == 4 and tensor.shape[0] in (1, 3) and tensor.shape[1] not in (1, 3)):
        raise HeatmapError(
            f"a tensor of shape {tuple(tensor.shape)} is a video or a volume, which are not supported; expected a float tensor "
            "(C, H, W) of one image; pass one frame or slice, and a model of single images"
        )
    if tensor.ndim != 3 or not tensor.is_floating_point() or tensor.numel() == 0:
        raise HeatmapError(
            f"a {tensor.dtype} tensor of shape {tuple(tensor.shape)} is not a model input; expected a float tensor "
            "(C, H, W) of one image" + ("; use batch() for several" if tensor.ndim == 4 else "")
        )
    if not all_finite(tensor):
        raise HeatmapError("the input tensor holds NaN or infinite values; check how it was made")
    own = tensor.detach().clone()
    height, width = own.shape[1:]
    return Input(
        own,
        f"tensor {width}x{height}",
        lambda tensor: (display(tensor, channels), None),
        lambda mask: MaskInView(masks.as_mask(mask, shape=(height, width))),
        identify=lambda: f"sha256 of the tensor {digest(own) or 'unknown'}",
    )


def _takes_grey(model: nn.Module) -> bool:
    """Whether the model's first convolution takes one channel."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels == 1
    return False
