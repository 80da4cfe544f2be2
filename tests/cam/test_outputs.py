"""What a model's output means: its unit, its place, its task and its names, against the twin that returns bare logits."""

from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_gradcam import Contrast, Explainer, FocusError, HeatmapError, Region, masks, perturbations
from tests.states import same, state_of

NAMES = ["red", "green", "blue"]
SQUARE = masks.box((32, 32), (4, 4, 16, 16))
CORNER = masks.box((32, 32), (22, 22, 30, 30))


def as_it_is(scores):
    return scores


class Net(nn.Module):
    """One score for each colour: its mean over the picture, less that of the others. `last` and `pack` make the output."""

    def __init__(self, last=as_it_is, pack=as_it_is, classes=3, gain=40.0, bias=(-1.0, -1.5, -2.0)):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 3, 4, stride=4, bias=False), nn.ReLU())
        self.head, self.last, self.pack = nn.Linear(3, classes), last, pack
        with torch.no_grad():
            self.features[0].weight.fill_(-0.5 / 16)
            self.head.weight.zero_()
            self.head.bias.copy_(torch.tensor(bias[:classes]))
            for i in range(3):
                self.features[0].weight[i, i] = 1 / 16
            for i in range(classes):
                self.head.weight[i, i] = gain

    def forward(self, x):
        return self.pack(self.last(self.head(self.features(x).mean((2, 3)))))


def plain(image):
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).float() / 255


def picture(*colours):
    """A red square where the mask is, and beside it a square of each of these colours."""
    image = np.full((32, 32, 3), 20, np.uint8)
    image[4:16, 4:16] = (255, 0, 0)
    for i, colour in enumerate(colours):
        image[20:30, 2 + 12 * i : 12 + 12 * i] = colour
    return image


GREEN, BLUE = (0, 255, 0), (0, 0, 255)
IMAGE = picture(GREEN)


def explainer(last=as_it_is, pack=as_it_is, *, net=None, classes=NAMES, **options):
    return Explainer(net or Net(last, pack).eval(), preprocess=plain, classes=classes, **options)


def by_hand_softmax(z):
    e = (z - z.amax(1, keepdim=True)).exp()
    return e / e.sum(1, keepdim=True)


def by_hand_sigmoid(z):
    return 1 / (1 + (-z).exp())


class Twice(nn.Module):
    """A gate of the same sigmoid comes before the last one."""

    def __init__(self):
        super().__init__()
        self.sigmoid = nn.Sigmoid()

    def forward(self, z):
        return self.sigmoid(z + 0 * self.sigmoid(z))


SOFTMAX = {
    "module": nn.Softmax(1),
    "method": lambda z: z.softmax(-1),
    "function": lambda z: F.softmax(z, dim=1),
    "torch": lambda z: torch.softmax(z, 1),
    "log module": nn.LogSoftmax(1),
    "log function": lambda z: F.log_softmax(z, 1),
}
SIGMOID = {
    "module": nn.Sigmoid(),
    "method": lambda z: z.sigmoid(),
    "in place": lambda z: (z + 0).sigmoid_(),
    "function": torch.sigmoid,
    "special": torch.special.expit,
    "twice": Twice(),
    "log": F.logsigmoid,
}


