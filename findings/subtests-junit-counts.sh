#!/usr/bin/env bash
# pytest's subtests with --junitxml: a test with three subtests, one of which fails, is one testcase with two failures
# in it (the subtest and 'contains 1 failed subtest') in a suite that says tests="4" failures="2". Which subtest
# failed is not named. One test over many images as subtests cannot be read back image by image; dashboards count
# twice.
# Source: _pytest/subtests.py and _pytest/junitxml.py, 9.2.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(pytest==9.2.0)
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

print("pytest", version("pytest"))
Path("test_images.py").write_text(
    "def test_images(subtests):\n"
    "    for name, on_object in (('cat', True), ('dog', False), ('cow', True)):\n"
    "        with subtests.test(image=name):\n"
    "            assert on_object\n")
run = subprocess.run([sys.executable, "-m", "pytest", "-q", "--junitxml", "out.xml"], capture_output=True, text=True)
text, suite = Path("out.xml").read_text(), ElementTree.parse("out.xml").getroot().find("testsuite")
cases = suite.findall("testcase")
print("expected: as many testcases as the suite counts, with the failed one named")
print("terminal:", run.stdout.strip().splitlines()[-1])
print(f"seen: tests={suite.get('tests')} failures={suite.get('failures')}; testcases {len(cases)}; failures in it "
      f"{len(cases[0].findall('failure'))}; 'dog' in a name, message or attribute: "
      f"{any('dog' in value for one in suite.iter() for value in one.attrib.values())}")
assert (suite.get("tests"), suite.get("failures"), len(cases), len(cases[0].findall("failure"))) == ("4", "2", 1, 2)
assert not any("dog" in value for one in suite.iter() for value in one.attrib.values())
PYTHON
