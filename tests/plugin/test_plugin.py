"""The plugin end to end, as a user's repository would run it."""

import json
import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec

import pytest

# In this process, for speed: `warm` has loaded what the plugin loads lazily, which pytester would otherwise load anew
# for each run, and torch cannot be loaded twice.
pytestmark = pytest.mark.usefixtures("warm")

XDIST = pytest.mark.skipif(not find_spec("xdist"), reason="needs pytest-xdist")

PASSES = """
    from pytest_gradcam import masks

    def test_red(gradcam):
        heatmap = gradcam("square.png", target="red")
        heatmap.assert_focus_within(masks.box((64, 64), (0, 0, 40, 40)), at_least=0.9)
"""
FAILS = """
    from pytest_gradcam import masks

    def test_red(gradcam):
        heatmap = gradcam("square.png", target="red")
        heatmap.assert_focus_within(masks.box((64, 64), (32, 32, 64, 64)))
"""


def records(project):
    """The records in the JUnit file of the last run."""
    properties = ElementTree.parse(project.path / "junit.xml").iter("property")
    return [json.loads(p.get("value")) for p in properties if p.get("name") == "gradcam"]


def test_a_check_that_passes(colour_project):
    colour_project.makepyfile(PASSES)
    result = colour_project.runpytest_inprocess()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*gradcam*", "1 checks: 1 passed"])
    assert not (colour_project.path / "gradcam-report").exists()


def test_a_check_that_fails_reads_like_a_colleague_and_leaves_a_picture(colour_project):
    colour_project.makepyfile(FAILS)
    result = colour_project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*FocusError: 0.1 % of the attention for 'red' lies inside the mask; expected at least 50.0 %",
            "E*attention*0.1 % of the relevance mass on 25.0 % of the view, lift 0.00 (1 is chance)",
            "E*target*'red' (0): score 2.5, rank 1 of 2, softmax 0.*",
            "E*layer*features, grid 8 x 8 on a view of 64 x 64 px, method gradcam",
            "E*model*Colour (0.000384 M parameters)",
            "E*image*square.png",
            "E*picture*gradcam-report/pictures/*.png",
            "E*try*look at the picture*",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_gradcam/heatmap.py*")  # our own frames are hidden
    pictures = list((colour_project.path / "gradcam-report" / "pictures").iterdir())
    assert len(pictures) == 1
    assert pictures[0].read_bytes().startswith(b"\x89PNG")
    result.stdout.fnmatch_lines([f"failed*focus_within*{pictures[0].name}"])


@pytest.mark.parametrize(("which", "count"), [("all", 2), ("failed", 1), ("none", 0)])
def test_which_checks_leave_a_picture(colour_project, which, count):
    colour_project.makepyfile(test_a=PASSES, test_b=FAILS)
    colour_project.runpytest_inprocess(f"--gradcam-pictures={which}", "--gradcam-report=out").assert_outcomes(
        passed=1, failed=1
    )
    assert len(list(colour_project.path.glob("out/pictures/*.png"))) == count


def test_pictures_that_cannot_be_written_change_no_verdict_and_are_said_once(colour_project):
    (colour_project.path / "gradcam-report").write_text("a file where the directory should be")
    colour_project.makepyfile(test_a=PASSES, test_b=FAILS)
    result = colour_project.runpytest_inprocess("-W", "error", "--gradcam-pictures=all")
    result.assert_outcomes(passed=1, failed=1)
    told = [line for line in result.outlines if "could not be written" in line]
    assert len(told) == 1
    assert told[0].startswith("WARNING: 2 pictures could not be written to gradcam-report: ")


