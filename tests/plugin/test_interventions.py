"""The causal checks in a user's test run."""

import pytest

pytestmark = pytest.mark.usefixtures("warm")

TESTS = """
    import numpy as np
    import pytest
    from PIL import Image
    from pytest_gradcam import masks

    RED = masks.box((64, 64), (0, 0, 32, 32))
    CORNER = masks.box((64, 64), (44, 44, 60, 60))

    def images():
        for i in range(6):
            pixels = np.full((64, 64, 3), 20 + 5 * i, np.uint8)
            pixels[:32, :32, i % 2] = 250 - 5 * i
            yield Image.fromarray(pixels)

    def test_relies(gradcam):
        gradcam.assert_relies_on("square.png", RED)
        gradcam.assert_ignores("square.png", CORNER, others=list(images()))
        gradcam.assert_no_reliance(list(images()), CORNER)

    def test_ignores(gradcam):
        gradcam.assert_ignores("square.png", RED)

    def test_no_reliance(gradcam):
        gradcam.assert_no_reliance(list(images()), RED)

    @pytest.mark.gradcam(target="green")
    def test_marked(gradcam):
        gradcam.assert_relies_on("square.png", RED)
"""


def test_failures_read_like_a_colleague_and_leave_pictures(colour_project):
    colour_project.makepyfile(TESTS)
    result = colour_project.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "E*FocusError: the margin of 'red' falls by at least * units with every fill of the pixels to ignore; *",
            "E*target*'red' (0): score *, rank 1 of 2",
            "E*colour*'red' stays, score *; the margin falls by * units, in control regions *by *",
            "E*inpainted*'red' becomes 'green', score *",
            "E*unit*one unit is a difference of * in the logit: the image's own lead of the first class over the second",
            "E*picture*-ignores.png",
            "E*try*look at the picture: if the mask contains nothing of the object, these pixels are a shortcut; *",
            "E*FocusError: the model relies on the masked pixels: if they were exchanged, accuracy would fall by about *",
            "E*effect*of the model's mean margin, * at 95 % on each side, p *",
            "E*replaced*with pixels of images predicted as another class: *",
            "E*picture*-no_reliance.png",
            "E*FocusError: the margin of 'green' rises by at least * units with every fill of the masked pixels; *",
            "E*prediction*the model predicts 'red' (0)",
            "E*try*look at the picture; the model predicts 'red', so look into the prediction first, *",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_gradcam/c*/*.py:*")  # our own frames are hidden
    assert len(list((colour_project.path / "gradcam-report" / "pictures").iterdir())) == 3
