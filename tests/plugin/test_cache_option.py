"""The cache, as a user's runs meet it: nothing is kept by default, and what was asked for where it was asked for."""

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("warm")

TEST = """
    from pytest_gradcam import masks

    def test_red(gradcam):
        for _ in range(3):
            gradcam("square.png", target="red").assert_focus_within(masks.box((64, 64), (0, 0, 40, 40)), at_least=0.9)
        print("LAYER", gradcam.layer)
"""


@pytest.fixture
def project(colour_project):
    source = (colour_project.path / "colour.py").read_text()
    source = source.replace("return 10 *", "print('FORWARD', tuple(x.shape)); return 10 *")
    (colour_project.path / "colour.py").write_text(source)
    colour_project.makepyfile(TEST)
    return colour_project


def passes(project, *arguments):
    """How many forward passes a run took, the one that looks for the layer included."""
    result = project.runpytest_inprocess("-s", *arguments)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*LAYER features"])
    return result.stdout.str().count("FORWARD")


@pytest.mark.parametrize("arguments", [(), ("--gradcam-cache=off",)])
def test_by_default_every_call_computes_and_nothing_is_written(project, arguments):
    for _ in range(2):
        assert passes(project, *arguments) == 7  # three heatmaps, the layer, and three to see what the outputs are
        assert not list((project.path / ".pytest_cache").rglob("*.npz"))
        assert not (project.path / ".pytest_cache" / "d" / "gradcam").exists()


def test_run_is_for_one_run(project):
    for _ in range(2):
        assert (
            passes(project, "--gradcam-cache=run") == 5
        )  # a heatmap, the layer, and three to see what the outputs are
        assert not list((project.path / ".pytest_cache").rglob("*.npz"))


def test_disk_is_for_later_runs(project):
    assert passes(project, "--gradcam-cache=disk") == 5
    assert passes(project, "--gradcam-cache=disk") <= 1  # the layer's name was asked for
    assert passes(project, "--gradcam-cache=disk", "--cache-clear") == 5


def test_the_old_value_is_refused_with_the_new_ones(project):
    result = project.runpytest_inprocess("--gradcam-cache=on")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--gradcam-cache = 'on' is not known; expected one of off, run, disk*"])


def test_another_picture_another_question_and_other_weights_are_computed(project):
    first = passes(project, "--gradcam-cache=disk")
    assert passes(project, "--gradcam-cache=disk", "--gradcam-method=hirescam") == first
    source = (project.path / "colour.py").read_text()
    # Of another length, since Python itself takes a file of the same second and length for unchanged.
    (project.path / "colour.py").write_text(source.replace("weight[0, 0] = 1 / 64", "weight[0, 0] = 1 / 128"))
    assert passes(project, "--gradcam-cache=disk") == first
    from PIL import Image

    with Image.open(project.path / "square.png") as image:
        image.load()
    image.putpixel((60, 60), (1, 0, 0))
    image.save(project.path / "square.png")
    assert passes(project, "--gradcam-cache=disk") == first


def test_other_processes_and_workers_are_served(colour_project):
    """In processes of their own, since that is what the file is for."""
    source = (colour_project.path / "colour.py").read_text()
    source = source.replace("return 10 *", "open('forwards', 'a').write('F'); return 10 *")
    (colour_project.path / "colour.py").write_text(source)
    colour_project.makepyfile(TEST.replace('print("LAYER", gradcam.layer)', ""))
    colour_project.runpytest_subprocess("--gradcam-cache=disk").assert_outcomes(passed=1)
    first = (colour_project.path / "forwards").read_text()
    colour_project.runpytest_subprocess("--gradcam-cache=disk", "-n", "2").assert_outcomes(passed=1)
    assert (colour_project.path / "forwards").read_text() == first


TWO = """
    def test_one(gradcam):
        assert gradcam("square.png", target="red").score > 0

    def test_two(gradcam):
        assert gradcam("square.png", target="red").score > 0
"""


