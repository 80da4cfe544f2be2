"""The option gradcam_gate: no check on where a heatmap lies rests on explanations that fail their own checks."""

import pytest

pytestmark = pytest.mark.usefixtures("warm")

FOCUS = """
import numpy as np, pytest
from pytest_gradcam import masks

RED = masks.box((64, 64), (0, 0, 32, 32))

def test_one(gradcam):
    gradcam("blocks.png", "red").assert_focus_within(RED)

def test_two(gradcam):
    gradcam("blocks.png", "red").assert_focus_within(RED)
"""

#: Class 0 scores where red exceeds green, class 1 the opposite. The layer `eyes` passes the image on as it is: what a
#: method without gradients shows there is the image, whatever the weights.
EDGES = """
import torch
from torch import nn

class Edges(nn.Module):
    def __init__(self):
        super().__init__()
        self.eyes = nn.Identity()
        self.features = nn.Conv2d(3, 2, 8, stride=8, bias=False)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.features.weight.zero_()
            self.features.weight[0, 0] = self.features.weight[1, 1] = 1 / 64
            self.features.weight[0, 1] = self.features.weight[1, 0] = -1 / 64
            self.head.weight.copy_(torch.tensor([[10.0, -3], [-2, 11]]))

    def forward(self, x):
        return self.head(torch.relu(self.features(self.eyes(x))).mean((2, 3)))
"""


UNSOUND = ["--gradcam-method=eigencam", "--gradcam-layer=eyes"]


@pytest.fixture
def project(colour_project):
    import numpy as np
    from PIL import Image

    colour_project.makepyfile(edges=EDGES)
    blocks = np.random.default_rng(0).random((8, 8, 3)) * 0.5
    blocks[:4, :4, 0] += 0.4
    image = np.kron(blocks, np.ones((8, 8, 1))) * 255
    Image.fromarray(image.astype(np.uint8)).save(colour_project.path / "blocks.png")
    (colour_project.path / "tox.ini").write_text(
        "[pytest]\npythonpath = .\ngradcam_model = edges:Edges\ngradcam_preprocess = colour:preprocess\n"
        "gradcam_classes = classes.txt\ngradcam_layer = features\n"
    )
    colour_project.makepyfile(FOCUS)
    return colour_project


def test_it_is_off_by_default(project):
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["2 checks: 2 passed"])


def test_a_sound_explainer_is_tried_once(project):
    result = project.runpytest_inprocess("--gradcam-gate=on")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["5 checks: 5 passed"])


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_an_unsound_method_gets_no_verdict_and_the_reason(project, workers):
    result = project.runpytest_inprocess("--gradcam-gate=on", *UNSOUND, *workers)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*HeatmapError: no verdict on focus_within: the gate stays shut for method eigencam at layer eyes: with the "
            "weights redrawn the heatmap still has a rank correlation of 1 with what it was; expected at most 0.4; use another "
            "method or layer, or leave the gate open with gradcam_gate = off"
        ]
    )


def test_each_layer_and_method_has_a_gate_of_its_own_and_markers_count(project):
    project.makepyfile(
        """
        import pytest
        from pytest_gradcam import masks

        RED = masks.box((64, 64), (0, 0, 32, 32))

        @pytest.mark.gradcam(method="eigencam", layer="eyes")
        def test_unsound(gradcam):
            gradcam("blocks.png", "red").assert_focus_within(RED)

        def test_sound(gradcam):
            gradcam("blocks.png", "red").assert_focus_within(RED)

        @pytest.mark.gradcam(method="eigencam", layer="eyes", gate="off")
        def test_left_open(gradcam):
            gradcam("blocks.png", "red").assert_focus_within(masks.box((64, 64), (0, 0, 63, 64)), at_least=0.01)

        def test_batches_and_comparisons_are_gated_too(gradcam):
            made = gradcam.batch(["blocks.png"], ["red"], method="eigencam", layer="eyes") + list(
                gradcam.compare("blocks.png", ["red"], method="eigencam", layer="eyes").values()
            )
            for heatmap in made:
                with pytest.raises(ValueError, match="the gate stays shut for method eigencam"):
                    heatmap.assert_peak_within(RED)
        """
    )
    result = project.runpytest_inprocess("--gradcam-gate=on", "-W", "ignore::pytest_gradcam.GradcamWarning", "-rA")
    result.stdout.fnmatch_lines(["FAILED *::test_unsound*"])
    result.assert_outcomes(passed=3, failed=1)


def test_a_check_without_a_verdict_leaves_the_gate_shut_until_another_image_decides(project):
    """On a picture that is redder than green all over the model scores no more than on its mean colour."""
    project.makepyfile(
        """
        import numpy as np
        import pytest
        from pytest_gradcam import masks

        RED = masks.box((64, 64), (0, 0, 32, 32))

        def test_undecided(gradcam):
            blocks = np.random.default_rng(1).random((8, 8, 3)) * 100
            blocks[..., 0] += 100
            reddish = np.kron(blocks, np.ones((8, 8, 1))).astype(np.uint8)
            with pytest.raises(ValueError, match="no verdict on faithful: the image scores .* its own mean colour"):
                gradcam(reddish, "red").assert_focus_within(RED)

        def test_decided(gradcam):
            gradcam("blocks.png", "red").assert_focus_within(RED)
        """
    )
    project.runpytest_inprocess("--gradcam-gate=on").assert_outcomes(passed=2)


def test_a_wrong_value_is_a_usage_error(project):
    assert project.runpytest_inprocess("--gradcam-gate=yes").ret == pytest.ExitCode.USAGE_ERROR


def test_a_model_without_heatmaps_has_no_gate_and_that_is_said(project):
    project.makeconftest(
        """
        import numpy as np, pytest, torch
        @pytest.fixture(scope="session")
        def gradcam_model():
            return lambda batch: batch.mean((2, 3))[:, :2]
        @pytest.fixture(scope="session")
        def gradcam_preprocess():
            return lambda image: torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255
        """
    )
    project.makepyfile(
        """
        from pytest_gradcam.perturbations import brightness
        def test_it(gradcam):
            gradcam.assert_stable("blocks.png", brightness(0.01), same_class=False, score_within=1)
        """
    )
    result = project.runpytest("--gradcam-gate=on", "-W", "default")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*gradcam_gate = on tries nothing here: *"])
