"""The page in Chromium, opened from disk as its readers open it."""

import json
from dataclasses import replace

import pytest

from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import Report, Run
from pytest_gradcam.report.write import write
from tests.accessibility import grave_problems, seen_as

HOSTILE = "test_a.py::test_it[<img src=x onerror=alert(1)>]"
#: As pytest may name a parameter: every sign that means something in a URL.
PICTURE = "test_a.py-test_it[50%#?&=ü]-1-overlap.png"
RUN = Run(id="1", started="2026-01-02T03:04:05+00:00", ended="2026-01-02T03:05:05+00:00")


def check(kind="overlap", outcome="passed", **changes):
    record = Record(check=kind, measure="IoU", outcome=outcome, figure=0.4, bound=0.3, number=1, model="Net")
    return replace(record, **changes)


CHECKS = (
    check(
        test=HOSTILE, outcome="failed", requirements=("transparency",), image="<b>.png", picture=f"pictures/{PICTURE}"
    ),
    check("focus_within", test="test_b.py::test_cat", model="Other", image="cat.png"),
    check("focus_within", test="test_b.py::test_dog", outcome="invalid", figure=None, reason="the mask has no pixel"),
)


@pytest.fixture
def open_page(browser, tmp_path):
    """Writes a report of the checks, opens its page, and afterwards asserts that the browser had nothing to say."""

    def opened(*checks):
        import numpy as np
        from PIL import Image

        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.fromarray(np.full((59, 96, 3), 128, np.uint8)).save(tmp_path / "pictures" / PICTURE)
        write(Report((replace(RUN, checks=checks),)), tmp_path)
        browser.get_log("performance")
        browser.get((tmp_path / "index.html").as_uri())
        return browser

    yield opened
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent" and m["params"]["documentURL"].startswith("file://")
    ]
    assert urls
    assert [url for url in urls if not url.startswith(("file://", "data:"))] == []


def shown(browser):
    """The tests whose checks are shown."""
    return [one.text for one in browser.find_elements("css selector", "#list .test")]


def choose(browser, name, value):
    from selenium.webdriver.support.select import Select

    Select(browser.find_element("name", name)).select_by_visible_text(value)


def test_a_hostile_name_is_inert_and_readable(open_page):
    browser = open_page(*CHECKS)
    assert shown(browser)[0] == HOSTILE
    assert browser.find_elements("css selector", "#list img[src=x]") == []
    assert browser.execute_script("return window.alerted") is None  # and an alert would make every call here fail


def test_all_checks_are_shown_worst_first_with_the_sentence_and_the_numbers(open_page):
    browser = open_page(*CHECKS)
    assert shown(browser) == [HOSTILE, "test_b.py::test_dog", "test_b.py::test_cat"]
    card = browser.find_element("css selector", "#list li")
    assert "the IoU of the attention is 0.4; expected at least 0.3" in card.text
    assert browser.find_element("id", "status").text == "3 checks"


def test_the_overview_filters_by_test_function(open_page):
    browser = open_page(*CHECKS)
    rows = browser.find_elements("css selector", "#overview tbody tr")
    assert [row.find_element("css selector", "td").text for row in rows] == ["overlap", "focus_within", "focus_within"]
    rows[-1].find_element("css selector", "button").click()
    assert shown(browser) == ["test_b.py::test_cat"]


def test_only_the_worst_cards_are_unfolded(open_page):
    browser = open_page(*CHECKS)
    opened = browser.find_elements("css selector", "#list details.whole[open]")
    assert len(opened) == 2  # of three, one of which passed
    browser.find_elements("css selector", "#list details.whole > summary")[2].click()
    assert len(browser.find_elements("css selector", "#list details.whole[open]")) == 3