@pytest.mark.parametrize(
    "workers", [[], pytest.param(["-n", "0"], marks=XDIST), pytest.param(["-n", "2"], marks=XDIST)]
)
def test_the_evidence_of_every_check_reaches_the_junit_file(colour_project, workers):
    colour_project.makepyfile(test_a=PASSES, test_b=FAILS)
    result = colour_project.runpytest_inprocess("--junitxml=junit.xml", "-W", "error", *workers)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["2 checks: 1 failed, 1 passed"])
    found = records(colour_project)
    assert sorted((r["check"], r["outcome"]) for r in found) == [("focus_within", "failed"), ("focus_within", "passed")]
    failed = next(r for r in found if r["outcome"] == "failed")
    assert failed["test"] == "test_b.py::test_red"
    assert 0 < failed["figure"] < 0.01
    assert failed["target"] == "red"
    assert failed["layer"] == "features"


def test_undecided_checks_fail_and_are_recorded(colour_project):
    colour_project.makepyfile(
        """
        import numpy as np

        def test_empty_mask(gradcam):
            gradcam("square.png", target="red").assert_focus_within(np.zeros((64, 64), bool))
        """
    )
    result = colour_project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E*HeatmapError: no verdict on focus_within: the mask has no pixel*", "1 checks: 1 invalid"]
    )


def test_quiet_prints_no_summary(colour_project):
    colour_project.makepyfile(PASSES)
    colour_project.runpytest_inprocess("-q").stdout.no_fnmatch_line("*1 checks*")


def test_hypothesis_works_with_the_fixture(colour_project):
    colour_project.makepyfile(
        """
        import numpy as np
        from hypothesis import given, settings, strategies as st
        from pytest_gradcam import masks

        @settings(max_examples=5, deadline=None)
        @given(st.integers(0, 40))
        def test_red(gradcam, x):
            image = np.zeros((64, 64, 3), np.uint8)
            image[:, x:x + 24, 0] = 255
            mask = masks.box((64, 64), (max(0, x - 8), 0, x + 32 if x < 32 else 64, 64))
            gradcam(image, "red").assert_focus_within(mask, at_least=0.9)
        """
    )
    colour_project.runpytest_inprocess().assert_outcomes(passed=1)


class TestFixtures:
    def test_each_can_be_overridden_in_a_conftest(self, colour_project):
        colour_project.makeini("[pytest]\npythonpath = .\n")
        colour_project.makeconftest(
            """
            import colour, pytest

            @pytest.fixture(scope="session")
            def gradcam_model():
                return colour.Colour()

            @pytest.fixture(scope="session")
            def gradcam_preprocess():
                return colour.preprocess

            @pytest.fixture(scope="session")
            def gradcam_classes():
                return {"green": 1, "red": 0}
            """
        )
        colour_project.makepyfile(PASSES)
        colour_project.runpytest_inprocess().assert_outcomes(passed=1)

    def test_the_fixture_is_an_explainer(self, colour_project):
        colour_project.makepyfile(
            """
            from pytest_gradcam import Explainer

            def test_it(gradcam, gradcam_model):
                assert isinstance(gradcam, Explainer)
                assert gradcam.model is gradcam_model
                assert gradcam.predict(["square.png"]).shape == (1, 2)
            """
        )
        colour_project.runpytest_inprocess().assert_outcomes(passed=1)

    def test_names_stay_clear_of_pytest_torchs(self, colour_project):
        result = colour_project.runpytest_inprocess("--fixtures", "-q")
        ours = {line.split()[0] for line in result.outlines if "pytest_gradcam" in line and " -- " in line}
        assert ours == {"gradcam", "gradcam_model", "gradcam_preprocess", "gradcam_classes"}


