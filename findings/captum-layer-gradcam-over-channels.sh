#!/usr/bin/env bash
# captum's LayerGradCam takes axis 1 of the layer's output for the channels, whatever the layout. Swin's blocks return
# (batch, rows, columns, channels), ViT's (batch, tokens, channels): it averages gradients over columns and channels,
# sums over rows or tokens, and returns a map along the channels. LayerAttribution.interpolate then makes a full-size
# picture of it.
# Source: captum.attr.LayerGradCam and LayerAttribution, captum 0.9.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(captum==0.9.0 timm==1.0.31 torch==2.15.0 torchvision==0.29.2)
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
from captum.attr import LayerAttribution, LayerGradCam

print("captum", version("captum"), "timm", version("timm"))
print("expected: (1, 1, 7, 7) for Swin's last stage and something of 196 or 197 tokens for ViT, or an error")
image, seen = torch.rand(1, 3, 224, 224), {}
swin = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False).eval()
vit = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()
for name, model, layer in (("swin", swin, swin.layers[-1]), ("vit", vit, vit.blocks[-1].norm1)):
    heatmap = LayerGradCam(model, layer).attribute(image, target=1)
    seen[name] = tuple(heatmap.shape)
    print("seen:", name, seen[name])
    if name == "swin":
        print("      interpolated:", tuple(LayerAttribution.interpolate(heatmap, (224, 224)).shape))
assert seen == {"swin": (1, 1, 7, 768), "vit": (1, 1, 192)}
PYTHON
