#!/usr/bin/env bash
# Hypothesis re-seeds `random` and NumPy before each example, with the same seed, and leaves torch alone. So noise
# drawn from NumPy inside a @given test is the same noise in every example, while dropout and torch noise differ from
# example to example: what looks like ten random draws is one, and what fails through torch's generator may not be
# found again when shrinking.
# Source: hypothesis.internal.entropy (register_random would add torch's generator), 6.170.17.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(hypothesis==6.170.17 numpy==2.4.6 torch==2.15.0)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import random
import numpy as np, torch
from importlib.metadata import version
from hypothesis import given, settings, strategies as st

for name in ("hypothesis", "numpy", "torch"):
    print(name, version(name))
draws = {"random": [], "numpy": [], "torch": []}

@settings(max_examples=10, database=None)
@given(st.integers())
def test(number):
    draws["random"].append(random.random())
    draws["numpy"].append(float(np.random.rand()))
    draws["torch"].append(float(torch.rand(())))

test()
print("expected: the three generators are treated alike: all fresh in each example, or all seeded")
seen = {name: len(set(values)) for name, values in draws.items()}
print(f"seen: different values in {len(draws['torch'])} examples:", seen)
assert seen["random"] == 1 and seen["numpy"] == 1 and seen["torch"] == len(draws["torch"]) == 10
PYTHON
