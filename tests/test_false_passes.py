"""Ways to go green on nothing. Every one of them must be red, and say what to do next.

The checks are found by their names, so that a new one is attacked without a line here; where it takes an argument that
no table below knows, its tests fail until the table does.
"""

import inspect
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_gradcam import Explainer, FocusError, GradcamWarning, Heatmap, HeatmapError, NoEvidenceError, masks
from tests.sanity_models import Red, red_square

pytestmark = pytest.mark.usefixtures("warm")

SIDE = 32
BOX = masks.box((SIDE, SIDE), (0, 0, 18, 18))
GRID = np.pad(np.ones((4, 4), np.float32), ((0, 4), (0, 4))) + np.eye(8, dtype=np.float32)


def names(cls, first):
    """The assertions of the class whose first argument has this name."""
    checks = [name for name in dir(cls) if name.startswith("assert_")]
    return [name for name in checks if list(inspect.signature(getattr(cls, name)).parameters)[1:2] == [first]]


def takes(check, argument):
    return argument in inspect.signature(getattr(Explainer, check)).parameters


ON_MASKS = names(Heatmap, "mask")
ON_PICTURES = [name for name in names(Explainer, "image") if takes(name, "perturbation")]  # not on tensors
ON_IMAGES = [name for name in names(Explainer, "image") if name not in ON_PICTURES]
ON_SETS = names(Explainer, "images")
#: Of the checks above, those that are about the heatmap and not about the prediction alone.
ON_EVIDENCE = ["assert_faithful", "assert_depends_on_weights", "assert_deterministic"]


def test_the_checks_are_found():
    assert {"assert_focus_within", "assert_focus_avoids", "assert_peak_within", "assert_overlap"} <= set(ON_MASKS)
    assert set(ON_EVIDENCE) <= set(ON_IMAGES)


def red(words, run, *, error=(FocusError, HeatmapError)):
    """The run ends in an error of ours whose message holds these words, the next step among them."""
    with pytest.raises(error, match=re.compile(words, re.DOTALL)) as caught:
        run()
    assert len(str(caught.value)) > 20


def spot():
    return Heatmap.from_array(GRID, np.full((SIDE, SIDE, 3), 100, np.uint8))


def explainer(model=None, **options):
    return Explainer(model or Red(), **{"layer": "features", "preprocess": plain, **options})