class TestUnits:
    @pytest.mark.parametrize("last", SOFTMAX.values(), ids=SOFTMAX)
    def test_a_softmax_is_read_before_it(self, last):
        twin, model = explainer(), explainer(last)
        before = state_of(model.model)
        np.testing.assert_array_equal(model.predict([IMAGE]), twin.predict([IMAGE]))
        for target in (None, "green", Contrast("red", "blue")):
            one, other = model(IMAGE, target), twin(IMAGE, target)
            np.testing.assert_array_equal(one.grid, other.grid)
            assert (one.score, one.subject.probability) == (other.score, other.subject.probability)
        assert one.subject.task == "single"
        assert "read as the logits before its last" in one.subject.output
        assert twin(IMAGE).subject.output == ""
        assert same(before, state_of(model.model))

    @pytest.mark.parametrize("last", SIGMOID.values(), ids=SIGMOID)
    @pytest.mark.parametrize("count", [1, 3])
    def test_a_sigmoid_is_read_before_it(self, last, count):
        names = NAMES if count == 3 else ["other", "red"]
        twin, model = (explainer(net=Net(a, classes=count).eval(), classes=names) for a in (as_it_is, last))
        np.testing.assert_array_equal(model.predict([IMAGE]), twin.predict([IMAGE]))
        np.testing.assert_array_equal(model(IMAGE).grid, twin(IMAGE).grid)
        assert model(IMAGE).subject.task == ("multi" if count == 3 else "single")

    def test_the_class_that_one_sigmoid_predicts(self):
        model = explainer(net=Net(nn.Sigmoid(), classes=1).eval(), classes=["other", "red"])
        assert model(IMAGE).target == "red"
        assert model(np.zeros((32, 32, 3), np.uint8), 1).subject.predicted == "other"

    def test_a_saturated_softmax_has_its_logits(self):
        logits, model = (explainer(net=Net(last, gain=4000.0).eval()) for last in (as_it_is, nn.Softmax(1)))
        np.testing.assert_array_equal(model.predict([IMAGE]), logits.predict([IMAGE]))
        assert model(IMAGE).grid.any()

    def test_softmax_by_hand_is_read_as_log_p(self):
        twin, model = explainer(), explainer(by_hand_softmax)
        rows = twin.predict([IMAGE])
        np.testing.assert_allclose(model.predict([IMAGE]), rows - rows.mean(1, keepdims=True), rtol=1e-4, atol=1e-4)
        one, other = (e(IMAGE, Contrast("red", "green")).grid for e in (model, twin))
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)

    @pytest.mark.parametrize("clip", [Tensor.clamp, Tensor.clamp_])
    def test_a_softmax_that_is_clipped_is_not_passed_by(self, clip):
        """Its clip would clip the logits. Here they lie in [0, 1] on the first image, so that nothing shows it there."""
        net = Net(lambda z: clip(z.softmax(1), 1e-7, 1 - 1e-7), gain=1.0, bias=(0.3, 0.4, 0.5)).eval()
        model, twin = explainer(net=net), explainer(net=Net(gain=1.0, bias=(0.3, 0.4, 0.5)).eval())
        row = twin.predict([IMAGE])[0]
        assert ((row > 0) & (row < 1)).all()
        np.testing.assert_allclose(model.predict([IMAGE])[0], row - row.mean(), rtol=1e-4, atol=1e-4)

    def test_a_mean_of_two_softmaxes_is_read_as_log_p(self):
        model = explainer(lambda z: (z.softmax(1) + (z / 2).softmax(1)) / 2)
        row = model.predict([IMAGE])[0].astype(float)
        z = explainer().predict([IMAGE])[0].astype(float)
        p = sum(np.exp(k * z) / np.exp(k * z).sum() for k in (1, 0.5)) / 2
        np.testing.assert_allclose(row, np.log(p) - np.log(p).mean(), rtol=1e-4)

    def test_sigmoid_by_hand_is_asked_for(self):
        with pytest.raises(HeatmapError, match="may be sigmoid probabilities, or small logits; set gradcam_output"):
            explainer(by_hand_sigmoid)(IMAGE)
        model = explainer(by_hand_sigmoid, output="probabilities")
        np.testing.assert_allclose(model.predict([IMAGE]), explainer().predict([IMAGE]), rtol=1e-3, atol=1e-4)
        assert model(IMAGE).subject.task == "multi"

    @pytest.mark.parametrize(
        "last",
        [
            lambda z: 2 * z.softmax(1) - 1,
            lambda z: z.softmax(1) - 1 / 3,
            torch.tanh,
            torch.atan,
            F.softsign,
            lambda z: 30 * torch.tanh(z / 30),
            lambda z: z.clamp(-50, 50),
            F.relu6,
        ],
    )
    def test_scores_that_stop_growing_are_refused(self, last):
        """Their differences stay where the evidence falls, so that what hides a loss would pass."""
        with pytest.raises(HeatmapError, match="no score is beyond.*a tanh or a clip holds them there"):
            explainer(last).assert_ignores(IMAGE, CORNER)
        assert explainer(last, output="logits")(IMAGE).subject.classes == 3

    @pytest.mark.parametrize("last", [F.relu, F.softplus, lambda z: z.relu().log1p(), torch.sinh])
    def test_scores_that_grow_are_taken(self, last):
        assert explainer(last)(IMAGE).subject.predicted == "red"

    @pytest.mark.parametrize(
        "twice", [lambda z: z.softmax(1).softmax(1), lambda z: z.sigmoid().softmax(1), lambda z: z.sigmoid().sigmoid()]
    )
    def test_probabilities_of_probabilities_are_refused(self, twice):
        with pytest.raises(HeatmapError, match="to values in .0, 1., which are probabilities already"):
            explainer(twice)(IMAGE)

    @pytest.mark.parametrize("last", ["conv", "sum", "clamped", "in place"])
    def test_a_segmenter_that_ends_in_a_resized_convolution_returns_logits(self, last):
        conv = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            conv.weight.mul_(0.01)
            conv.bias.fill_(0.25)

        class Segmenter(nn.Module):
            def __init__(self):
                super().__init__()
                self.backbone, self.classifier = nn.Sequential(nn.Conv2d(3, 3, 4, stride=4), nn.Tanh()), conv

            def forward(self, x):
                features = self.backbone(x)  # of -1 to 1, however loud the input: so the scores stay in [0, 1]
                scores = self.classifier(features)
                if last == "sum":
                    scores = scores + self.classifier(0.5 * features)
                if last == "clamped":
                    scores = scores.clamp(0.249, 0.251)
                if last == "in place":
                    scores = scores.sigmoid_().mul_(1.0)
                return {"out": F.interpolate(scores, size=x.shape[-2:], mode="bilinear")}

        model = Explainer(Segmenter().eval(), preprocess=plain)
        if last in ("clamped", "in place"):
            with pytest.raises(HeatmapError, match="may be sigmoid probabilities"):
                model(IMAGE, Region(1, SQUARE))
        else:
            assert model(IMAGE, Region(1, SQUARE)).subject.output == "scores at 'out'"

    def test_small_logits_are_told_by_louder_noise(self):
        net = Net(gain=0.1, bias=(0.1, 0.2, 0.3)).eval()
        with torch.no_grad():
            assert ((net(plain_of(IMAGE)) > 0) & (net(plain_of(IMAGE)) < 1)).all()
        assert explainer(net=net)(IMAGE, "red").subject.output == ""

    @pytest.mark.parametrize(
        "last",
        [lambda z: 0.5 * z, lambda z: z / 2, lambda z: z * nn.Parameter(torch.tensor(2.0)) + 1],
        ids=["*", "/", "parameter"],
    )
    def test_a_temperature_sets_no_bounds(self, last):
        net = Net(gain=1e-6, bias=(-5, -6, -7)).eval()
        net.pack = last
        assert explainer(net=net)(IMAGE, "red").subject.output == ""

    def test_hidden_units_that_are_sigmoids_set_no_bounds(self):
        weight = torch.tensor([[2.0, -1], [0.5, 3], [-2, 1]])
        assert explainer(lambda z: F.linear(z[:, :2].sigmoid(), weight))(IMAGE, "red").subject.output == ""

    def test_logits_that_are_low_in_the_image_rise_in_loud_noise(self):
        net = Net(gain=3, bias=(-5, -6, -7)).eval()
        net.pack = lambda z: z * (z / z.detach())
        with torch.no_grad():
            assert (net(plain_of(IMAGE)) < 0).all()
        assert explainer(net=net)(IMAGE, "red").subject.output == ""

    def test_what_depends_on_the_image_may_set_bounds(self):
        net = Net(gain=1e-6, bias=(-5, -6, -7)).eval()
        net.pack = lambda z: z * (z / z.detach())
        with pytest.raises(HeatmapError, match="no score is above 0"):
            explainer(net=net)(IMAGE)

    def test_saturated_probabilities_without_an_activation_are_refused(self):
        model = explainer(lambda z: by_hand_softmax(1e3 * z))
        with pytest.raises(HeatmapError, match="the probabilities are saturated.*let the model return its logits"):
            model.predict([IMAGE])

    @pytest.mark.parametrize(
        ("last", "words"),
        [
            (lambda z: 100 * z.softmax(1), "add up to 100 for every input, like percentages"),
            (lambda z: 1e-6 * z.tanh() + torch.tensor([[0.2, 0.3, 0.1]]), "same scores for the image and for noise"),
            (lambda z: F.normalize(z), "a vector of norm 1 with 3 values for every input: an embedding"),
            (lambda z: 0 * z - F.softplus(-z), "no score is above 0"),
            (lambda z: z.softmax(1) @ torch.tensor([[1.0, 1], [1, 0], [0, 0]]), r"all scores lie in \[0, 1\]"),
            (nn.Softmax(0), "ends in a softmax, but its scores .* do not add up to 1"),
        ],
    )
    def test_what_is_neither_is_refused(self, last, words):
        with pytest.raises(HeatmapError, match=words):
            explainer(last)(IMAGE)

    def test_one_score_through_softmax_is_refused(self):
        with pytest.raises(HeatmapError, match="expected a softmax over axis 1 of at least two classes"):
            explainer(net=Net(nn.Softmax(1), classes=1).eval(), classes=None)(IMAGE)

    def test_what_is_said_is_held_against_the_output(self):
        with pytest.raises(HeatmapError, match=r"output='probabilities', but the model returned scores from"):
            explainer(output="probabilities")(IMAGE)
        taken = explainer(nn.Softmax(1), output="logits")
        assert taken.predict([IMAGE]).max() <= 1
        with pytest.raises(HeatmapError, match="output='logit' is not known.*did you mean 'logits'"):
            explainer(output="logit")

    def test_a_model_that_changes_its_unit_is_noticed(self):
        net = Net().eval()
        model = explainer(net=net)
        model.predict([IMAGE])
        net.pack = lambda z: z.softmax(1)
        with pytest.raises(HeatmapError, match="returned logits before and returns probabilities now"):
            model.predict([IMAGE])

    def test_another_number_of_activations_is_noticed(self):
        net = Net(nn.Sigmoid()).eval()
        model = explainer(net=net)
        model.predict([IMAGE])
        net.pack = lambda p: p + 0 * p.sigmoid()
        with pytest.raises(HeatmapError, match="called softmax and sigmoid 2 times for this input and 1 times before"):
            model.predict([IMAGE])

    def test_a_callable_gets_what_the_model_returns(self):
        seen = []
        explainer(nn.Softmax(1))(IMAGE, lambda output: seen.append(output.sum().item()) or output[0])
        assert seen
        assert all(total == pytest.approx(1) for total in seen)

    def test_nan_stays_an_error(self):
        net = Net(nn.Softmax(1)).eval()
        with torch.no_grad():
            net.head.bias[0] = float("nan")
        with pytest.raises(HeatmapError, match="NaN"):
            explainer(net=net)(IMAGE, "red")

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision(self, dtype):
        model = explainer(net=Net(nn.Softmax(1)).eval().to(dtype))
        assert model(IMAGE).target == "red"
        assert model.predict([IMAGE])[0, 0] > 3

    def test_batches_are_read_as_single_images(self):
        model = explainer(nn.Softmax(1))
        several = [picture(GREEN), picture(BLUE), picture()]
        rows = np.concatenate([model.predict([one]) for one in several])
        np.testing.assert_allclose(model.predict(several), rows, rtol=1e-5)
        for one, heatmap in zip(several, model.batch(several), strict=True):
            np.testing.assert_allclose(heatmap.grid, model(one).grid, rtol=1e-4, atol=1e-7)