class TestOrder:
    """Marker before command line before ini before default."""

    SHOW = """
        import pytest

        def test_plain(gradcam):
            print("PLAIN", gradcam("square.png", "red").method)

        @pytest.mark.gradcam(method="layercam", target="green")
        def test_marked(gradcam):
            heatmap = gradcam("square.png")
            print("MARKED", heatmap.method, heatmap.target)
            heatmap = gradcam("square.png", "red", method="xgradcam")
            print("CALLED", heatmap.method, heatmap.target)
    """

    @pytest.mark.parametrize(
        ("ini", "flag", "expected"),
        [
            ("", [], "gradcam"),
            ("gradcam_method = hirescam", [], "hirescam"),
            ("gradcam_method = hirescam", ["--gradcam-method=gradcam++"], "gradcam++"),
        ],
    )
    def test_order(self, colour_project, ini, flag, expected):
        path = colour_project.path / "tox.ini"
        path.write_text(path.read_text() + "\n" + ini + "\n")
        colour_project.makepyfile(self.SHOW)
        result = colour_project.runpytest_inprocess("-s", *flag)
        result.assert_outcomes(passed=2)
        result.stdout.fnmatch_lines([f"*PLAIN {expected}", "*MARKED layercam green", "*CALLED xgradcam red"])

    def test_a_marker_holds_for_its_own_test_only(self, colour_project):
        colour_project.makepyfile(
            """
            import pytest

            @pytest.mark.gradcam(method="hirescam")
            class TestBoth:
                def test_class(self, gradcam):
                    assert gradcam("square.png", "red").method == "hirescam"

                @pytest.mark.gradcam(method="layercam")
                def test_closest(self, gradcam):
                    assert gradcam("square.png", "red").method == "layercam"

            def test_none(gradcam):
                assert gradcam("square.png", "red").method == "gradcam"
            """
        )
        colour_project.runpytest_inprocess().assert_outcomes(passed=3)

    def test_native_toml_configuration(self, colour_project):
        (colour_project.path / "tox.ini").unlink()
        (colour_project.path / "pyproject.toml").write_text(
            "[tool.pytest.ini_options]\npythonpath = ['.']\ngradcam_model = 'colour:build'\n"
            "gradcam_preprocess = 'colour:preprocess'\ngradcam_classes = 'classes.txt'\ngradcam_batch_size = 2\n"
        )
        colour_project.makepyfile(PASSES)
        colour_project.runpytest_inprocess().assert_outcomes(passed=1)


class TestUsageErrors:
    """What is wrong before the run starts ends it with exit code 4 and one line, never a traceback."""

    def refused(self, project, *arguments, words):
        result = project.runpytest_inprocess(*arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        text = result.stderr.str() + result.stdout.str()
        assert words in text
        assert "Traceback" not in text

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("gradcam_modle = x:y", "gradcam_modle is not an option"),
            ("gradcam_method = gradcm", "did you mean 'gradcam'"),
            ("gradcam_batch_size = none", "gradcam_batch_size"),
            ("gradcam_device = the gpu", "gradcam_device = 'the gpu' is not a device"),
            ("gradcam_pictures = some", "expected one of failed, all, none"),
        ],
    )
    def test_configuration(self, pytester, line, words):
        pytester.makeini(f"[pytest]\n{line}\n")
        self.refused(pytester, words=words)

    @pytest.mark.parametrize("change", ["gone", "other arguments"])
    def test_where_pytest_does_not_tell_unknown_keys_it_warns_of_them_itself(self, pytester, monkeypatch, change):
        told = pytest.Config._get_unknown_ini_keys
        monkeypatch.setattr(pytest.Config, "_warn_or_fail_if_strict", print)
        monkeypatch.setattr(pytest.Config, "_validate_config_options", lambda self: print(told(self)))
        if change == "gone":
            monkeypatch.delattr(pytest.Config, "_get_unknown_ini_keys")
        else:
            monkeypatch.setattr(pytest.Config, "_get_unknown_ini_keys", lambda self, more: set())
        pytester.makeini("[pytest]\ngradcam_modle = x:y\n")
        pytester.makepyfile("def test_it(): pass")
        result = pytester.runpytest_inprocess()
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines("?'gradcam_modle'?")  # a set or, in pytest 8, a list

    @pytest.mark.parametrize(
        ("flag", "words"),
        [
            ("--gradcam-modle=x:y", "unrecognized arguments"),
            ("--gradcam-model=resnet50", "--gradcam-model = 'resnet50' names no model"),
            (
                "--gradcam-batch-size=0",
                "--gradcam-batch-size = '0' cannot be used; expected a whole number of at least 1",
            ),
        ],
    )
    def test_command_line(self, pytester, flag, words):
        self.refused(pytester, flag, words=words)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (
                "laier='a'",
                "@pytest.mark.gradcam does not know 'laier'; expected layer, method, gate, mispredicted, unchecked, "
                "target; did you mean 'layer'?",
            ),
            ("method='gradcm'", "did you mean 'gradcam'"),
            ("'layer4'", "keywords only"),
        ],
    )
    def test_marker(self, pytester, arguments, words):
        pytester.makepyfile(f"import pytest\n@pytest.mark.gradcam({arguments})\ndef test_it(): pass\n")
        self.refused(pytester, words=words)


