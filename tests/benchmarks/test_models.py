"""The table of kinds of models and questions: a cell is a number or a refusal, and the page has one for each."""

import re
from pathlib import Path

import pytest

from benchmarks import models
from pytest_gradcam import FocusError, HeatmapError

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def raises(error):
    raise error


@pytest.mark.parametrize(
    ("ask", "pattern"),
    [
        (lambda: None, r"\d+"),
        (lambda: raises(FocusError("the margin falls")), r"\d+"),
        (
            lambda: raises(HeatmapError("no verdict on ignores: there is | no layer\n  target")),
            "refused: there is / no layer",
        ),
        (lambda: raises(HeatmapError("word " * 40)), r"refused: (word ){20,26}\.\.\."),
    ],
)
def test_a_cell_is_a_number_or_a_refusal(ask, pattern):
    assert re.fullmatch(pattern, models.cell(ask))


def test_every_kind_has_a_whole_row_on_the_page(tmp_path):
    segmenter = next(kind for kind in models.KINDS if kind.name.startswith("segmenter"))
    table = models._HEAD + PAGE.read_text("utf-8").partition(models._HEAD)[2].partition("\n\n")[0]
    rows = [line.strip("|").split("|") for line in [*table.splitlines(), models.row(segmenter, tmp_path)]]
    assert {row[0].strip() for row in rows} >= {kind.name for kind in models.KINDS}
    for row in rows[2:]:
        assert len(row) == 2 + len(models.QUESTIONS)
        assert all(re.fullmatch(r"\d+( \(\d+\.\d passes\))?|refused: .+", cell.strip()) for cell in row[2:])