def plain_of(image):
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float()[None] / 255


class TestVerdicts:
    @pytest.mark.parametrize("last", [as_it_is, nn.Softmax(1), nn.LogSoftmax(1), by_hand_softmax])
    def test_interventions_are_those_of_the_logits(self, last):
        """Half of the evidence lies in the mask. Margins of probabilities hardly fall, since they are near 1 all along."""
        image = np.repeat(np.random.default_rng(0).integers(0, 256, (32, 32, 1)), 3, 2).astype(np.uint8)
        image[2:14, 2:14] = image[18:30, 18:30] = (255, 0, 0)
        half = masks.box((32, 32), (18, 18, 30, 30))
        model = explainer(net=Net(last, gain=40.0, bias=(0.0, 0.0, 1.5)).eval())
        model.assert_relies_on(image, half, at_least=0.3)
        with pytest.raises(FocusError, match="expected a fall of at most 0.25"):
            model.assert_ignores(image, half)

    @pytest.mark.parametrize("last", [as_it_is, nn.Softmax(1)])
    def test_the_score_that_a_perturbation_may_move_is_the_logit(self, last):
        with pytest.raises(FocusError, match="the score of 'red' changes by"):
            explainer(last).assert_stable(IMAGE, perturbations.contrast(0.5, down=True), score_within=0.5)


