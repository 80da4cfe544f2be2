"""The picture of the ladder: a bar for each range of the truth, divided by what was said."""

import xml.etree.ElementTree as ET

import pytest

pytest.importorskip("sklearn")

from benchmarks.shortcuts.ladder_figures import Asked
from benchmarks.shortcuts.ladder_picture import picture

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_divided_by_what_was_said():
    asked = [
        Asked("50 images", 0.0, claim) for claim in ("does not rely", "does not rely", "does not rely", "undecided")
    ]
    asked += [Asked("200 images", 0.5, "relies"), Asked("half mask", 0.5, "relies")]
    root = ET.fromstring(picture(asked))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts[:4] == ["relies", "relies weakly", "undecided", "does not rely"]
    assert texts[4:] == ["50 images", "0.00 to 0.03: 4", "1", "3", "200 images", "0.40 to 1.00: 1", "1"]
    drawn = list(root.iter(f"{SVG}rect"))[5:]  # after the ground and the legend
    bars = [(float(bar.get("x")), float(bar.get("width")), bar.get("fill")) for bar in drawn]
    assert bars == [(150, 110, "#d9d9d9"), (260, 330, "#2b6cb0"), (150, 440, "#a50f15")]
