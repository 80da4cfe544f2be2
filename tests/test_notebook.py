"""The notebook of examples/ is what its cells print today, word for word; figures may differ by rounding."""

import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples/notebook/attention.ipynb"
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def test_the_cells_print_what_is_stored():
    pytest.importorskip("efficientnet_lite_pytorch")
    cells = [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    names, printed = {}, 0
    for cell in cells:
        out = io.StringIO()
        with redirect_stdout(out):
            exec("".join(cell["source"]), names)
        stored = "".join("".join(each["text"]) for each in cell["outputs"] if each["output_type"] == "stream")
        printed += bool(stored)
        assert NUMBER.split(out.getvalue()) == NUMBER.split(stored), "execute the notebook again and store it"
        found = [float(number) for number in NUMBER.findall(out.getvalue())]
        assert found == pytest.approx([float(number) for number in NUMBER.findall(stored)], rel=0.05, abs=0.05)
    assert printed == 5


def test_every_code_cell_was_run_in_order_and_there_is_a_picture():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    shown = [each["data"] for cell in cells for each in cell["outputs"] if "data" in each]
    assert any("image/jpeg" in data for data in shown)
    assert not [each for cell in cells for each in cell["outputs"] if each["output_type"] == "error"]
