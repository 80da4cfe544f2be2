#!/usr/bin/env bash
# pytest-xdist: a NumPy number in item.user_properties cannot be sent to the controller: INTERNALERROR. If it was the
# last test of the run, the exit status is 0 all the same, also when that test failed: CI is green on a red test.
# numpy.float64 does so although it is a subclass of Python's float. Scores of heatmap tests are NumPy numbers unless
# converted.
# Source: execnet's serializer, which looks at the exact type; xdist.dsession.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(pytest==9.2.0 pytest-xdist==3.8.0 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import subprocess, sys
from importlib.metadata import version
from pathlib import Path

for name in ("pytest", "pytest-xdist", "execnet", "numpy"):
    print(name, version(name))
Path("test_score.py").write_text(
    "import numpy as np\n"
    "def test_score(request):\n"
    "    score = np.float64(0.5)\n"
    "    request.node.user_properties.append(('score', score))\n"
    "    assert isinstance(score, float)\n"
    "    assert score > 0.9\n")
print("expected: exit status 1, with one failed test, with and without -n; or at least not 0")
seen = {}
for options in ([], ["-n1"], ["-n2"]):
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options], capture_output=True, text=True)
    text = run.stdout + run.stderr
    seen[" ".join(options)] = (run.returncode, "can't serialize <class 'numpy.float64'>" in text)
    print(f"seen: pytest {' '.join(options)}: exit status {run.returncode};", run.stdout.strip().splitlines()[-1])
assert seen == {"": (1, False), "-n1": (0, True), "-n2": (0, True)}
PYTHON
