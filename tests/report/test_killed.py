"""A process that is killed while it writes leaves files that parse."""

import json
import subprocess
import sys

SCRIPT = """
import os, random, signal, sys, time
from pathlib import Path
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import Run
from pytest_gradcam.report.collect import Collector, Phase
from pytest_gradcam.report.write import write

def check(i):
    return Record(check="overlap", measure="IoU", outcome="passed", figure=0.4, bound=0.3, test=f"t{i}", number=1)

def work(directory):
    collector = Collector(Run(id="1"), directory)
    for i in range(40):
        collector.add(Phase(f"t{i}", "teardown", "passed", records=[check(i)]))
    write(collector.report(ended="2026-01-02T03:04:05+00:00", exit_status=0), directory)

work(Path(sys.argv[1], "first"))  # what is imported lazily is there before the first child
begun = time.perf_counter()
work(Path(sys.argv[1], "second"))
once = time.perf_counter() - begun
chance = random.Random(0)
for turn in range(50):
    directory = Path(sys.argv[1], str(turn))
    child = os.fork()
    while child == 0:
        work(directory)
    time.sleep(chance.uniform(0, 3 * once))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_fifty_kills_at_any_moment(tmp_path):
    from pytest_gradcam.report import load

    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True, timeout=120)
    parsed = recovered = 0
    for directory in tmp_path.iterdir():
        for path in directory.glob("*.json"):
            json.loads(path.read_bytes())
            parsed += 1
        for path in directory.glob("*.jsonl"):
            *whole, _ = path.read_bytes().split(
                b"\n"
            )  # a kill may cut the last line, where it crosses a page of memory
            for line in whole:
                json.loads(line)
        page = directory / "index.html"
        assert not page.exists() or page.read_text().endswith("</html>")
        if (directory / "journal.jsonl").exists() or (directory / "evidence.json").exists():
            recovered += len(load(directory).records) > 0
    assert parsed > 20
    assert recovered > 30