class TestMultiLabel:
    """Red and green lie in the picture; the findings do not compete."""

    def test_a_findings_fall_is_its_own(self):
        image = picture(GREEN, GREEN)  # green stays above red all along: over the best other class nothing falls
        model = explainer(nn.Sigmoid())
        before = model.predict([image])[0]
        assert before[1] > before[0] > 0
        model.assert_relies_on(image, SQUARE, target="red")
        with pytest.raises(FocusError, match="the margin of 'red' falls"):
            model.assert_ignores(image, SQUARE, target="red")

    def test_what_the_finding_does_not_need_is_ignored(self):
        others = [without_red(picture(GREEN)), without_red(picture(BLUE)), without_red(picture(BLUE, GREEN))]
        explainer(nn.Sigmoid()).assert_ignores(picture(GREEN), CORNER, target="red", others=others)

    def test_a_finding_that_is_not_the_highest_is_predicted(self):
        subject = explainer(nn.Sigmoid())(picture(GREEN, GREEN), "red").subject
        assert (subject.task, subject.rank, subject.predicted) == ("multi", 2, "green")
        assert subject.probability == pytest.approx(1 / (1 + np.exp(-subject.score)))

    def test_stable_asks_whether_the_finding_stays(self):
        image = picture(GREEN, GREEN)
        fading = perturbations.contrast(1.0, down=True)
        with pytest.raises(FocusError, match="the model no longer finds 'red'"):
            explainer(nn.Sigmoid()).assert_stable(image, fading, target="red")

    def test_the_setting_comes_first(self):
        assert explainer(nn.Sigmoid(), task="single")(IMAGE).subject.task == "single"
        assert explainer(task="multi")(IMAGE).subject.task == "multi"
        with pytest.raises(HeatmapError, match="task='multi' contradicts the model.*softmax"):
            explainer(nn.Softmax(1), task="multi")(IMAGE)

    def test_hugging_faces_problem_type_is_evidence(self):
        net = Net().eval()
        net.config = SimpleNamespace(problem_type="multi_label_classification")
        assert explainer(net=net)(IMAGE).subject.task == "multi"

    def test_reliance_by_the_findings_own_logit(self):
        """Green is the highest finding in every image, so that over the best other class no one differs from another."""
        rng = np.random.default_rng(0)
        images = [picture(GREEN, GREEN) if i % 2 else without_red(picture(GREEN, GREEN)) for i in range(16)]
        images = [(image + rng.integers(0, 8, image.shape)).clip(0, 255).astype(np.uint8) for image in images]
        model = explainer(nn.Sigmoid())
        found = model.reliance(images, SQUARE, ["red"] * 16)
        assert model.predict(images).argmax(1).tolist() == [1] * 16
        assert (found.intervention, found.relies) == ("swap", True)
        assert model.reliance(images, CORNER, ["red"] * 16).relies is False


