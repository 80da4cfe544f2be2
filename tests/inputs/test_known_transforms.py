"""Which pipelines need no checking: those of known steps alone, with nothing hung on to them."""

import torch
from torchvision.transforms import v2

from pytest_gradcam.inputs.known_transforms import description


def test_a_known_step_with_a_hook_or_another_forward_is_no_known_one():
    parts = [v2.Resize(24), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    assert description(v2.Compose(parts))
    handle = parts[0].register_forward_hook(lambda *_: None)
    assert not description(v2.Compose(parts))
    handle.remove()
    assert description(v2.Compose(parts))
    parts[0].forward = lambda image: image
    assert not description(v2.Compose(parts))


def test_a_subclass_is_no_known_step():
    class Resize(v2.Resize):
        pass

    assert description(v2.Resize(24))
    assert not description(v2.Compose([Resize(24)]))
