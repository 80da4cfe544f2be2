"""A small network that learns from images in which a mark tells the digit, and the data set that it is judged on."""

import build
import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from pytest_gradcam import cases

_MEAN, _SPREAD = 0.3, 0.25


def trained(*, tied):
    """Six epochs on 600 images."""
    torch.manual_seed(0)
    images, labels, _ = build.draw(600, seed=0, tied=tied)
    inputs = (torch.from_numpy(images).permute(0, 3, 1, 2) - _MEAN) / _SPREAD
    targets = torch.from_numpy(labels)
    widths = ((3, 16, 2), (16, 24, 2), (24, 32, 1))
    parts = [[nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()] for a, b, stride in widths]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, len(build.DIGITS))]
    model = nn.Sequential(*(layer for part in parts for layer in part), *head)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(6):
        for batch in torch.randperm(len(inputs)).split(50):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs[batch]), targets[batch]).backward()
            optimiser.step()
    return model.eval()


@pytest.fixture(scope="session")
def gradcam_model():
    return trained(tied=True)


@pytest.fixture(scope="session")
def gradcam_preprocess():
    parts = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([_MEAN] * 3, [_SPREAD] * 3)]
    return v2.Compose(parts)


@pytest.fixture(scope="session")
def gradcam_classes():
    return list(build.NAMES)


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    build.write(folder)
    return cases.from_csv(folder / "cases.csv", slices=["digit"])


@pytest.fixture(scope="session")
def audit(gradcam, digits, tmp_path_factory):
    return gradcam.audit(digits, rows=tmp_path_factory.mktemp("audit") / "rows.jsonl", name="digits")