def without_red(image):
    """The red square is blue."""
    image = image.copy()
    image[4:16, 4:16] = BLUE
    return image


@dataclass
class Out:
    embedding: Tensor
    scores: Tensor


Pair = namedtuple("Pair", "embedding scores")


def embedded(scores):
    return scores.new_ones(len(scores), 16)


class TestPlaces:
    @pytest.mark.parametrize(
        "pack",
        [
            lambda s: (embedded(s), s),
            lambda s: [embedded(s), s],
            lambda s: Pair(embedded(s), s),
            lambda s: Out(embedded(s), s),
            lambda s: {"age": embedded(s), "sex": s},
            lambda s: SimpleNamespace(a=embedded(s), b=s),
            lambda s: (s.softmax(1), s),
            lambda s: ((s, s + 1), None),
        ],
    )
    def test_two_places_are_refused_with_names_and_shapes(self, pack):
        with pytest.raises(
            HeatmapError, match=r"of shape \(1, \d+\), .* of shape \(1, 3\), and any of them may be the class"
        ):
            explainer(pack=pack)(IMAGE)

    @pytest.mark.parametrize(
        ("pack", "key"),
        [
            (lambda s: (embedded(s), s), 1),
            (lambda s: (embedded(s), s), "1"),
            (lambda s: (embedded(s), s), -1),
            (lambda s: Pair(embedded(s), s), 1),
            (lambda s: Out(embedded(s), s), "scores"),
            (lambda s: Out(embedded(s), s), 1),
            (lambda s: {"age": embedded(s), "sex": s}, "sex"),
            (lambda s: {"heads": [embedded(s), s]}, "heads.1"),
            (lambda s: {0: embedded(s), 1: s}, 1),
        ],
    )
    def test_a_key_picks_one(self, pack, key):
        model = explainer(pack=pack, output_key=key)
        np.testing.assert_array_equal(model.predict([IMAGE, picture()]), explainer().predict([IMAGE, picture()]))
        np.testing.assert_array_equal(model(IMAGE).grid, explainer()(IMAGE).grid)
        assert "scores at" in model(IMAGE).subject.output

    @pytest.mark.parametrize("key", ["label", 2, "0.1"])
    def test_a_key_that_leads_nowhere_is_refused(self, key):
        with pytest.raises(HeatmapError, match=r"output_key=.* is not in the model's output; expected a place in"):
            explainer(pack=lambda s: (embedded(s), s), output_key=key)(IMAGE)

    @pytest.mark.parametrize(
        "pack",
        [
            lambda s: (s,),
            lambda s: (s, None),
            lambda s: (s, s[:, :, None, None]),
            lambda s: {"scores": s, "pred": s.argmax(1), "loss": s.sum()},
            lambda s: {"logits": s, "embedding": embedded(s)},
            lambda s: SimpleNamespace(logits=s, hidden=embedded(s)),
        ],
    )
    def test_one_place_is_read(self, pack):
        np.testing.assert_array_equal(explainer(pack=pack)(IMAGE).grid, explainer()(IMAGE).grid)

    def test_an_embedding_by_its_name_is_refused(self):
        with pytest.raises(HeatmapError, match="'pooler_output' of shape .* by its name an embedding"):
            explainer(pack=lambda s: {"pooler_output": s})(IMAGE)

    def test_a_model_without_a_classifier_is_refused(self):
        net = Net().eval()
        net.num_classes = 0
        with pytest.raises(HeatmapError, match="no classifier"):
            explainer(net=net, classes=None)(IMAGE)

    def test_a_callable_gets_the_container_of_one_image(self):
        shapes = []

        def target(output):
            shapes.append((tuple(output.embedding.shape), tuple(output.scores.shape)))
            return output.scores[0]

        explainer(pack=lambda s: Out(embedded(s), s)).batch([IMAGE, picture()], [target, target])
        assert {((16,), (3,))} <= set(shapes)

    def test_hugging_faces_classifiers(self):
        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, num_labels=3, output_hidden_states=True)
        model = transformers.ViTForImageClassification(config).eval()
        subject = Explainer(model, classes=config.to_dict())(torch.randn(3, 32, 32)).subject
        assert (subject.classes, subject.output) == (3, "scores at 'logits'")
        assert subject.target.startswith("LABEL_")


