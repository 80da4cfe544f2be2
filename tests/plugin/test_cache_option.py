"""The cache, as a user's runs meet it: unchanged heatmaps are read, everything else is computed."""

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


def test_within_a_run_and_across_runs(project):
    first = passes(project)
    assert 1 <= first <= 2  # three heatmaps, and the layer
    assert passes(project) == 0
    assert passes(project, "--cache-clear") == first


def test_off(project):
    assert passes(project, "--gradcam-cache=off") >= 3
    assert passes(project, "--gradcam-cache=off") >= 3
    assert not list((project.path / ".pytest_cache").rglob("*.npz"))


def test_without_pytests_cache_it_lasts_for_the_run(project):
    first = passes(project, "-p", "no:cacheprovider")
    assert passes(project, "-p", "no:cacheprovider") == first


def test_another_picture_another_question_and_other_weights_are_computed(project):
    first = passes(project)
    assert passes(project, "--gradcam-method=hirescam") == first
    source = (project.path / "colour.py").read_text()
    # Of another length, since Python itself takes a file of the same second and length for unchanged.
    (project.path / "colour.py").write_text(source.replace("weight[0, 0] = 1 / 64", "weight[0, 0] = 1 / 128"))
    assert passes(project) == first
    from PIL import Image

    with Image.open(project.path / "square.png") as image:
        image.load()
    image.putpixel((60, 60), (1, 0, 0))
    image.save(project.path / "square.png")
    assert passes(project) == first


def test_other_processes_and_workers_are_served(colour_project):
    """In processes of their own, since that is what the file is for."""
    source = (colour_project.path / "colour.py").read_text()
    source = source.replace("return 10 *", "open('forwards', 'a').write('F'); return 10 *")
    (colour_project.path / "colour.py").write_text(source)
    colour_project.makepyfile(TEST)
    colour_project.runpytest_subprocess().assert_outcomes(passed=1)
    first = (colour_project.path / "forwards").read_text()
    colour_project.runpytest_subprocess("-n", "2").assert_outcomes(passed=1)
    assert (colour_project.path / "forwards").read_text() == first
