"""Where the paths of settings begin, and values that stop the run before its first test, once."""

import pytest

pytestmark = pytest.mark.usefixtures("warm")

TESTS = """
    import pytest
    from pathlib import Path

    @pytest.mark.parametrize("n", range(3))
    def test_it(gradcam, n):
        gradcam(Path(__file__).parent.parent / "square.png", target="red").assert_overlap(
            Path(__file__).parent.parent / "mask.png"
        )

    def test_plain():
        pass
"""


@pytest.fixture
def project(colour_project):
    """The colour project with its tests in a folder of their own, where pytest is called."""
    import numpy as np
    from PIL import Image

    mask = np.zeros((64, 64), np.uint8)
    mask[:32, :32] = 255
    Image.fromarray(mask).save(colour_project.path / "mask.png")
    colour_project.mkdir("tests")
    colour_project.makepyfile(**{"tests/test_it": TESTS})
    colour_project.chdir()
    return colour_project


def ini(project, *lines):
    path = project.path / "tox.ini"
    path.write_text("\n".join([path.read_text(), *lines]))


def test_paths_in_the_configuration_begin_at_its_folder(project, monkeypatch):
    ini(project, "gradcam_report = out")
    monkeypatch.chdir(project.path / "tests")
    project.runpytest_inprocess().assert_outcomes(passed=4)
    assert (project.path / "out/index.html").is_file()
    assert not (project.path / "tests/out").exists()


def test_paths_on_the_command_line_begin_at_the_working_directory(project, monkeypatch):
    (project.path / "tests/mine.txt").write_text("red\ngreen\n")
    monkeypatch.chdir(project.path / "tests")
    result = project.runpytest_inprocess("--gradcam-classes=mine.txt", "--gradcam-report=out")
    result.assert_outcomes(passed=4)
    assert (project.path / "tests/out/index.html").is_file()


@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["in process", "-n2"])
@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--gradcam-weights=nope.pt", "gradcam_weights = '*nope.pt' is not a file; check the path"),
        ("--gradcam-classes=nope.txt", "gradcam_classes = '*nope.txt' is not a file*"),
        (
            "--gradcam-model=colour:buildd",
            "gradcam_model = 'colour:buildd': colour has no 'buildd'; did you mean 'build'?",
        ),
        ("--gradcam-preprocess=color:preprocess", "gradcam_preprocess = *there is no module 'color' to import*"),
        ("--gradcam-model=torchvision:resnet51", "torchvision has no model 'resnet51'; did you mean *'resnet50'*"),
        ("--gradcam-device=gpu", "--gradcam-device = 'gpu' is not a device; expected auto, cpu, cuda*"),
    ],
)
def test_a_value_of_nothing_stops_the_run_before_its_first_test(project, argument, said, workers):
    if workers and "weights" not in argument:
        pytest.skip("one of them shows the way of all")
    result = project.runpytest_inprocess(argument, "-p", "no:randomly", *workers)
    assert result.ret in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED)
    assert not any(word in result.stdout.str() for word in (" passed", " error", " failed"))
    output = [*result.outlines, *result.errlines]
    [line] = [line for line in output if said.partition("*")[0][:20] in line]
    from fnmatch import fnmatch

    assert fnmatch(line, f"*{said}*".replace("[", "[[]"))


def test_only_tests_that_need_them_make_settings_matter(project):
    result = project.runpytest_inprocess("--gradcam-weights=nope.pt", "-k", "plain")
    result.assert_outcomes(passed=1, deselected=3)


def test_a_fixture_of_ones_own_makes_settings_not_matter(project):
    project.makeconftest(
        "import pytest\n@pytest.fixture(scope='session')\ndef gradcam_model():\n    import colour\n    return colour.build()"
    )
    project.runpytest_inprocess("--gradcam-weights=nope.pt").assert_outcomes(passed=4)


def test_weights_that_do_not_fit_end_the_run_with_the_first_test_that_needs_them(project):
    import torch

    torch.save({"features.weight": torch.zeros(1)}, project.path / "bad.pt")
    result = project.runpytest_inprocess("--gradcam-weights=bad.pt", "-p", "no:randomly")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)


@pytest.mark.parametrize("key", ["gradcam-method", "gradcam_methd"])
def test_a_key_that_is_unknown_is_refused(project, key):
    ini(project, f"{key} = scorecam")
    result = project.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{key} is not an option; expected one of*did you mean 'gradcam_method'*"])


class TestForeignFiles:
    def test_a_folder_with_files_of_the_same_names_is_refused(self, project):
        (project.path / "site").mkdir()
        (project.path / "site/index.html").write_text("my page")
        result = project.runpytest_inprocess("--gradcam-report=site")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ["*gradcam_report = 'site' would replace files that are not as a run of*(index.html)*"]
        )
        assert (project.path / "site/index.html").read_text() == "my page"

    def test_one_with_other_files_and_one_of_ours_are_not(self, project):
        (project.path / "site").mkdir()
        (project.path / "site/mine.html").write_text("my page")
        for _ in range(2):
            project.runpytest_inprocess("--gradcam-report=site", "-k", "plain").assert_outcomes(passed=1, deselected=3)
        assert (project.path / "site/mine.html").read_text() == "my page"

    def test_a_page_of_ours_that_was_replaced_is_refused(self, project):
        project.runpytest_inprocess("--gradcam-report=site", "-k", "plain")
        (project.path / "site/index.html").write_text("my page")
        assert project.runpytest_inprocess("--gradcam-report=site", "-k", "plain").ret == pytest.ExitCode.USAGE_ERROR


def test_a_report_says_which_of_its_files_are_in_no_commit(project):
    import subprocess

    from pytest_gradcam.report import load

    for command in (
        ["init", "-q"],
        ["add", "colour.py"],
        ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], cwd=project.path, check=True)
    project.runpytest_inprocess("--gradcam-report=out", "-k", "plain")
    [run] = load(project.path / "out").runs
    assert (run.clean, run.uncommitted) == (False, ("tests/test_it.py", "tox.ini"))
    assert (
        "2 files of the tests and their configuration are in no commit" in (project.path / "out/index.html").read_text()
    )
    for command in (["add", "."], ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "y"]):
        subprocess.run(["git", *command], cwd=project.path, check=True)
    project.runpytest_inprocess("--gradcam-report=out", "-k", "plain")
    [run] = load(project.path / "out").runs
    assert run.uncommitted == ()