def plain(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def call(subject, check, **given):
    """The check on what is given, and on sound arguments for the rest."""
    from pytest_gradcam import perturbations

    reds = [red_square().roll((i, 0), (1, 2)) for i in range(4)]
    sound = {
        "image": red_square() if check not in ON_PICTURES else (red_square() * 255).byte().permute(1, 2, 0).numpy(),
        "images": [*reds, *[image.flip(0) for image in reds]],
        "mask": BOX,
        "masks": BOX,
        "perturbation": perturbations.brightness(0.1),
    }
    parameters = inspect.signature(getattr(subject, check)).parameters
    needed = [name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty]
    arguments = {name: given.pop(name) if name in given else sound[name] for name in needed}
    with suppress_warnings():
        return getattr(subject, check)(**arguments, **given)


def suppress_warnings():
    import warnings

    return warnings.catch_warnings(action="ignore", category=GradcamWarning)


@pytest.mark.parametrize("check", ON_MASKS)
class TestMasks:
    """Of a mask that marks nothing, everything, something else, or that is not one."""

    @pytest.mark.parametrize(
        ("mask", "words"),
        [
            (np.zeros((SIDE, SIDE), bool), "no pixel; check how it was made"),
            (np.ones((SIDE, SIDE), bool), "covers the whole view, .*pass a smaller mask"),
            (np.zeros((SIDE, 16), bool), r"\(32, 16\).*; make it at the size of the image"),
            (np.zeros((SIDE * 2, SIDE * 2), bool), r"\(64, 64\).*; make it at the size of the image"),
            (np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 3, "ids|labels|values.*; "),
            (np.where(BOX, 7, 0), "7.*; "),
            (np.where(BOX, 0.7, 0.0), "0.7.*; "),
            (np.where(BOX, 1.0, math.nan), "NaN.*; "),
            (np.where(BOX, math.inf, 0.0), "Inf.*; "),
            (np.where(BOX, -1, 0), "-1.*; "),
            (np.stack([BOX] * 3), "expected .*H, W.*; "),
            (np.array([["yes"] * SIDE] * SIDE), "expected bools or numbers; "),
            (np.zeros((0, 0)), "expected .*; "),
            (None, "pass a|expected .*; "),
            ((0, 0, 18, 18), "expected .*; "),
            ("no-such-mask.png", "cannot be read .*; expected|no file|check"),
            (Image.new("RGB", (SIDE, SIDE), (200, 10, 10)), "select the region's colour"),
            (Image.new("RGBA", (SIDE, SIDE), (255, 255, 255, 9)), "save it without alpha"),
        ],
        ids=lambda value: "" if isinstance(value, str) and "; " in value else None,
    )
    def test_a_mask(self, check, mask, words):
        red(words, lambda: call(spot(), check, mask=mask), error=HeatmapError)

    def test_a_transposed_mask(self, check):
        heatmap = Heatmap.from_array(GRID, np.full((SIDE, 48, 3), 100, np.uint8))
        transposed = masks.box((SIDE, 48), (0, 0, 18, 18)).T
        red("it is the transpose: .*; pass its .T", lambda: call(heatmap, check, mask=transposed), error=HeatmapError)

    def test_a_mask_that_the_preprocess_crops_away(self, check):
        def crop(image):
            pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
            return pixels[:, 16:48, 16:48]

        image = np.zeros((64, 64, 3), np.uint8)
        image[20:36, 20:36, 0] = 255
        heatmap = explainer(preprocess=crop)(image, 0)
        corner = masks.box((64, 64), (0, 0, 10, 10))
        red(
            "the preprocess kept 0 % of the mask: .*; check the mask, or the crop",
            lambda: call(heatmap, check, mask=corner),
        )

    def test_the_padding_of_an_image_that_has_none(self, check):
        heatmap = spot()
        red("added no padding .*; leave the check out", lambda: call(heatmap, check, mask=heatmap.padding))


@pytest.mark.parametrize("check", ON_MASKS)
class TestHeatmaps:
    """Of a heatmap that says nothing."""

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            (np.zeros((8, 8)), "zero everywhere: .*; explain another target, or choose another layer or method"),
            (-GRID, "zero everywhere: .*; explain another target"),
            (np.full((8, 8), 1e-6), "same value everywhere.*; choose a layer with a finer grid"),
            (np.full((8, 8), 0.5), "same value everywhere.*; choose a layer with a finer grid"),
            (np.ones((1, 1)), "same value everywhere.*; choose a layer with a finer grid"),
            (np.where(GRID > 1, math.nan, GRID), "NaN or infinite values; check the model's activations"),
            (np.full((8, 8), math.nan), "NaN or infinite values; check"),
            (np.where(GRID > 1, math.inf, GRID), "NaN or infinite values; check"),
        ],
        ids=["zero", "negative", "tiny constant", "constant", "one cell", "a NaN", "all NaN", "infinite"],
    )
    def test_a_heatmap(self, check, values, words):
        heatmap = Heatmap.from_array(values, np.full((SIDE, SIDE, 3), 100, np.uint8))
        red(words, lambda: call(heatmap, check), error=HeatmapError)


NO_SHARES = [math.nan, math.inf, -math.inf, -0.1, 50, 1.0001, True, False, "0.5", "50 %", None, [0.5], np.array([0.5])]


def bounded(cls, checks):
    """Every check with each of its arguments that bounds a share."""
    named = ("at_least", "at_most", "threshold", "tolerance", "mass_at_least", "similarity_at_least")
    return [
        (check, name) for check in checks for name in inspect.signature(getattr(cls, check)).parameters if name in named
    ]


@pytest.mark.parametrize("bound", NO_SHARES, ids=repr)
@pytest.mark.parametrize(("check", "name"), bounded(Heatmap, ON_MASKS))
def test_a_bound_of_a_heatmaps_check(check, name, bound):
    if name == "tolerance" and bound in (50, 1.0001):
        return  # a number of pixels
    red(rf"{name}=.*(expected|pass)", lambda: call(spot(), check, **{name: bound}), error=HeatmapError)


