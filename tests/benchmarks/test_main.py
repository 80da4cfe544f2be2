"""The one entry lists all benchmarks, and shows the options of each."""

import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks
from benchmarks.__main__ import BENCHMARKS, main

ROOT = Path(benchmarks.__file__).parents[1]


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_without_a_name_it_lists_all_benchmarks_in_one_line_each(arguments, capsys):
    main(arguments)
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == list(BENCHMARKS)
    assert all(len(line.split(maxsplit=1)[1]) > 20 for line in lines)


def test_the_list_loads_no_torch():
    code = "import sys; from benchmarks.__main__ import main; main([]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_it_is_a_command():
    done = subprocess.run([sys.executable, "-m", "benchmarks"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "python -m benchmarks NAME [options]" in done.stdout


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(SystemExit, match="there is no benchmark 'costs'; expected one of cost, suite"):
        main(["costs"])


@pytest.mark.parametrize("name", BENCHMARKS)
def test_help_of_each(name, capsys):
    if name == "shortcuts":
        pytest.importorskip("sklearn")
    if name in ("layers", "planted"):
        pytest.importorskip("timm")
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: python -m benchmarks {name}" in capsys.readouterr().out
