"""What a report of many checks costs: to write, in memory, and to open in Chromium where that is installed."""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from pathlib import Path

from benchmarks.internals import Record, Report, Run, of_check, write
from benchmarks.timing import WALL, peak_memory, timed

KINDS = (
    ("focus_within", "relevance mass", "at_least", 0.5),
    ("focus_avoids", "relevance mass", "at_most", 0.1),
    ("peak_within", "distance of the peak from the mask", "at_most", 16),
    ("overlap", "IoU", "at_least", 0.3),
)


def check(i: int, chance: random.Random) -> Record:
    """A record as full as those of real runs."""
    kind, measure, direction, bound = KINDS[i % len(KINDS)]
    figure = abs(chance.gauss(bound * (1.6 if direction == "at_least" else 0.5), bound * 0.4))
    holds = figure >= bound if direction == "at_least" else figure <= bound
    return Record(
        check=kind,
        measure=measure,
        outcome="passed" if holds else "failed",
        figure=figure,
        bound=bound,
        direction=direction,
        mask_area=chance.uniform(0.02, 0.4),
        mass=chance.random(),
        lift=chance.uniform(0.2, 4),
        peak=(chance.randrange(224), chance.randrange(224)),
        peaks=1,
        grid=(7, 7),
        view=(224, 224),
        target=f"class {i % 100}",
        target_index=i % 100,
        score=chance.gauss(5, 2),
        probability=chance.random(),
        rank=1,
        classes=1000,
        predicted=f"class {i % 100}",
        predicted_index=i % 100,
        model="ResNet (25.6 M parameters)",
        model_class="torchvision.models.resnet.ResNet",
        parameter_count=25_557_032,
        weights=f"{7:064x}",
        device="cpu",
        layer="layer4.2",
        method="gradcam",
        image=f"photos/underpass/frame_{i:05}.png",
        image_digest=f"sha256 {i:064x}",
        test=f"tests/test_underpass.py::test_{kind}[frame_{i:05}]",
        number=1,
        test_outcome="passed" if holds else "failed",
        requirements=of_check(kind),
        duration=0.1,
        picture=f"pictures/frame_{i:05}.png",
    )


def opened(page: Path) -> tuple[float, float]:
    """Seconds until the page has loaded, and until it has filtered by a word."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        browser.get(page.as_uri())
        loaded = browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
        typed = browser.execute_script(
            "const begun = performance.now(); document.querySelector('[name=words]').value = 'frame_09';"
            "document.getElementById('filters').dispatchEvent(new Event('input')); document.body.offsetHeight;"
            "return performance.now() - begun"
        )
        return loaded / 1000, typed / 1000
    finally:
        browser.quit()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checks", type=int, default=10_000)


def run(options: argparse.Namespace) -> None:
    chance, count = random.Random(0), options.checks
    report = Report((Run(id="1", ended="1", checks=tuple(check(i, chance) for i in range(count))),))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        seconds, (processor, _) = timed(lambda: timed(lambda: write(report, directory)), WALL)
        print(
            f"{count} checks written in {seconds:.1f} s, {processor:.1f} s of processor time; "
            f"{peak_memory():.0f} MB at most"
        )
        for path in sorted(directory.iterdir()):
            print(f"  {path.name:<14} {path.stat().st_size / 1e6:7.2f} MB")
        if shutil.which("chromium") and shutil.which("chromedriver"):
            print("the page loads in {:.2f} s and filters in {:.2f} s".format(*opened(directory / "index.html")))