@pytest.mark.parametrize(
    ("check", "arguments", "words"),
    [
        ("assert_focus_within", {"at_least": 0}, "at_least=0 cannot decide anything; expected a share above 0"),
        ("assert_focus_avoids", {"at_most": 1}, "at_most=1 cannot decide anything; expected a share from 0 to below 1"),
        ("assert_overlap", {"at_least": 0}, "at_least=0 cannot decide anything; expected"),
        ("assert_overlap", {"threshold": 0}, "threshold=0.*; pass a number above 0"),
        ("assert_peak_within", {"tolerance": 20}, "tolerance=20 holds for every heatmap: .*; pass a lower one"),
        ("assert_peak_within", {"tolerance": 1e9}, "tolerance=1e.09 holds for every heatmap: .*; pass a lower one"),
        ("assert_focus_within", {"at_least": masks.lift(4)}, "can never hold: .*; pass a lower lift"),
        ("assert_focus_within", {"at_least": masks.lift(0)}, "expected a lift above 0"),
        ("assert_focus_within", {"at_least": masks.lift(math.nan)}, "expected a lift above 0"),
        ("assert_focus_avoids", {"at_most": masks.lift(4)}, "holds for every heatmap: .*; pass a lower lift"),
        ("assert_focus_avoids", {"at_most": masks.lift(-1)}, "expected a lift of at least 0"),
        ("assert_overlap", {"at_least": masks.lift(2)}, "pass a number"),
    ],
)
def test_a_bound_that_every_heatmap_keeps_or_none_can(check, arguments, words):
    red(words, lambda: call(spot(), check, **arguments), error=HeatmapError)


@pytest.mark.parametrize("bound", [b for b in NO_SHARES if b is not None], ids=repr)
@pytest.mark.parametrize(("check", "name"), bounded(Explainer, ON_IMAGES + ON_PICTURES + ON_SETS))
def test_a_bound_of_an_explainers_check(check, name, bound):
    red(rf"{name}=.*(expected|pass)", lambda: call(explainer(), check, **{name: bound}), error=HeatmapError)


@pytest.mark.parametrize("count", [0, -1, 0.5, math.nan, True, "9"], ids=repr)
@pytest.mark.parametrize(("check", "name"), [("assert_faithful", "orders"), ("assert_depends_on_weights", "draws")])
def test_a_count_of_nothing(check, name, count):
    red(rf"{name}=.*expected", lambda: call(explainer(), check, **{name: count}), error=HeatmapError)


def changed(change):
    """The model with one thing wrong."""
    model = Red()
    with torch.no_grad():
        change(model)
    return model


class Constant(Red):
    """Scores every image alike."""

    def forward(self, x):
        return self.head.weight.sum() + 0 * super().forward(x)


NOT_FINITE = "NaN.*check the weights|finite.*check"
BROKEN = {
    "dead head": (lambda: changed(lambda m: m.head.weight.zero_()), "explain another|check the|choose|layer|class"),
    "dead features": (lambda: changed(lambda m: m.features.weight.zero_()), "explain another|check the|choose|class"),
    "NaN in the head": (
        lambda: changed(lambda m: m.head.weight[0].fill_(math.nan)),
        "NaN.*check the weights|finite.*check",
    ),
    "NaN in the features": (
        lambda: changed(lambda m: m.features.weight[0].fill_(math.nan)),
        "NaN.*check the weights|finite.*check",
    ),
    "infinite logits": (
        lambda: changed(lambda m: m.head.weight[0].fill_(math.inf)),
        "NaN.*check the weights|finite.*check",
    ),
    "the same for every image": (Constant, "explain another|check the|choose|layer|class"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("check", [*ON_IMAGES, *ON_SETS, *ON_PICTURES])
def test_a_model_that_says_nothing(check, kind):
    build, words = BROKEN[kind]
    bounds = {"similarity_at_least": 0.5} if takes(check, "similarity_at_least") else {}
    red(words, lambda: call(explainer(build()), check, **bounds), error=HeatmapError)


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("check", ON_MASKS)
def test_a_heatmap_of_a_model_that_says_nothing(check, kind):
    build, words = BROKEN[kind]
    red(words, lambda: call(explainer(build())(red_square(), 0), check), error=HeatmapError)


def spoilt(value):
    image = red_square()
    image[0, 3, 4] = value
    return image


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (spoilt(math.nan), "NaN or infinite values; check how it was made"),
        (spoilt(math.inf), "NaN or infinite values; check how it was made"),
        (torch.zeros(1, 3, SIDE, SIDE), r"expected a float tensor \(C, H, W\)"),
        (torch.zeros(3, SIDE, SIDE, dtype=torch.uint8), "expected a float tensor"),
        (torch.zeros(3, 0, SIDE), "expected a float tensor"),
        (torch.zeros(4, SIDE, SIDE), "cannot take an input of shape .*; check the size and the channels"),
        (np.zeros((SIDE, SIDE, 3), np.uint8), "no preprocess is set.*; pass preprocess="),
        (None, "expected|pass"),
    ],
    ids=["NaN", "infinite", "a batch", "uint8", "no pixel", "four channels", "no preprocess", "None"],
)
@pytest.mark.parametrize("check", [*ON_IMAGES, *ON_SETS])
def test_an_image(check, image, words):
    given = {"image": image} if check in ON_IMAGES else {"images": [image] * 4}
    red(words, lambda: call(explainer(preprocess=None), check, **given), error=HeatmapError)


