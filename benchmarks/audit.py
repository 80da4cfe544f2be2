"""Audits of a data set: their speed against a bare forward loop, kills at random moments, and coverage of the intervals.

speed     heatmap, mass, peak and rows on disk, as a ratio to the same decoding and forward passes alone
memory    the peak memory at some images and at ten times as many
kill      killed with -9 at random moments and resumed: the rows must be those of an undisturbed run
coverage  how often each interval contains the true value
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data
from torchvision.models import resnet18
from torchvision.transforms import v2
from tqdm import tqdm

from benchmarks.timing import PROCESSOR, WALL, Clock, interleaved, peak_memory, ratios
from pytest_gradcam import Case, Explainer, images, masks
from pytest_gradcam.data import statistics

_SIZE = (375, 500)
_MASK = (120, 80, 380, 300)
_BATCH = 16


def photographs(folder: Path, count: int) -> list[Path]:
    """JPEG files, each another crop of a photograph that scikit-image brings with it."""
    rng, sources = np.random.default_rng(0), [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    paths = []
    for number in range(count):
        source = sources[number % len(sources)]
        top, left = rng.integers(0, source.shape[0] // 4), rng.integers(0, source.shape[1] // 4)
        crop = Image.fromarray(source[top : top + 220, left : left + 300]).resize(_SIZE[::-1])
        paths.append(folder / f"{number:06}.jpg")
        crop.save(paths[-1], quality=90)
    return paths


def preprocess() -> v2.Compose:
    parts = [v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    return v2.Compose([*parts, v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])


def read_ahead(paths: Sequence[Path], read: Callable[[Path], torch.Tensor]) -> Iterator[torch.Tensor]:
    """Batches, read in two threads while the model works on those before."""
    groups = [paths[at : at + _BATCH] for at in range(0, len(paths), _BATCH)]
    with ThreadPoolExecutor(2) as pool:
        ahead = [[pool.submit(read, path) for path in group] for group in groups[:4]]
        for number in range(len(groups)):
            batch = torch.stack([future.result() for future in ahead.pop(0)])
            if number + 4 < len(groups):
                ahead.append([pool.submit(read, path) for path in groups[number + 4]])
            yield batch


def speed(count: int, rounds: int, clock: Clock) -> None:
    torch.manual_seed(0)
    model, transform = resnet18().eval(), preprocess()
    mask = masks.box(_SIZE, _MASK)
    with tempfile.TemporaryDirectory() as folder:
        paths = photographs(Path(folder), count)
        cases = [Case(path, mask=mask) for path in paths]

        def read(path: Path) -> torch.Tensor:
            return transform(images.read(path).pil)

        def bare() -> None:
            with torch.inference_mode():
                for batch in read_ahead(paths, read):
                    model(batch)

        def audit() -> None:
            rows = Path(folder) / "rows.jsonl"
            rows.unlink(missing_ok=True)
            Explainer(model, "layer4", preprocess=transform).audit(cases, ["focus_within", "peak_within"], rows=rows)

        def grad_cam() -> None:
            from pytorch_grad_cam import GradCAM

            with GradCAM(model=model, target_layers=[model.layer4[-1]]) as cam:
                for batch in read_ahead(paths, read):
                    cam(input_tensor=batch, targets=None)

        times = interleaved({"bare": bare, "audit": audit, "pytorch-grad-cam": grad_cam}, rounds, clock, warm_up=False)
    found = ratios(times, "bare")
    for name, own in times.items():
        each = ", ".join(f"{count / seconds:.1f}" for seconds in own)
        print(f"{name:<18}{each} images/s; throughput {1 / found[name]:.2f} of the bare loop")
    print(
        f"audit: {found['pytorch-grad-cam'] / found['audit']:.2f} times the throughput of pytorch-grad-cam, {count} images"
    )


def memory(count: int) -> None:
    """One process for each count: peaks do not come down."""
    for number in (count, 10 * count):
        if not (process := os.fork()):
            torch.manual_seed(0)
            model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 7, 4), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 3, 2))
            model = torch.nn.Sequential(model, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
            rng = np.random.default_rng(0)

            def image(seed: int) -> np.ndarray:
                return np.random.default_rng(seed).integers(0, 256, (224, 224, 3), np.uint8)

            mask = masks.box((224, 224), (50, 50, 150, 150))
            cases = [Case(partial(image, seed), mask=mask, id=str(seed)) for seed in rng.permutation(number)]
            transform = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
            found = Explainer(model, "0", preprocess=transform).audit(cases, ["focus_within", "peak_within"])
            print(f"{number} images: peak {peak_memory():.0f} MiB; {found.rate('focus_within')}", flush=True)
            os._exit(0)
        os.waitpid(process, 0)


def kill(count: int, times: int) -> None:
    tqdm.set_lock(threading.RLock())  # its own is shared by forked processes: one killed with it would block the others
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 5, 4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    pictures = np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), np.uint8)
    transform = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
    mask = masks.box((64, 64), (8, 8, 40, 40))
    cases = [Case(image, mask=mask, id=str(number)) for number, image in enumerate(pictures)]

    def audit(rows: Path) -> None:
        Explainer(model, "0", preprocess=transform).audit(cases, rows=rows)

    with tempfile.TemporaryDirectory() as folder:
        whole, path = Path(folder) / "whole.jsonl", Path(folder) / "rows.jsonl"
        start = time.perf_counter()
        audit(whole)
        usual, rng, killed = time.perf_counter() - start, random.Random(0), 0
        while killed < times:
            if not (process := os.fork()):
                audit(path)
                os._exit(0)
            time.sleep(rng.uniform(0, usual / 3))
            if os.waitpid(process, os.WNOHANG) == (0, 0):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                killed += 1
            elif path.read_bytes() == whole.read_bytes():
                path.unlink()  # it was finished: from the start again, until it was killed often enough
        audit(path)
        same = path.read_bytes() == whole.read_bytes()
    print(
        f"killed {killed} times at random moments of {usual:.1f} s and resumed: {'the very rows' if same else 'OTHER ROWS'}"
    )


def coverage(trials: int) -> None:
    rng = np.random.default_rng(0)

    def share(draw: Callable[[], object], true: float, interval: Callable[..., statistics.Interval]) -> float:
        found = [interval(draw()) for _ in range(trials)]
        return float(np.mean([each.lower <= true <= each.upper for each in found]))

    print(f"95 % nominal, {trials} trials each")
    for count in (20, 50, 200):
        cells = [share(lambda: int(rng.binomial(count, p)), p, partial(_rate, count)) for p in (0, 0.5, 0.9, 0.99, 1)]  # noqa: B023
        print(f"rate, {count:3} images, true 0, 0.5, 0.9, 0.99, 1: " + ", ".join(f"{cell:.3f}" for cell in cells))
    draws: dict[str, tuple[Callable[[int], np.ndarray], float]] = {
        "uniform": (lambda n: rng.uniform(0, 1, n), 0.5),
        "skewed": (lambda n: rng.beta(8, 2, n), 0.8),
        "very skewed": (lambda n: rng.beta(0.5, 3, n), 0.5 / 3.5),
        "three values": (lambda n: rng.integers(0, 3, n) / 2, 0.5),
        "90 % ones": (lambda n: np.where(rng.random(n) < 0.9, 1.0, rng.uniform(0, 1, n)), 0.95),
        "all ones": (np.ones, 1.0),
    }
    for name, (draw, true) in draws.items():
        cells = [share(partial(draw, n), true, partial(statistics.mean, limits=(0, 1))) for n in (15, 30, 60, 200)]
        print(f"mean, {name:13} 15, 30, 60, 200 images: " + ", ".join(f"{cell:.3f}" for cell in cells))
    for n, m, p, q in ((30, 30, 0.9, 0.9), (50, 200, 0.8, 0.9), (40, 40, 1.0, 0.9)):
        pairs = partial(_two_rates, rng, (n, p), (m, q))
        print(f"difference, {n} and {m} images at {p} and {q}: {share(pairs, p - q, _difference):.3f}")
    for n, up, down in ((30, 0.1, 0.1), (100, 0.05, 0.1), (50, 0.0, 0.1)):
        changes = partial(rng.multinomial, n, [up, down, 1 - up - down])
        print(f"paired, {n} images, {up} better, {down} worse: {share(changes, up - down, _paired):.3f}")


def _rate(count: int, passed: int) -> statistics.Interval:
    return statistics.rate(passed, count)


def _two_rates(rng: np.random.Generator, *groups: tuple[int, float]) -> list[tuple[int, int]]:
    return [(int(rng.binomial(*group)), group[0]) for group in groups]


def _difference(pair: list[tuple[int, int]]) -> statistics.Interval:
    return statistics.difference(*pair)


def _paired(changes: np.ndarray) -> statistics.Interval:
    return statistics.paired(int(changes[0]), int(changes[1]), int(changes.sum()))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", choices=("speed", "memory", "kill", "coverage"))
    parser.add_argument("--images", type=int, default=2000, help="for speed, memory and kill")
    parser.add_argument("--rounds", type=int, default=3, help="for speed")
    parser.add_argument(
        "--processor", action="store_true", help="speed by processor time, on a machine that others use"
    )
    parser.add_argument("--times", type=int, default=20, help="kills")
    parser.add_argument("--trials", type=int, default=2000, help="for coverage")


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    if options.task == "speed":
        speed(options.images, options.rounds, PROCESSOR if options.processor else WALL)
    elif options.task == "memory":
        memory(options.images)
    elif options.task == "kill":
        kill(options.images, options.times)
    else:
        coverage(options.trials)