@pytest.mark.parametrize("arguments", [(), ("--gradcam-cache=run",)])
def test_a_cache_directory_that_cannot_be_made_is_nothing_to_runs_that_need_none(colour_project, arguments):
    (colour_project.path / "afile").write_text("x")
    colour_project.makepyfile(TWO)
    result = colour_project.runpytest_inprocess("-W", "default", "-o", "cache_dir=afile/cache", *arguments)
    result.assert_outcomes(passed=2, warnings=result.parseoutcomes().get("warnings", 0))
    assert "GradcamWarning" not in result.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(("-o", "cache_dir=afile/cache"), "File exists: "), (("-p", "no:cacheprovider"), "without its cache plugin")],
)
def test_a_cache_directory_that_cannot_be_made_is_one_warning(colour_project, arguments, reason):
    (colour_project.path / "afile").write_text("x")
    colour_project.makepyfile(TWO)
    result = colour_project.runpytest_inprocess("-W", "default", "--gradcam-cache=disk", *arguments)
    result.assert_outcomes(passed=2, warnings=result.parseoutcomes()["warnings"])
    said = [line for line in result.outlines if "GradcamWarning" in line]
    assert len(said) == 1
    assert "gradcam_cache = disk cannot keep heatmaps for later runs (" in said[0]
    assert reason in said[0]
    assert said[0].endswith("make pytest's cache directory writable, or set gradcam_cache = run")


def test_a_cache_directory_that_cannot_be_written_to_is_one_warning(colour_project):
    """A file lies where the entries would."""
    directory = colour_project.path / ".pytest_cache" / "d"
    directory.mkdir(parents=True)
    (directory / "gradcam").mkdir()
    for number in range(256):
        (directory / "gradcam" / f"{number:02x}").write_text("x")
    colour_project.makepyfile(TWO)
    result = colour_project.runpytest_inprocess("-W", "default", "--gradcam-cache=disk")
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["*GradcamWarning: *gradcam cannot be written to (*"])


#: What the colour model multiplies its scores by, and the files in which that changes from one run to the next.
ELSEWHERE = """
import numpy, json, types, other
from pathlib import Path

ARRAY = numpy.loadtxt("array.txt")
TENSOR = torch.tensor(json.loads(Path("values.json").read_text())["tensor"])
NAMES = types.SimpleNamespace(**json.loads(Path("values.json").read_text()))

def elsewhere():
    now = float(Path("now.txt").read_text())
    return float(ARRAY) * TENSOR * NAMES.scale * other.CONSTANT * other.TABLE["a"] * other.run() * now
"""
FILES = {
    "array.txt": "{}",
    "values.json": '{{"tensor": {}, "scale": {}}}',
    "other.py": "CONSTANT, TABLE = {}, {{'a': {}}}\ndef run(): return {}",
    "now.txt": "{}",
}


def test_by_default_a_later_run_sees_what_the_model_reads_from_elsewhere(colour_project):
    source = (colour_project.path / "colour.py").read_text().replace("class Colour", f"{ELSEWHERE}\nclass Colour")
    (colour_project.path / "colour.py").write_text(source.replace("return 10 *", "return 10 * elsewhere() *"))
    colour_project.makepyfile("""
        def test_red(gradcam):
            print("SCORE", gradcam("square.png", target="red").score)
    """)
    scores = []
    for changed in (None, *FILES):
        for name, text in FILES.items():
            # Of another length, since Python itself takes a file of the same second and length for unchanged.
            value = "2.00" if name == changed else "1.0"
            (colour_project.path / name).write_text(text.format(*[value] * text.count("{}")))
        result = colour_project.runpytest_inprocess("-s")
        result.assert_outcomes(passed=1)
        scores.append(next(float(line.split()[-1]) for line in result.outlines if "SCORE" in line))
    assert np.array(scores[1:]) / scores[0] == pytest.approx([2, 4, 8, 2])


@pytest.mark.parametrize("mode", ["off", "run", "disk"])
def test_weights_that_a_test_changes_are_seen_by_it_and_by_the_next(colour_project, mode):
    colour_project.makepyfile("""
        import pytest
        import torch

        scores, digests = [], []

        def explained(gradcam):
            heatmap = gradcam("square.png", target="red")
            scores.append(heatmap.score)
            digests.append(heatmap.subject.weights)

        def through_data(model):
            model.features.weight.data[:, 0].mul_(2)

        def through_numpy(model):
            model.features.weight.detach().numpy()[:] *= 2

        def optimizer_step(model):
            (model(torch.ones(1, 3, 64, 64))[0, 0] * -1 / 6.4).backward()
            torch.optim.SGD(model.parameters(), 0.01).step()

        def load_state_dict(model):
            model.load_state_dict({name: 2 * value for name, value in model.state_dict().items()})

        @pytest.mark.parametrize("write", [through_data, through_numpy, optimizer_step, load_state_dict])
        def test_writes(gradcam, gradcam_model, write):
            explained(gradcam)
            write(gradcam_model)
            explained(gradcam)
            write(gradcam_model)

        def test_all(gradcam):
            explained(gradcam)
            assert sorted(set(scores)) == scores
            assert len(set(digests[::2])) == 5
    """)
    colour_project.runpytest_inprocess(f"--gradcam-cache={mode}").assert_outcomes(passed=5)
