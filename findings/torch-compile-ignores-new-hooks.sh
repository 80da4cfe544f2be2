#!/usr/bin/env bash
# torch.compile: a hook that is registered after the first compiled call does not fire, until something else, such as
# an input of another size, leads to a new compilation. From then on it does: the same code, two behaviours. A CAM on
# a compiled model in production may work in a test with odd image sizes and capture nothing otherwise.
# Source: torch._dynamo (skip_nnmodule_hook_guards), 2.15.0. Run with backend 'eager', which needs no C++ compiler.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torch==2.15.0 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import torch
from torch import nn
from importlib.metadata import version

print("torch", version("torch"))
model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
compiled, fired, seen = torch.compile(model, backend="eager"), [], {}
compiled(torch.rand(1, 3, 8, 8))
model[0].register_forward_hook(lambda *_: fired.append(1))
print("expected: the hook fires in each call, or in none")
for size in (8, 8, 9):
    fired.clear()
    compiled(torch.rand(1, 3, size, size))
    seen.setdefault(size, []).append(len(fired))
    print(f"seen: image of {size} x {size}: the hook fired {len(fired)} time(s)")
assert seen == {8: [0, 0], 9: [1]}
PYTHON