class TestNames:
    @pytest.mark.parametrize(
        "classes",
        [
            ["red", "green", "blue"],
            np.array(["red", "green", "blue"]),
            {"red": 0, "green": 1, "blue": 2},
            {"0": "red", "1": "green", "2": "blue"},
            {0: "red", 1: "green", 2: "blue"},
            {"id2label": {"0": "red", "1": "green", "2": "blue"}, "architectures": ["Net"], "num_channels": 3},
            {"label2id": {"red": 0, "green": "1", "blue": 2}},
            {"0": ["n0", "red"], "1": ["n1", "green"], "2": ["n2", "blue"]},
            [["n0", "red"], ["n1", "green"], ["n2", "blue"]],
            {"red": 0, "green": 1},
        ],
    )
    def test_every_way_to_write_them(self, classes):
        heatmap = explainer(classes=classes)(IMAGE, "green")
        assert (heatmap.subject.target_index, heatmap.target, heatmap.subject.predicted) == (1, "green", "red")

    @pytest.mark.parametrize(
        ("classes", "words"),
        [
            (["background", *NAMES], "there are 4 class names, and the model gives 3 scores"),
            (["red", "green"], "there are 2 class names, and the model gives 3 scores"),
            ({"red": 1, "green": 2, "blue": 3}, "a class name for the index 3, and the model gives 3 scores"),
        ],
    )
    @pytest.mark.parametrize("ask", [lambda e: e(IMAGE), lambda e: e.predict([IMAGE]), lambda e: e(IMAGE, 0)])
    def test_another_number_is_refused_whatever_is_asked(self, classes, words, ask):
        with pytest.raises(HeatmapError, match=words):
            ask(explainer(classes=classes))

    @pytest.mark.parametrize(
        "classes", [["red", "", "blue"], ["red", None, "blue"], {"cat": "dog"}, {"red": -1}, {"a": 0.5}]
    )
    def test_what_is_no_list_of_names_is_refused(self, classes):
        with pytest.raises(HeatmapError, match="class name"):
            explainer(classes=classes)

    def test_one_score_needs_two_names(self):
        with pytest.raises(HeatmapError, match="one score stands for two classes, 0 and 1"):
            explainer(net=Net(classes=1).eval(), classes=["red"])(IMAGE)

    @pytest.mark.parametrize("index", [-1, 3])
    def test_an_index_without_a_score_is_refused(self, index):
        with pytest.raises(HeatmapError, match="expected an index from 0 to 2"):
            explainer()(IMAGE, index)

    def test_a_class_against_itself_is_refused(self):
        for make in (lambda: Contrast("red", "red"), lambda: Contrast(2, 2)):
            with pytest.raises(HeatmapError, match="sets a class against itself"):
                make()
        for ask in (lambda e, t: e(IMAGE, t), lambda e, t: e.assert_ignores(IMAGE, SQUARE, target=t)):
            with pytest.raises(HeatmapError, match="sets a class against itself"):
                ask(explainer(), Contrast("red", 0))


