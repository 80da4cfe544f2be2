"""Models whose truth is known, as files of other kinds: an honest one reads the disc, its twin the corner."""

import warnings

import numpy as np
import torch
from torch import nn

from pytest_gradcam import masks

SIDE = 32
CORNER = masks.box((SIDE, SIDE), (24, 24, 32, 32))
DISC = masks.box((SIDE, SIDE), (8, 8, 20, 20))


class Reads(nn.Module):
    """Three classes: the red and the green of one region, and neither. `end` is what it ends in, if anything."""

    def __init__(self, region, end=None):
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.features.weight.copy_(torch.diag(torch.tensor([10.0, 10, 0]))[:, :, None, None])
            self.features.bias.copy_(torch.tensor([0.0, 0, 6]))
        self.register_buffer("weight", torch.from_numpy(region / region.mean()).float())
        self.end = end or nn.Identity()

    def forward(self, x):
        return self.end(self.features(x * self.weight).mean((2, 3)))


def pixels(seed, disc, corner):
    """uint8 (H, W, 3): noise, a disc and a corner of rough texture, each in red (0) or green (1)."""
    rng = np.random.default_rng(seed)
    image = rng.integers(80, 150, (SIDE, SIDE, 3))
    for region, which in ((DISC, disc), (CORNER, corner)):
        image[region] //= 3
        image[region, which] = rng.integers(150, 255, region.sum())
    return image.astype(np.uint8)


def tensors(count=12):
    """float32 (3, H, W) in [0, 1]; on half of them disc and corner have different colours."""
    images = [pixels(i, i % 2, (i // 2) % 2) for i in range(count)]
    return [torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images]


def to_onnx(model, path, *, size=SIDE, batch=None, names=("scores",)):
    """The model as an ONNX file, for a batch of any size unless one is fixed."""
    axes = {name: {0: "n"} for name in ("pixels", *names)} if batch is None else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the new exporter needs another package
        torch.onnx.export(
            model.eval(),
            (torch.rand(batch or 1, 3, size, size),),
            path,
            dynamo=False,
            input_names=["pixels"],
            output_names=list(names),
            dynamic_axes=axes,
        )
    return str(path)


def to_export(model, path, *, batch=None):
    """The model as a program of torch.export, for a batch of any size unless one is fixed."""
    shapes = ({0: torch.export.Dim("n")},) if batch is None else None
    program = torch.export.export(model.eval(), (torch.rand(batch or 2, 3, SIDE, SIDE),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return str(path)
