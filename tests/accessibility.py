"""What axe finds wrong with a page, which knows what screen readers, keyboards and weak eyes need."""

from importlib.resources import files

import pytest


def grave_problems(browser):
    """The rules that the open page breaks gravely, each with the first element that does."""
    pytest.importorskip("axe_core_python")
    browser.execute_script((files("axe_core_python") / "axe.min.js").read_text("utf-8"))
    found = browser.execute_async_script("axe.run(document).then(found => arguments[0](found))")
    assert len(found["passes"]) > 15
    # What scrolls and cannot be reached by keyboard is serious to later versions of axe only.
    grave = {"serious", "critical", "scrollable-region-focusable"}
    problems = [each for each in found["violations"] if {each["impact"], each["id"]} & grave]
    return [(each["id"], each["nodes"][0]["html"]) for each in problems]


def seen_as(browser, scheme, width):
    """The page in a light or dark scheme, at a width in pixels."""
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    browser.set_window_size(width, 1000)
