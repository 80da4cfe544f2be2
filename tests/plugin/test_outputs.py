"""What the settings say of a model's output, its class names and its weights."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("warm")

FRESH = '''
from torch import nn

def build():
    """Random weights, all of them positive, so that there is always evidence."""
    model = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.1, 1)
    return model

class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        from colour import build
        self.net = build()

    def forward(self, x):
        scores = self.net(x)
        return {"age": scores[:, :1].expand(-1, 7), "colour": scores}

def packed():
    return Packed()
'''
ONE_CHECK = """
    from pytest_gradcam import masks

    def test_it(gradcam):
        gradcam("square.png", target=0).assert_focus_within(masks.box((64, 64), (0, 0, 60, 60)), at_least=0.01)
"""


@pytest.fixture
def project(colour_project):
    colour_project.makepyfile(fresh=FRESH, test_it=ONE_CHECK)
    return colour_project


class TestUntrained:
    def test_a_model_of_other_weights_each_time_has_no_verdict(self, project):
        result = project.runpytest_inprocess("--gradcam-model=fresh:build", "--gradcam-layer=0", "-W", "default")
        result.assert_outcomes(failed=1, warnings=1)
        words = "fresh:build has random weights (each call draws 4 anew (0.weight, 0.bias, 4.weight, 4.bias) of its 4 tensors)"
        result.stdout.fnmatch_lines(
            [f"*HeatmapError: no verdict on focus_within: {glob(words)}, so no verdict can rest on it*"]
        )
        result.stdout.fnmatch_lines([f"*GradcamWarning: {glob(words)}, so its heatmaps mean nothing*"])

    def test_it_can_be_allowed_and_the_record_says_so(self, project):
        model = ("--gradcam-model=fresh:build", "--gradcam-layer=0", "--gradcam-untrained=allow")
        report = project.path / "report"
        project.runpytest_inprocess(*model, f"--gradcam-report={report}", "-W", "error").assert_outcomes(passed=1)
        check = json.loads((report / "evidence.json").read_text())["runs"][0]["checks"][0]
        assert check["outcome"] == "passed"
        label, phrase = check["details"][-1]
        assert label == "weights"
        assert phrase.endswith("which gradcam_untrained = allow lets pass")

    def test_a_model_that_is_built_the_same_is_taken_at_its_word(self, project):
        project.runpytest_inprocess("-W", "error").assert_outcomes(passed=1)

    def test_weights_that_are_loaded_afterwards_count(self, project):
        project.makeconftest(
            """
            import pytest

            @pytest.fixture(scope="session")
            def gradcam_model(gradcam_model):
                import torch
                with torch.no_grad():
                    for parameter in gradcam_model.parameters():
                        parameter.fill_(0.1)
                return gradcam_model
            """
        )
        result = project.runpytest_inprocess("--gradcam-model=fresh:build", "--gradcam-layer=0", "-W", "default")
        result.assert_outcomes(passed=1, warnings=1)

    def test_random_states_are_left_alone(self, monkeypatch):
        import sys
        from types import ModuleType

        import torch

        from pytest_gradcam.models import sources

        module = ModuleType("drawn_model")
        module.build = lambda: torch.nn.Linear(2, 2)
        monkeypatch.setitem(sys.modules, "drawn_model", module)
        model = module.build()
        before = torch.get_rng_state()
        assert sources.drawn_anew("drawn_model:build", model).startswith("each call draws 2 anew (weight, bias)")
        assert torch.equal(before, torch.get_rng_state())
        module.build = lambda: model
        assert sources.drawn_anew("drawn_model:build", model) == ""


class TestSettings:
    def test_a_key_picks_the_scores(self, project):
        model = ("--gradcam-model=fresh:packed", "--gradcam-layer=net.features")
        words = (
            "*'age' of shape (1, 7), 'colour' of shape (1, 2), and any of them may be the class scores; set gradcam_*"
        )
        result = project.runpytest_inprocess(*model)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([words])
        project.runpytest_inprocess(*model, "--gradcam-output-key=colour").assert_outcomes(passed=1)
        project.runpytest_inprocess(*model, "--gradcam-output-key=1").assert_outcomes(passed=1)

    @pytest.mark.parametrize(
        ("flag", "words"),
        [
            ("--gradcam-output=logit", "*--gradcam-output = 'logit' is not known*did you mean 'logits'?*"),
            (
                "--gradcam-task=multilabel",
                "*--gradcam-task = 'multilabel' is not known; expected one of auto, single, multi*",
            ),
        ],
    )
    def test_unknown_words_stop_the_run(self, project, flag, words):
        result = project.runpytest_inprocess(flag)
        result.stderr.fnmatch_lines([words])

    def test_probabilities_that_are_not_are_refused(self, project):
        result = project.runpytest_inprocess("--gradcam-output=probabilities")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*output='probabilities', but the model returned scores from*"])

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("names.json", '{"0": "red", "1": "green"}'),
            ("config.json", '{"id2label": {"0": "red", "1": "green"}, "hidden_size": 8}'),
            ("names.txt", "\ufeffred\ngreen\n\n"),
        ],
    )
    def test_names_from_files(self, project, name, content):
        (project.path / name).write_text(content, "utf-8")
        project.makepyfile(test_it="def test_it(gradcam): assert gradcam('square.png').target == 'red'")
        project.runpytest_inprocess(f"--gradcam-classes={name}").assert_outcomes(passed=1)

    @pytest.mark.parametrize("names", ["background\nred\ngreen\n", "red\n"])
    def test_names_that_do_not_fit_are_refused_whatever_is_asked(self, project, names):
        (project.path / "classes.txt").write_text(names)
        result = project.runpytest_inprocess()
        result.assert_outcomes(failed=1)
        count = "is 1 class name" if names == "red\n" else "are 3 class names"
        result.stdout.fnmatch_lines([f"*there {count}, and the model gives 2 scores*"])


def glob(text):
    """The text as a pattern that matches it alone."""
    return text.replace("[", "[[]")
