#!/usr/bin/env bash
# pytest-rerunfailures with --junitxml: a try that failed and was run again is written as a testcase with no failure
# in it, under the name of the test, next to the last try. A reader of the file sees three passes in a suite that says
# tests="1". Flaky checks of a stochastic model look better than stable ones. User properties of all tries add up,
# too.
# Source: _pytest/junitxml.py, which knows no 'rerun' outcome.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(pytest==9.2.0 pytest-rerunfailures==16.7)
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
from xml.etree import ElementTree

for name in ("pytest", "pytest-rerunfailures"):
    print(name, version(name))
Path("test_flaky.py").write_text(
    "tries = []\n"
    "def test_flaky(request):\n"
    "    tries.append(1)\n"
    "    request.node.user_properties.append(('try', len(tries)))\n"
    "    assert len(tries) == 3\n")
subprocess.run([sys.executable, "-m", "pytest", "-q", "--reruns", "2", "--junitxml", "out.xml"], capture_output=True)
suite = ElementTree.parse("out.xml").getroot().find("testsuite")
print("expected: one testcase, or three of which two say that they failed; each with the property of its own try")
cases = suite.findall("testcase")
failed = [case for case in cases if case.find("failure") is not None or case.find("rerunFailure") is not None]
tries = [[one.get("value") for one in case.iter("property")] for case in cases]
print(f"seen: tests={suite.get('tests')}, testcases {len(cases)}, with a failure {len(failed)}, property 'try' {tries}")
assert suite.get("tests") == "1" and len(cases) == 3 and not failed
assert tries == [["1"], ["1", "2"], ["1", "2", "3"]]
PYTHON