class Segmenter(nn.Module):
    """Red over 0.5 is the foreground."""

    def __init__(self, last):
        super().__init__()
        self.backbone = nn.Conv2d(3, 3, 1, bias=False)
        self.classifier = nn.Conv2d(3, 1, 1)
        self.last = last
        with torch.no_grad():
            self.backbone.weight.copy_(torch.eye(3)[:, :, None, None])
            self.classifier.weight.copy_(torch.tensor([8.0, 0.0, 0.0]).view(1, 3, 1, 1))
            self.classifier.bias.fill_(-4)

    def forward(self, x):
        return {"out": self.last(self.classifier(self.backbone(x)))}


def test_a_region_of_a_sigmoid_segmenter_is_that_of_its_logits():
    twin, model = (Explainer(Segmenter(last).eval(), preprocess=plain) for last in (as_it_is, nn.Sigmoid()))
    for label in (0, 1):
        one, other = model(IMAGE, Region(label)), twin(IMAGE, Region(label))
        np.testing.assert_array_equal(one.grid, other.grid)
        assert one.score == other.score
    assert model(IMAGE, Region(1)).score == pytest.approx(4 * 12 * 12, rel=1e-3)  # the square, and not every pixel


CONTAINERS = {
    "bare": as_it_is,
    "tuple": lambda s: (s,),
    "dict": lambda s: {"scores": s},
    "logits beside others": lambda s: {"features": embedded(s), "logits": s},
    "object": lambda s: SimpleNamespace(scores=s, loss=None),
    "nested": lambda s: [{"head": s}, None],
    "two": lambda s: (s, embedded(s)),
    "squeezed": lambda s: s.squeeze(),
    "deep": lambda s: s[:, :, None, None],
    "transposed": lambda s: s.T[None],
}
UNITS = {**SOFTMAX, **{f"sigmoid {name}": last for name, last in SIGMOID.items()}, "logits": as_it_is}
UNITS |= {"by hand": by_hand_softmax, "sigmoid by hand": by_hand_sigmoid, "percent": lambda z: 100 * z.softmax(1)}


