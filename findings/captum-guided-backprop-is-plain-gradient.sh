#!/usr/bin/env bash
# captum's GuidedBackprop changes the backward pass of nn.ReLU modules. torchvision's GoogLeNet calls F.relu as a
# function, so on it there is nothing to change, and 'guided backpropagation' is the plain gradient, bit for bit, with
# no warning. Comparing the two methods, or guided maps of two architectures, compares nothing.
# Source: captum.attr.GuidedBackprop (captum 0.9.0), BasicConv2d in torchvision/models/googlenet.py (0.29.2).
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(captum==0.9.0 torch==2.15.0 torchvision==0.29.2)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import warnings
import torch, torchvision
from importlib.metadata import version
from captum.attr import GuidedBackprop, Saliency

print("captum", version("captum"), "torchvision", version("torchvision"))
print("expected: guided backpropagation differs from the gradient on every network of ReLUs, or says why it cannot")
same = {}
for name, options in (("resnet18", {}), ("googlenet", {"init_weights": False, "aux_logits": False})):
    torch.manual_seed(0)
    model, image = getattr(torchvision.models, name)(**options).eval(), torch.rand(1, 3, 64, 64)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        guided = GuidedBackprop(model).attribute(image, target=1)
    gradient = Saliency(model).attribute(image, target=1, abs=False)
    same[name] = torch.equal(guided, gradient)
    about = [str(one.message) for one in said if "relu" in str(one.message).lower() and "functional" in str(one.message).lower()]
    print(f"seen: {name}: equal to the plain gradient: {same[name]}; warnings about functional ReLUs: {len(about)}")
    assert not about
assert same == {"resnet18": False, "googlenet": True}
PYTHON
