#!/usr/bin/env bash
# `from scipy.ndimage import label` loads NumPy's Fortran compiler front end (numpy.f2py), numpy.testing and unittest: SciPy's
# layer for the array API standard looks every public name of NumPy up, and NumPy loads those submodules where they are
# named. `scipy.signal.fftconvolve` brings scipy.stats, optimize, integrate and interpolate besides. A pytest plugin that
# needs one of the two loads them all at each start, and one that asks sys.modules for "unittest" is misled.
# Source: scipy/_lib/array_api_compat/_internal.py (clone_module), numpy/__init__.py (__getattr__).
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(scipy==1.17.1 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python - <<'PYTHON'
import subprocess
import sys
from importlib.metadata import version

LOOKED_FOR = ("numpy.f2py", "numpy.testing", "unittest", "scipy.stats", "scipy.optimize", "scipy.integrate")


def loaded(statement: str) -> list[str]:
    code = f"import sys; {statement}; print(*[name for name in {LOOKED_FOR} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


print("scipy", version("scipy"), "numpy", version("numpy"))
print("expected: none of", ", ".join(LOOKED_FOR))
seen = {each: loaded(each) for each in ("import numpy", "from scipy.ndimage import label", "from scipy.signal import fftconvolve")}
for statement, names in seen.items():
    print(f"seen: {statement}: {', '.join(names) or 'none'}")
assert seen["import numpy"] == []
assert seen["from scipy.ndimage import label"] == ["numpy.f2py", "numpy.testing", "unittest"]
assert seen["from scipy.signal import fftconvolve"] == list(LOOKED_FOR)
PYTHON
