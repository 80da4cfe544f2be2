"""Every question to a model goes through one place: what a test's marker says holds for all of them."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Box, FocusError, HeatmapError, Region, masks
from pytest_gradcam.cam.engine import Engine, Interface
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.explainer import Explainer, explainer_of
from pytest_gradcam.perturbations import brightness
from pytest_gradcam.questions.explained_model import ExplainedModel, Policy

RED, GREEN, DARK = 0, 1, 2
SQUARE = masks.box((32, 32), (0, 0, 16, 16))


class Colours(nn.Module):
    """Class 0 scores the bright red of an image, class 1 its bright green, class 2 how little there is of both."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 4, stride=4, bias=False)
        self.second = nn.Conv2d(3, 3, 1, bias=False)
        self.head = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.first.weight.zero_()
            for channel in range(3):
                self.first.weight[channel, channel] = 1 / 16
            self.second.weight.copy_(torch.eye(3)[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[4.0, 0.1, 0], [0.2, 4.0, 0], [-1, -1, 0.5]]))

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x))) - 0.1).mean((2, 3)))


class Asked(Engine):
    """Keeps the layers, methods and targets that its heatmaps were asked for with."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.asked = []

    def heatmaps(self, images, targets, *, layer=None, method=None):
        self.asked += [(layer, method, target) for target in targets]
        return super().heatmaps(images, targets, layer=layer, method=method)

    def compare(self, image, targets, *, layer=None, method=None):
        self.asked += [(layer, method, target) for target in targets]
        return super().compare(image, targets, layer=layer, method=method)


class Skipped(Exception):
    pass


class Skips:
    """A test that can be skipped."""

    def skip(self, reason):
        raise Skipped(reason)


def preprocess(image):
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).float() / 255


def picture(seed=0):
    """Mostly red, so red is predicted; some green; noise, so that no two cells are the same."""
    pixels = np.random.default_rng(seed).integers(0, 60, (32, 32, 3)).astype(np.uint8)
    pixels[:16, :16, 0] += 180
    pixels[20:28, 20:28, 1] += 180
    return pixels


def engine():
    return Asked(Colours().eval(), Interface(preprocess, ("red", "green", "dark")))


def under(policy, engine, gate=None):
    model = ExplainedModel(engine, lambda: policy, gate)
    return explainer_of(lambda: model)


#: Every question that names no target, layer or method of its own: the marker may fill in all three.
OPEN = {
    "call": lambda e: e(picture()),
    "batch": lambda e: e.batch([picture(), picture(1)]),
    "compare": lambda e: e.compare(picture(), [None]),
    "ignores": lambda e: e.assert_ignores(picture(), SQUARE),
    "relies_on": lambda e: e.assert_relies_on(picture(), SQUARE),
    "reliance": lambda e: e.reliance([picture(), picture(1)], SQUARE),
    "no_reliance": lambda e: e.assert_no_reliance([picture(), picture(1)], SQUARE),
    "stable": lambda e: e.assert_stable(picture(), brightness(0.1), similarity_at_least=0.1),
    "robustness": lambda e: e.robustness(picture(), "brightness", severities=[0, 0.2]),
    "faithful": lambda e: e.assert_faithful(picture(), orders=9),
    "depends_on_weights": lambda e: e.assert_depends_on_weights(picture(), draws=1),
    "deterministic": lambda e: e.assert_deterministic(picture()),
}
#: The same with a class that the model does not predict.
NAMED = {
    "call": lambda e: e(picture(), "green"),
    "batch": lambda e: e.batch([picture(), picture(1)], ["green", "green"]),
    "compare": lambda e: e.compare(picture(), ["green", "dark"]),
    "ignores": lambda e: e.assert_ignores(picture(), SQUARE, target="green"),
    "relies_on": lambda e: e.assert_relies_on(picture(), SQUARE, target="green"),
    "reliance": lambda e: e.reliance([picture(), picture(1)], SQUARE, ["green", "green"]),
    "stable": lambda e: e.assert_stable(picture(), brightness(0.1), target="green"),
    "robustness": lambda e: e.robustness(picture(), "brightness", severities=[0, 0.2], target="green"),
    "faithful": lambda e: e.assert_faithful(picture(), target="green", orders=9),
    "depends_on_weights": lambda e: e.assert_depends_on_weights(picture(), target="green", draws=1),
    "deterministic": lambda e: e.assert_deterministic(picture(), target="green"),
}


def ask(question, explainer):
    """What the question answers; a verdict against the model, or none at all, is not what is asked here."""
    try:
        return question(explainer)
    except (FocusError, HeatmapError) as error:
        return error


@pytest.mark.parametrize("name", OPEN)
def test_a_layer_and_a_method_of_the_marker_hold_for_every_heatmap(name):
    asked = engine()
    ask(OPEN[name], under(Policy(layer="first", method="hirescam"), asked))
    if name in ("ignores", "relies_on"):  # they need none, unless a picture is drawn
        assert {(layer, method) for layer, method, _ in asked.asked} <= {("first", "hirescam")}
        return
    assert {(layer, method) for layer, method, _ in asked.asked} == {("first", "hirescam")}


@pytest.mark.parametrize("name", OPEN)
def test_a_target_of_the_marker_is_what_every_question_asks_for(name):
    asked = engine()
    answer = ask(OPEN[name], under(Policy(target="green"), asked))
    if name in ("ignores", "relies_on"):
        assert "'green'" in str(answer)
        return
    assert {target for _, _, target in asked.asked} <= {"green", GREEN}
    assert asked.asked


def test_no_class_is_asked_of_the_place_that_feeds_all_of_them():
    explainer, plain = under(Policy(target="green", mispredicted="fail"), engine()), under(Policy(), engine())
    assert explainer.fed_by([picture()], SQUARE) == plain.fed_by([picture()], SQUARE)


@pytest.mark.parametrize("name", NAMED)
def test_an_argument_comes_before_the_marker(name):
    asked = engine()
    ask(NAMED[name], under(Policy(target="dark"), asked))
    assert "dark" not in {target for _, _, target in asked.asked if name != "compare"}


@pytest.mark.parametrize("name", NAMED)
def test_a_class_that_is_not_predicted_fails_every_question_where_that_is_asked_for(name):
    with pytest.raises(FocusError, match="the model predicts 'red', not 'green'.*; expected 'green' to come first"):
        NAMED[name](under(Policy(mispredicted="fail"), engine()))


@pytest.mark.parametrize("name", NAMED)
def test_and_skips_every_question_which_needs_a_test(name):
    with running(Skips()), pytest.raises(Skipped, match="the model predicts 'red', not 'green'"):
        NAMED[name](under(Policy(mispredicted="skip"), engine()))
    with pytest.raises(HeatmapError, match="there is no test to skip; set mispredicted to label or prediction"):
        NAMED[name](under(Policy(mispredicted="skip"), engine()))


@pytest.mark.parametrize("name", [name for name in NAMED if name not in ("compare", "ignores", "relies_on")])
def test_the_prediction_takes_the_place_of_the_label_in_every_question(name):
    asked = engine()
    answer = ask(NAMED[name], under(Policy(mispredicted="prediction"), asked))
    assert asked.asked[-1][2] == RED
    if name == "call":
        assert answer.target == "red"


@pytest.mark.parametrize("name", ["ignores", "relies_on"])
def test_also_where_pixels_are_replaced(name):
    check = getattr(under(Policy(mispredicted="prediction"), engine()), f"assert_{name}")
    bound = {"at_most": 0.01} if name == "ignores" else {"at_least": 1}
    with pytest.raises((FocusError, HeatmapError), match="target +'red'"):
        check(picture(), masks.box((32, 32), (0, 0, 4, 4)) if name == "relies_on" else SQUARE, target="green", **bound)


def test_label_and_prediction_both_have_to_pass():
    asked = engine()
    heatmap = under(Policy(mispredicted="both"), asked)(picture(), "green")
    assert [heatmap.target, *(other.target for other in heatmap.also)] == ["green", "red"]
    under(Policy(mispredicted="both"), asked).assert_deterministic(picture(), target="green")
    assert {target for _, _, target in asked.asked} >= {GREEN, RED}


@pytest.mark.parametrize(
    ("question", "what"),
    [("reliance", "a set of images is judged on one class each"), ("robustness", "a curve has one")],
)
def test_what_is_judged_on_one_class_refuses_both(question, what):
    with pytest.raises(HeatmapError, match=f"mispredicted = both .*{what}; set (it to )?label or prediction"):
        NAMED[question](under(Policy(mispredicted="both"), engine()))


def test_compare_explains_what_it_is_asked_for_where_one_class_is_predicted():
    for policy in ("label", "prediction", "both", "skip", "fail"):
        found = under(Policy(mispredicted=policy), engine()).compare(picture(), ["green", "red"])
        assert [heatmap.target for heatmap in found.values()] == ["green", "red"]


GATED = {
    "call": lambda e: [e(picture())],
    "batch": lambda e: e.batch([picture(), picture(1)]),
    "compare": lambda e: e.compare(picture(), [RED, GREEN]).values(),
    "prediction": lambda e: [e(picture(), "green")],
}


def shut(heatmap, one, question):
    return f"shut for {question.layer} {question.method} {heatmap.layer} {heatmap.method}"


@pytest.mark.parametrize("name", GATED)
def test_every_heatmap_is_behind_the_gate(name):
    policy = Policy(layer="first", method="hirescam", gate=True, mispredicted="prediction")
    for heatmap in GATED[name](under(policy, engine(), shut)):
        with pytest.raises(HeatmapError, match="shut for first hirescam first hirescam"):
            heatmap.assert_focus_within(SQUARE)
    for heatmap in GATED[name](under(Policy(gate=False), engine(), shut)):
        heatmap.assert_focus_avoids(masks.box((32, 32), (28, 0, 32, 4)), at_most=0.9)


@pytest.mark.parametrize("bounds", [{"mass_at_least": 0.1, "mask": SQUARE}, {"similarity_at_least": 0.1}])
def test_what_rests_on_heatmaps_in_a_stable_check_is_behind_the_gate(bounds):
    explainer = under(Policy(gate=True), engine(), shut)
    with pytest.raises(HeatmapError, match="shut for"):
        explainer.assert_stable(picture(), brightness(0.1), same_class=False, **bounds)
    explainer.assert_stable(picture(), brightness(0.1))  # the class rests on none


def test_boxes_and_regions_ask_at_the_markers_layer(monkeypatch):
    asked = engine()
    monkeypatch.setattr(Engine, "_explain_dense", lambda self, one, targets, layer, method: [self.dense(layer, method)])
    asked.dense = lambda layer, method: asked._heatmaps([asked.read(picture())], [_goal()], layer, method)[0]
    for target in (Box("red", (0, 0, 8, 8)), Region("red")):
        heatmap = under(Policy(layer="first", method="hirescam", gate=True), asked, shut)(picture(), target)
        assert (heatmap.layer, heatmap.method) == ("first", "hirescam")
        with pytest.raises(HeatmapError, match="shut for first hirescam"):
            heatmap.assert_focus_within(SQUARE)


def _goal():
    from pytest_gradcam.cam.outputs import Goal

    return Goal(RED)


def test_the_explainer_has_few_members_and_each_is_documented():
    members = [name for name in vars(Explainer) if not name.startswith("_")]
    assert len(members) <= 20
    assert all(getattr(Explainer, name).__doc__ for name in members)
