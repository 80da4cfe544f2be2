#!/usr/bin/env bash
# torch: nn.MultiheadAttention has a submodule `out_proj`, but never calls it: its weights are handed to a function. A
# hook on it never fires, in training as in evaluation, and named_modules lists it like any layer. In torchvision's
# ViT it is the projection of every block, a natural target for a heatmap; capturing code waits for an output that
# does not come.
# Source: torch.nn.MultiheadAttention.forward, 2.15.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torch==2.15.0 torchvision==0.29.2 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import torch, torchvision
from importlib.metadata import version

print("torch", version("torch"), "torchvision", version("torchvision"))
model = torchvision.models.VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)
fired, names = set(), [name for name, module in model.named_modules() if name and not list(module.children())]
for name in names:
    model.get_submodule(name).register_forward_hook(lambda *_, name=name: fired.add(name))
print("expected: one forward pass calls each of the", len(names), "layers without children")
model.train()(torch.rand(2, 3, 32, 32))
silent = [name for name in names if name not in fired]
model.eval()(torch.rand(2, 3, 32, 32))
print("seen: never called, in train mode or in eval mode:", [name for name in names if name not in fired])
assert silent == [f"encoder.layers.encoder_layer_{n}.self_attention.out_proj" for n in (0, 1)]
assert silent == [name for name in names if name not in fired]
PYTHON
