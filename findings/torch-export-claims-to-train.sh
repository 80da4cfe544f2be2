#!/usr/bin/env bash
# torch.export: the module of a program that was exported in eval mode says training == True, although its dropout is
# off for good; and .eval(), the first thing that evaluation code calls, raises NotImplementedError. Code that reads
# the flag refuses or mistreats an innocent model.
# Source: torch.export.ExportedProgram.module, 2.15.0.
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
model, image = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Dropout(0.5)).eval(), torch.rand(1, 3, 2, 2)
module = torch.export.export(model, (image,)).module()
print("expected: training == False, and eval() changes nothing")
try:
    module.eval()
    said = "no error"
except NotImplementedError as error:
    said = f"{type(error).__name__}: {error}"
same = torch.equal(module(image), model(image)) and torch.equal(module(image), module(image))
print(f"seen: training == {module.training}; outputs equal those in eval mode: {same}; eval(): {said}")
assert module.training and same and said.startswith("NotImplementedError")
PYTHON
