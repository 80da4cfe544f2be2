#!/usr/bin/env bash
# torchcam chooses a target layer by itself. For timm's ViT it takes the last output with four dimensions, which is
# the normalised keys of the attention heads, (batch, heads, tokens, head size), and treats tokens x head size as an
# image. The result has the form of a heatmap, 197 x 64, in which no axis is a place; nothing is raised. For Swin,
# whose features are (batch, rows, columns, channels), the map is columns x channels.
# Source: torchcam.methods._utils.locate_candidate_layer, torchcam 0.5.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torchcam==0.5.0 timm==1.0.31 torch==2.15.0 torchvision==0.29.2)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import torch, timm
from importlib.metadata import version
from torchcam.methods import GradCAM

print("torchcam", version("torchcam"), "timm", version("timm"))
print("expected: a map of the image, 14 x 14 or 7 x 7, or an error")
seen = {}
for name in ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"):
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    with GradCAM(model) as cam:
        heatmap = cam(1, model(torch.rand(1, 3, 224, 224)))[0]
        seen[name] = (cam.target_names, tuple(heatmap.shape))
        print("seen:", name, *seen[name])
assert seen["vit_tiny_patch16_224"] == (["blocks.11.attn.k_norm"], (1, 197, 64))
assert seen["swin_tiny_patch4_window7_224"] == (["norm"], (1, 7, 768))
PYTHON
