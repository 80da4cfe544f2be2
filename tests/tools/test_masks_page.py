"""The page for drawing masks, in Chromium: by mouse and by keyboard, with undo, and with a server that is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from pytest_gradcam import masks
from pytest_gradcam.cli import main
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.tools import mask_proposals
from pytest_gradcam.tools.mask_store import MaskStore, drawables
from tests.accessibility import grave_problems, seen_as


@pytest.fixture
def photos(tmp_path):
    """Two images: one with a bright square on grey, one with bars above and below."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(90, 110, (120, 160, 3)).astype(np.uint8)
    pixels[40:80, 60:110] = (230, 40, 40)
    Image.fromarray(pixels).save(folder / "a.png")
    barred = rng.integers(60, 200, (120, 160, 3)).astype(np.uint8)
    barred[:16], barred[-16:] = 0, 0
    Image.fromarray(barred).save(folder / "b.png")
    return folder


class Server:
    """`pytest-gradcam masks` in a process of its own, at one port."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._folder = folder
        self.start()

    def start(self):
        command = [sys.executable, "-m", "pytest_gradcam", "masks", str(self._folder), "--no-browser", "--json"]
        self.process = subprocess.Popen([*command, "--port", str(self._port)], stdout=subprocess.PIPE, text=True)
        text = ""
        while not text.rstrip().endswith("}"):
            line = self.process.stdout.readline()
            assert line, text
            text += line
        self.address = json.loads(text)["address"]

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def content(self):
        return json.loads((self._folder / "annotations.json").read_text())


@pytest.fixture
def server(photos):
    running = Server(photos)
    yield running
    running.kill()


class Page:
    """What a person does on the page."""

    def __init__(self, browser, server):
        from selenium.webdriver.support.ui import WebDriverWait

        self.browser, self.server = browser, server
        self._wait = WebDriverWait(browser, 20, 0.05)
        self.open()

    def open(self):
        self.browser.get(self.server.address)
        self.until(lambda: "Saved to" in self.status and self.browser.execute_script("return byId('image').complete"))

    @property
    def status(self):
        return self.browser.find_element("id", "saved").text

    def until(self, holds):
        self._wait.until(lambda _: holds())

    def saved(self, count):
        """Wait until this many regions are in the file."""
        self.until(lambda: "Saved to" in self.status and len(self.server.content()["annotations"]) == count)

    def drag(self, start, end):
        self._pointer([("move", start), ("down", None), ("move", end), ("up", None)])

    def click(self, *places):
        self._pointer([step for place in places for step in (("move", place), ("down", None), ("up", None))])

    def _pointer(self, steps):
        from selenium.webdriver.common.action_chains import ActionChains

        image = self.browser.find_element("id", "image")
        scale = image.size["width"] / 160
        chain = ActionChains(self.browser, duration=0)
        for kind, place in steps:
            if kind == "move":
                x, y = place[0] * scale - image.size["width"] / 2, place[1] * scale - image.size["height"] / 2
                chain.move_to_element_with_offset(image, round(x), round(y))
            else:
                (chain.click_and_hold if kind == "down" else chain.release)()
        chain.perform()

    def type(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser, duration=0).send_keys(*keys).perform()

    def held(self, modifier, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser, duration=0).key_down(modifier).send_keys(*keys).key_up(modifier).perform()

    def focus(self):
        self.browser.execute_script("byId('canvas').focus()")


@pytest.fixture
def page(browser, server):
    return Page(browser, server)


def test_boxes_polygons_and_proposals_become_masks(page, server):
    page.drag((20, 10), (50, 30))
    page.saved(1)
    page.focus()
    page.type("p")
    page.click((100, 90), (150, 90), (150, 115))
    page.type("f")
    page.saved(2)
    page.type("s")
    page.browser.execute_script("byId('kind').value = 'felzenszwalb'")
    page.click((85, 60))
    page.saved(3)
    drawn = [masks.from_coco(annotation, (120, 160)) for annotation in server.content()["annotations"]]
    assert masks.box((120, 160), (20, 10, 50, 30)).sum() == pytest.approx(drawn[0].sum(), rel=0.1)
    assert drawn[1].sum() == pytest.approx(50 * 25 / 2, rel=0.15)
    square = masks.box((120, 160), (60, 40, 110, 80))
    assert (drawn[2] & square).sum() / (drawn[2] | square).sum() > 0.8  # the segments' borders are blurred
    assert [one["file_name"] for one in server.content()["images"]] == ["a.png", "b.png"]


def test_the_whole_of_it_by_keyboard(page, server):
    """A box without the mouse, a label, undo, redo, and the next image's bars as a proposal."""
    from selenium.webdriver.common.keys import Keys

    page.focus()
    page.type(Keys.ARROW_LEFT, Keys.ENTER)  # the cursor begins in the middle
    page.held(Keys.SHIFT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    page.type(Keys.ENTER)
    page.saved(1)
    [annotation] = server.content()["annotations"]
    assert annotation["bbox"] == [80, 60, 20, 10]
    page.held(Keys.CONTROL, "z")
    page.saved(0)
    page.held(Keys.CONTROL, "y")
    page.saved(1)
    page.type(".", "s")
    page.type(Keys.ARROW_UP)
    page.held(Keys.SHIFT, *[Keys.ARROW_UP] * 5)
    page.type(Keys.ENTER)
    page.saved(2)
    bars = masks.from_coco(server.content()["annotations"][1], (120, 160))
    assert (bars == masks.invalid_pixels(server._folder / "b.png")).all()


def test_killed_three_times_while_drawing_nothing_is_lost(page, server):
    page.type("b")
    for round_ in range(3):
        page.drag((10 + 40 * round_, 10), (30 + 40 * round_, 30))
        page.saved(2 * round_ + 1)
        server.kill()
        page.drag((10 + 40 * round_, 60), (30 + 40 * round_, 80))  # nobody hears of it
        page.until(lambda: "NOT SAVED" in page.status)
        server.start()
        page.browser.execute_script("window.onbeforeunload = null")
        page.open()
        page.saved(2 * round_ + 2)
    page.focus()
    page.type("p")
    page.click((20, 90), (60, 90))  # half a polygon
    page.until(lambda: (server._folder / "annotations.json.draft").is_file() and "Saved to" in page.status)
    page.until(lambda: len(json.loads((server._folder / "annotations.json.draft").read_text())["a.png"]["points"]) == 2)
    server.kill()
    server.start()
    page.open()
    page.focus()
    page.type("p")
    page.click((60, 110))
    page.type("f")
    page.saved(7)
    assert len(server.content()["annotations"][-1]["segmentation"][0]) == 6
    assert not (server._folder / "annotations.json.draft").exists()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 320)])