def test_one_file_has_its_pictures_in_it(open_page, tmp_path):
    browser = open_page(*CHECKS)
    write(Report((replace(RUN, checks=CHECKS),)), tmp_path, single=True)
    alone = tmp_path / "alone"
    alone.mkdir()
    (tmp_path / "report.html").rename(alone / "report.html")
    browser.get((alone / "report.html").as_uri())
    image = browser.find_element("css selector", "#list img")
    browser.execute_async_script("arguments[0].decode().then(arguments[1])", image)
    assert image.get_property("naturalWidth") == 96


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("check", "focus_within", ["test_b.py::test_dog", "test_b.py::test_cat"]),
        ("model", "Other", ["test_b.py::test_cat"]),
        ("requirement", "transparency", [HOSTILE]),
    ],
)
def test_the_lists_filter(open_page, name, value, expected):
    browser = open_page(*CHECKS)
    choose(browser, name, value)
    assert shown(browser) == expected
    assert browser.find_element("id", "status").text == f"{len(expected)} of 3 checks"
    browser.find_element("css selector", "button[type=reset]").click()
    browser.execute_async_script("setTimeout(arguments[0], 20)")
    assert len(shown(browser)) == 3


@pytest.mark.parametrize(("words", "expected"), [("CAT", ["test_b.py::test_cat"]), ("<b>", [HOSTILE]), ("nothing", [])])
def test_words_filter_tests_and_images(open_page, words, expected):
    browser = open_page(*CHECKS)
    browser.find_element("name", "words").send_keys(words)
    assert shown(browser) == expected


def test_the_outcomes_filter_from_the_keyboard(open_page):
    browser = open_page(*CHECKS)
    browser.find_element("css selector", "input[value=failed]").send_keys(" ")
    assert shown(browser) == ["test_b.py::test_dog", "test_b.py::test_cat"]
    browser.find_element("css selector", "input[value=invalid]").send_keys(" ")
    assert shown(browser) == ["test_b.py::test_cat"]


def test_a_picture_loads_whatever_its_name_and_says_what_it_shows(open_page):
    browser = open_page(*CHECKS)
    image = browser.find_element("css selector", "#list img")
    browser.execute_async_script("arguments[0].decode().then(arguments[1])", image)
    assert image.get_property("naturalWidth") == 96
    assert image.get_attribute("loading") == "lazy"
    assert "0.4; expected at least 0.3" in image.get_attribute("alt")


def test_every_control_has_a_name(open_page):
    browser = open_page(*CHECKS)
    controls = browser.find_elements("css selector", "input, select, button:not([hidden]), a, summary, svg[role=img]")
    assert len(controls) > 15
    assert [one.get_attribute("outerHTML") for one in controls if one.is_displayed() and not one.accessible_name] == []


def test_ten_thousand_checks_are_made_as_they_are_asked_for(open_page):
    browser = open_page(*(check(test=f"test_a.py::test_{i:05}") for i in range(10_000)))
    assert len(shown(browser)) == 50
    more = browser.find_element("id", "more")
    assert more.text == "Show 50 more of 9,950"
    more.send_keys(" ")
    assert len(shown(browser)) == 100
    assert browser.switch_to.active_element.get_attribute("class") == "check passed"  # a screen reader goes on here
    browser.find_element("name", "words").send_keys("09999")
    assert shown(browser) == ["test_a.py::test_09999"]


def test_light_and_dark_follow_the_readers_system(open_page):
    browser = open_page(*CHECKS)
    grounds = []
    for scheme in ("light", "dark"):
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        grounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(246, 246, 243)", "rgb(19, 21, 24)"]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 320)])
def test_nothing_serious_keeps_anyone_from_reading_it(open_page, scheme, width):
    browser = open_page(*CHECKS)
    seen_as(browser, scheme, width)
    assert grave_problems(browser) == []
    seen_as(browser, "light", 1280)


def test_an_empty_report_opens(open_page):
    browser = open_page()
    assert browser.find_element("css selector", "h1").text == "No check was made"
    assert browser.find_element("id", "status").text == "0 checks"