class TestFirstMistakes:
    """A first-time user's mistakes each give one clear line."""

    def one_line(self, project, words, *arguments, errors=1, failed=0):
        result = project.runpytest_inprocess(*arguments)
        result.assert_outcomes(errors=errors, failed=failed)
        result.stdout.fnmatch_lines([f"*{words}*"])
        result.stdout.no_fnmatch_line("*pytest_gradcam/*.py*")  # no frame of ours

    def test_full_trace_shows_all(self, colour_project):
        colour_project.makepyfile("def test_it(gradcam): gradcam('square.png', 'rde')")
        colour_project.runpytest_inprocess("--full-trace").stdout.fnmatch_lines(["*pytest_gradcam/cam/outputs.py*"])

    def test_no_model(self, pytester):
        pytester.makepyfile("def test_it(gradcam): pass")
        self.one_line(pytester, "no model is configured; set gradcam_model =")

    def test_a_misspelt_torchvision_name(self, pytester):
        """The run does not begin."""
        pytester.makepyfile("def test_it(gradcam): pass")
        result = pytester.runpytest_inprocess("--gradcam-model=torchvision:resnet5O")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: torchvision has no model 'resnet5O'; did you mean*"])

    def test_a_class_name_that_does_not_exist(self, colour_project):
        colour_project.makepyfile("def test_it(gradcam): gradcam('square.png', 'rde')")
        words = "HeatmapError: there is no class 'rde' among the 2 class names; did you mean 'red'"
        self.one_line(colour_project, words, errors=0, failed=1)

    def test_a_mask_of_the_wrong_shape(self, colour_project):
        colour_project.makepyfile(
            "import numpy as np\ndef test_it(gradcam): gradcam('square.png', 'red').assert_focus_within(np.eye(32))"
        )
        self.one_line(colour_project, "HeatmapError: no verdict on focus_within: *32*64*", errors=0, failed=1)

    def test_an_unreadable_image(self, colour_project):
        (colour_project.path / "broken.png").write_bytes(b"not a picture")
        colour_project.makepyfile("def test_it(gradcam): gradcam('broken.png', 'red')")
        self.one_line(
            colour_project, "HeatmapError: broken.png is not an image file that is read here", errors=0, failed=1
        )

    def test_weights_that_do_not_fit(self, colour_project):
        import torch

        torch.save({"features.weight": torch.zeros(2, 3, 4, 4), "head": torch.zeros(1)}, colour_project.path / "w.pt")
        colour_project.makepyfile("def test_it(gradcam): pass")
        words = "1 unexpected (head); 1 of another shape (features.weight)"
        self.one_line(colour_project, f"the weights in *w.pt do not fit Colour: {words}", "--gradcam-weights=w.pt")

    def test_random_weights_warn(self, pytester):
        pytester.makepyfile("def test_it(gradcam): pass")
        result = pytester.runpytest_inprocess("--gradcam-model=torchvision:squeezenet1_1", "-W", "default")
        result.assert_outcomes(passed=1, warnings=1)
        result.stdout.fnmatch_lines(["*GradcamWarning: torchvision:squeezenet1_1 has random weights*"])