def test_nothing_serious_keeps_anyone_from_drawing(page, scheme, width):
    page.drag((20, 10), (50, 30))
    page.saved(1)
    page.browser.execute_script("document.querySelector('details').open = true")
    seen_as(page.browser, scheme, width)
    assert grave_problems(page.browser) == []
    seen_as(page.browser, "light", 1280)


def test_only_the_address_with_the_token_is_answered(server):
    def status(url, **headers):
        try:
            return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10).status
        except urllib.error.HTTPError as error:
            return error.code

    base, _, token = server.address.partition("/?token=")
    assert status(server.address) == 200
    for path in ("/", "/state", "/image?image=0", "/state?token=wrong"):
        assert status(base + path) == 403
    assert status(server.address, Host="evil.example") == 403
    assert status(f"{base}/image?image=7&token={token}") == 422
    assert status(f"{base}/etc/passwd?token={token}") == 404
    form = urllib.request.Request(f"{base}/save?token={token}", data=b"{}", headers={"Content-Type": "text/plain"})
    with pytest.raises(urllib.error.HTTPError, match="415"):
        urllib.request.urlopen(form, timeout=10)


class TestStore:
    def test_other_images_and_parts_of_the_file_stay(self, photos):
        file = photos / "annotations.json"
        other = {"id": 5, "image_id": 9, "category_id": 3, "bbox": [0, 0, 2, 2]}
        content = {
            "info": {"year": 2026},
            "images": [{"id": 9, "file_name": "gone.png", "width": 8, "height": 8}],
            "categories": [{"id": 3, "name": "cat"}],
            "annotations": [other],
        }
        file.write_text(json.dumps(content))
        store = MaskStore(file, drawables([photos], photos))
        store.save(
            0,
            [{"label": "cat", "bbox": [10, 10, 20, 20]}, {"label": "dog", "segmentation": [[0, 0, 9, 0, 9, 9]]}],
            None,
        )
        written = json.loads(file.read_text())
        assert written["info"] == {"year": 2026}
        assert written["annotations"][0] == other
        assert [one["category_id"] for one in written["annotations"]] == [3, 3, 4]
        assert len({one["id"] for one in written["annotations"]}) == 3
        assert [one["label"] for one in MaskStore(file, drawables([photos], photos)).annotations(0)] == ["cat", "dog"]

    def test_what_is_no_region_changes_nothing(self, photos):
        file = photos / "annotations.json"
        store = MaskStore(file, drawables([photos], photos))
        store.save(0, [{"label": "cat", "bbox": [10, 10, 20, 20]}], None)
        before = file.read_bytes()
        for wrong in ({"label": "cat", "bbox": [150, 10, 90, 20]}, {"label": "", "bbox": [1, 1, 5, 5]}, {"label": "a"}):
            with pytest.raises(HeatmapError):
                store.save(0, [wrong], None)
        assert file.read_bytes() == before

    @pytest.mark.parametrize(
        "text", ["{", "[]", '{"images": 3}', '{"images": [], "annotations": [3], "categories": []}']
    )
    def test_a_file_that_is_not_coco_is_refused_and_kept(self, photos, capsys, text):
        (photos / "annotations.json").write_text(text)
        assert main(["masks", str(photos), "--no-browser"]) == 2
        assert "COCO file" in capsys.readouterr().err
        assert (photos / "annotations.json").read_text() == text

    def test_a_folder_of_folders_offers_the_images_of_these(self, photos):
        """As `pytest-gradcam samples` leaves them."""
        assert [one.name for one in drawables([photos.parent], photos.parent)] == ["photos/a.png", "photos/b.png"]
        (photos / "inner").mkdir()
        (photos / "a.png").rename(photos / "inner/a.png")
        assert [one.name for one in drawables([photos], photos)] == ["b.png"]

    def test_no_image_is_said_in_one_line(self, tmp_path, capsys):
        assert main(["masks", str(tmp_path)]) == 2
        assert "there is no image in" in capsys.readouterr().err
        assert main(["masks", str(tmp_path / "none")]) == 2


def test_run_lengths_are_those_that_from_coco_reads():
    rng = np.random.default_rng(0)
    for share in (0.01, 0.5, 0.99):
        mask = rng.random((17, 23)) < share
        mask[3, 4] = True
        assert (masks.from_coco(mask_proposals.run_lengths(mask), (17, 23)) == mask).all()