def verdict(ask):
    """What came out of a check, or the heatmap's peak; None where it was refused."""
    try:
        found = ask()
    except FocusError:
        return "failed"
    except HeatmapError:
        return None
    return "passed" if found is None else (found.target, tuple(found.peak)[:2])


ASKS = {
    "heatmap": lambda e, image, target: e(image, target),
    "relies_on": lambda e, image, target: e.assert_relies_on(image, SQUARE, target=target),
    "ignores": lambda e, image, target: e.assert_ignores(image, CORNER, target=target),
    "stable": lambda e, image, target: e.assert_stable(image, perturbations.brightness(0.5), target=target),
}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(ASKS)),
    st.sampled_from(sorted(CONTAINERS)),
    st.sampled_from(sorted(UNITS)),
    st.sampled_from([1, 3]),
    st.floats(1, 200),
    st.permutations([GREEN, BLUE, (90, 90, 90)]),
    st.integers(0, 2),
)
def test_no_container_and_no_unit_changes_a_verdict(ask, container, unit, count, gain, colours, which):
    """Through whatever it is returned, the verdict is that of the twin with bare logits, or there is none."""
    image, names = picture(*colours[:which]), NAMES if count == 3 else ["other", "red"]
    target = None if which == 2 else "red"
    task = "multi" if "sigmoid" in unit and count == 3 else "single"
    twin = explainer(net=Net(classes=count, gain=gain).eval(), classes=names, task=task)
    model = explainer(net=Net(UNITS[unit], CONTAINERS[container], count, gain).eval(), classes=names)
    found = verdict(lambda: ASKS[ask](model, image, target))
    assert found is None or found == verdict(lambda: ASKS[ask](twin, image, target))