@pytest.mark.parametrize("check", ON_SETS)
def test_no_images(check):
    red("; check how|expected|pass", lambda: call(explainer(), check, images=[]), error=HeatmapError)


def jittered(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255 * (0.9 + 0.1 * torch.rand(()))


def spoils(image):
    return torch.full((3, SIDE, SIDE), math.nan)


@pytest.mark.parametrize(
    ("preprocess", "words"),
    [(jittered, "preprocess .*random|another input.*"), (spoils, "preprocess makes NaN .*; check both")],
    ids=["random", "NaN"],
)
@pytest.mark.parametrize("check", ON_IMAGES)
def test_a_preprocess(check, preprocess, words):
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    red(words, lambda: call(explainer(preprocess=preprocess), check, image=image))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (3, "expected an index from 0 to 2"),
        (-4, "expected an index from 0 to 2"),
        ("rde", "did you mean 'red'"),
        ("", "check gradcam_classes|did you mean"),
        (0.0, "expected None, a class index"),
        (True, "expected None, a class index"),
        (lambda output: output, "expected a tensor with one value"),
        (lambda output: output.sum() * math.nan, "NaN.*check the weights|finite"),
    ],
)
@pytest.mark.parametrize("check", [check for check in ON_IMAGES if check in ON_EVIDENCE])
def test_a_target(check, target, words):
    subject = explainer(classes=("red", "green", "dark"))
    red(words, lambda: call(subject, check, target=target), error=HeatmapError)


@pytest.mark.parametrize("targets", [[0], [0, 0, 0], [], 0, "red"], ids=repr)
def test_another_number_of_targets_than_of_images(targets):
    red("expected one per image", lambda: explainer().batch([red_square()] * 2, targets), error=HeatmapError)


@pytest.mark.parametrize("check", ON_EVIDENCE)
def test_a_class_without_evidence(check):
    red(
        "no positive evidence .* explain another target",
        lambda: call(explainer(), check, target=2),
        error=NoEvidenceError,
    )


@pytest.mark.parametrize("check", [c for c in ON_IMAGES + ON_PICTURES + ON_SETS if c not in ON_EVIDENCE])
@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((SIDE, SIDE), bool), "no pixel|empty.*; "),
        (np.ones((SIDE, SIDE), bool), "covers .*; |whole"),
        (np.zeros((SIDE, 16), bool), "make it at the size of the image"),
        (np.where(BOX, 7, 0), "7.*; "),
        (np.where(BOX, 1.0, math.nan), "NaN.*; "),
    ],
    ids=["empty", "full", "another shape", "label ids", "NaN"],
)
def test_a_mask_of_an_explainers_check(check, mask, words):
    name = "mask" if takes(check, "mask") else "masks"
    bounds = {"mass_at_least": 0.5} if takes(check, "mass_at_least") else {}
    red(words, lambda: call(explainer(), check, **{name: mask}, **bounds), error=HeatmapError)


def test_an_index_error_of_the_users_own_is_not_swallowed():
    def target(output):
        return [output.sum()][1]

    with pytest.raises(HeatmapError, match="raised IndexError") as caught:
        explainer()(red_square(), target)
    assert isinstance(caught.value.__cause__, IndexError)


def test_two_empty_maps_are_not_alike():
    from pytest_gradcam import metrics

    with pytest.raises(NoEvidenceError, match="explain another target"):
        metrics.similarity(np.zeros((4, 4)), np.zeros((4, 4)))


SWALLOWS = """
import contextlib
import numpy as np
from pytest_gradcam import masks

def test_swallowed(gradcam):
    with contextlib.suppress(Exception):
        gradcam("square.png", "red").assert_focus_within(masks.box((64, 64), (48, 48, 64, 64)))
    try:
        gradcam("square.png", "red").assert_focus_within(np.zeros((64, 64), bool))
    except ValueError:
        pass
"""


def test_a_test_that_swallows_its_errors_shows_in_the_summary(colour_project):
    """The verdicts are kept where they are made: what a test does with the error does not change them."""
    colour_project.makepyfile(SWALLOWS)
    result = colour_project.runpytest_inprocess()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["2 checks: 1 failed, 1 invalid*"])
