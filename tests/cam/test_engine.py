"""The models that teams have: what they return, how they are wrapped, and where they live."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.utils.checkpoint import checkpoint

from pytest_gradcam import Contrast, Explainer, HeatmapError
from pytest_gradcam.state import surroundings
from tests.states import same, state_of


def small(classes=5):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 2, 1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    ).eval()


def picture(height=64, width=64):
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def expected():
    return Explainer(small())(picture(), 3)


class Returns(nn.Module):
    """The small model with its scores packed by `pack`."""

    def __init__(self, pack, classes=5):
        super().__init__()
        self.net, self.pack = small(classes), pack

    def forward(self, x):
        return self.pack(self.net(x))


class TestOutputs:
    @pytest.mark.parametrize(
        "pack",
        [
            lambda scores: (scores,),
            lambda scores: (scores, scores.new_zeros(len(scores), 4, 4)),
            lambda scores: [scores, {"features": scores}],
            lambda scores: {"logits": scores, "aux": scores * 0},
            lambda scores: {"out": scores},
        ],
    )
    def test_scores_in_tuples_and_dicts(self, pack, expected):
        explainer = Explainer(Returns(pack))
        np.testing.assert_array_equal(explainer(picture(), 3).grid, expected.grid)
        batch = explainer.batch([picture()] * 3, [3, 1, None])
        assert batch[2].subject.predicted_index == expected.subject.predicted_index
        assert explainer.predict([picture()] * 2).shape == (2, 5)

    def test_a_hugging_face_output(self):
        from transformers import ViTConfig, ViTForImageClassification

        torch.manual_seed(0)
        config = ViTConfig(image_size=64, patch_size=16, hidden_size=32, num_hidden_layers=3, num_attention_heads=2)
        config.intermediate_size, config.num_labels = 64, 4
        heatmap = Explainer(ViTForImageClassification(config))(picture(), 2)
        assert heatmap.grid.shape == (4, 4)
        assert heatmap.subject.classes == 4

    def test_an_object_with_logits(self, expected):
        class Output:
            def __init__(self, scores):
                self.logits = scores

        np.testing.assert_array_equal(Explainer(Returns(Output))(picture(), 3).grid, expected.grid)

    @pytest.mark.parametrize("pack", [lambda scores: scores, lambda scores: scores[:, 0]])
    def test_one_logit_has_two_classes_of_opposite_sign(self, pack):
        model = Returns(pack, classes=1)
        explainer = Explainer(model, classes=["absent", "present"])
        logit = model.net(picture()[None]).item()
        present, absent = explainer.batch([picture()] * 2, ["present", "absent"])
        assert present.score == pytest.approx(logit, abs=1e-6)
        assert absent.score == pytest.approx(-logit, abs=1e-6)
        assert present.subject.probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
        assert present.subject.predicted == ("present" if logit > 0 else "absent")
        assert explainer.predict([picture()]).tolist() == [[pytest.approx(-logit), pytest.approx(logit)]]
        # What speaks for one speaks against the other: the maps before the ReLU are each other's negative.
        assert not (present.grid * absent.grid).any()
        assert present.grid.any() or absent.grid.any()

    def test_a_contrast_is_the_difference_of_two_logits(self):
        explainer = Explainer(small(), classes=list("abcde"))
        contrast = explainer(picture(), Contrast("d", "b"))
        expected = explainer(picture(), lambda output: output[3] - output[1])
        np.testing.assert_array_equal(contrast.grid, expected.grid)
        assert contrast.target == "d rather than b"
        assert contrast.score == pytest.approx(expected.score)
        with pytest.raises(HeatmapError, match="no class 'z'"):
            explainer(picture(), Contrast("a", "z"))

    @pytest.mark.parametrize(
        ("pack", "words"),
        [
            (
                lambda scores: {"a": scores, "b": scores + 1},
                r"'a' of shape \(1, 5\), 'b' of shape \(1, 5\), and any of them may be",
            ),
            (lambda scores: scores[:, :, None, None].expand(-1, -1, 4, 4), r"shape \(1, 5, 4, 4\) for one image"),
            (lambda scores: None, "a NoneType for one image"),
        ],
    )
    def test_what_holds_no_scores_says_so(self, pack, words):
        with pytest.raises(HeatmapError, match=words):
            Explainer(Returns(pack))(picture(), 3)

    def test_and_a_callable_gets_at_it(self, expected):
        model = Returns(lambda scores: {"a": scores, "b": scores})
        np.testing.assert_array_equal(Explainer(model)(picture(), lambda out: out["b"][3]).grid, expected.grid)


class TestCompare:
    def test_one_forward_pass_gives_what_single_calls_give(self):
        model = torchvision.models.resnet18(weights=None).eval()
        explainer, image = Explainer(model), picture(96, 96)
        explainer(image, 0)  # so that the layer is chosen
        passes = []
        handle = model.register_forward_hook(lambda *_: passes.append(1))
        targets = [0, 999, Contrast(1, 2), None]
        heatmaps = explainer.compare(image, targets)
        handle.remove()
        assert len(passes) == 1
        assert list(heatmaps) == targets
        for target in targets:
            alone = explainer(image, target)
            np.testing.assert_allclose(heatmaps[target].grid, alone.grid, atol=1e-6 * alone.grid.max())
            assert heatmaps[target].target == alone.target

    def test_a_callable_beside_it_does_not_move_a_class_to_another_layer(self):
        class TwoHeads(nn.Module):
            """The second head reads the first convolution, so that the two scores have different layers."""

            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.early, self.late = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
                self.head, self.other = nn.Linear(8, 3), nn.Linear(8, 3)

            def forward(self, x):
                early = self.early(x)
                return {
                    "logits": self.head(self.late(early.relu()).mean((2, 3))),
                    "other": self.other(early.mean((2, 3))),
                }

        def other(output):
            return output["other"][1]

        alone = [Explainer(TwoHeads())(picture(), target) for target in (other, 1)]
        assert [heatmap.layer for heatmap in alone] == ["early", "late"]
        explainer = Explainer(TwoHeads())
        for together in (
            explainer.batch([picture()] * 2, [other, 1]),
            explainer.compare(picture(), [other, 1]).values(),
        ):
            for heatmap, expected in zip(together, alone, strict=True):
                assert heatmap.layer == expected.layer
                np.testing.assert_allclose(heatmap.grid, expected.grid, atol=1e-6 * expected.grid.max())

    def test_one_target_is_no_sequence(self):
        with pytest.raises(HeatmapError, match="is one target"):
            Explainer(small()).compare(picture(), "cat")


class TestLayers:
    def test_the_candidates_say_why(self):
        explainer = Explainer(torchvision.models.resnet18(weights=None).eval())
        with pytest.raises(HeatmapError, match="explain one"):
            explainer.layers()
        explainer(picture(128, 128), 1)
        candidates = {candidate.site.name: candidate for candidate in explainer.layers()}
        assert candidates["layer4"].note == "chosen: deepest cut with gradient at 16 of 16 positions"
        assert candidates["layer4"].site.grid == (4, 4)
        assert candidates["layer3"].site.grid == (8, 8)
        assert explainer.layer == "layer4"

    def test_a_grid_under_four_by_four_is_passed_over(self):
        assert Explainer(torchvision.models.resnet18(weights=None).eval())(picture(96, 96), 1).layer == "layer3"

    def test_grids_follow_the_input(self):
        explainer = Explainer(torchvision.models.resnet18(weights=None).eval())
        assert explainer(picture(128, 320), 1).grid.shape == (4, 10)
        assert explainer(picture(320, 128), 1).grid.shape == (10, 4)

    def test_a_model_with_nothing_spatial_is_refused(self):
        flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.ReLU(), nn.Linear(8, 3))
        with pytest.raises(HeatmapError, match="no target layer can be chosen"):
            Explainer(flat)(picture(16, 16), 1)

    def test_a_model_that_cuts_its_graph_is_refused(self):
        class Cut(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = small()

            def forward(self, x):
                with torch.no_grad():
                    return self.net(x)

        with pytest.raises(HeatmapError, match="no gradient leads from the score"):
            Explainer(Cut())(picture(), 1)


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        net = small()
        self.stem, self.body, self.head, self.reentrant = net[:2], net[2:4], net[4:], reentrant

    def forward(self, x):
        x = self.stem(x)
        x = self.body(x) if self.reentrant is None else checkpoint(self.body, x, use_reentrant=self.reentrant)
        return self.head(x)


class TestWrappings:
    @pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
    def test_wrappers_are_looked_through(self, wrap, expected):
        explainer = Explainer(wrap(small()))
        np.testing.assert_array_equal(explainer(picture(), 3).grid, expected.grid)
        assert explainer.layer == expected.layer

    @pytest.mark.filterwarnings("ignore:Guards may run slower")  # torch, of Python 3.13.0
    def test_compiled_in_place_and_in_part(self, expected):
        whole, part = small(), Returns(lambda scores: scores)
        whole.compile(backend="eager")
        part.net = torch.compile(part.net, backend="eager")
        for model in (whole, part):
            with torch.no_grad():
                model(picture()[None])
            before = state_of(model)
            np.testing.assert_allclose(Explainer(model)(picture(), 3).grid, expected.grid, atol=1e-7)
            assert same(before, state_of(model))

    def test_a_lightning_module(self, expected):
        from lightning.pytorch import LightningModule

        class Lit(LightningModule):
            def __init__(self):
                super().__init__()
                self.net = small()

            def forward(self, x):
                return self.net(x)

            def training_step(self, batch):
                return self(batch).sum()

        np.testing.assert_array_equal(Explainer(Lit())(picture(), 3).grid, expected.grid)

    @pytest.mark.parametrize("reentrant", [False, True])
    @pytest.mark.parametrize("layer", [None, "stem", "body.2"])
    def test_gradient_checkpointing_changes_nothing(self, reentrant, layer):
        plain = Explainer(Checkpointed(None), layer=layer)(picture(), 3)
        np.testing.assert_array_equal(Explainer(Checkpointed(reentrant), layer=layer)(picture(), 3).grid, plain.grid)
        # and it works again afterwards
        x = picture()[None].requires_grad_()
        Checkpointed(False)(x).sum().backward()
        assert x.grad is not None

    @pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # torch, of what was recomputed
    @pytest.mark.parametrize("reentrant", [True, False])
    def test_where_pytorch_renames_its_ways_of_recomputing_there_is_an_error_and_no_other_map(
        self, reentrant, monkeypatch
    ):
        plain = Explainer(Checkpointed(None), layer="body.2")(picture(), 3)
        monkeypatch.setattr(surroundings, "_REENTRANT", "_Renamed")
        monkeypatch.setattr(surroundings, "_GENERATORS", ("_renamed",))
        try:
            found = Explainer(Checkpointed(reentrant), layer="body.2")(picture(), 3)
        except (HeatmapError, RuntimeError):
            return
        np.testing.assert_array_equal(found.grid, plain.grid)

    def test_timms_gradient_checkpointing(self):
        torch.manual_seed(0)
        model = timm.create_model("test_vit", pretrained=False).eval()
        plain = Explainer(model, layer="blocks.2")(picture(160, 160), 3)
        model.set_grad_checkpointing(True)
        heatmap = Explainer(model, layer="blocks.2")(picture(160, 160), 3)
        np.testing.assert_array_equal(heatmap.grid, plain.grid)

    @pytest.mark.filterwarnings("ignore")
    def test_torchscript_names_the_way_out(self):
        with pytest.raises(HeatmapError, match=r"TorchScript.*explain the torch\.nn\.Module that it was made from"):
            Explainer(torch.jit.trace(small(), picture()[None]))

    @pytest.mark.filterwarnings("ignore")
    def test_quantised_names_the_way_out(self):
        quantised = torch.ao.quantization.quantize_dynamic(small(), {nn.Linear})
        with pytest.raises(HeatmapError, match=r"part '6' is quantised \(Linear\).*explain the float model"):
            Explainer(quantised)


class TestReuse:
    def test_tied_and_re_used_layers(self):
        class Reused(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.stem = nn.Conv2d(3, 8, 3, 2, 1)
                self.conv = self.tied = nn.Conv2d(8, 8, 3, 2, 1)
                self.relu = nn.ReLU(inplace=True)
                self.head = nn.Linear(8, 3)

            def forward(self, x):
                x = self.relu(self.conv(self.relu(self.stem(x))))
                x = self.relu(self.tied(x))
                return self.head(x.mean((2, 3)))

        model = Reused()
        heatmap = Explainer(model)(picture(), 1)
        x = model.relu(model.conv(model.relu(model.stem(picture()[None]))))
        x = model.relu(model.tied(x)).detach()[0]
        # Before mean pooling and one linear layer, Grad-CAM is the head's own weighting of the channels.
        by_hand = torch.einsum("c,chw->hw", model.head.weight[1], x).relu().detach().numpy() / x[0].numel()
        assert heatmap.grid.shape == (8, 8)
        np.testing.assert_allclose(heatmap.grid, by_hand, atol=1e-6 * by_hand.max())

    def test_an_in_place_layer_after_the_target_layer(self):
        """DenseNet's features are followed by an in-place ReLU: the map is that of the features before it."""
        torch.manual_seed(0)
        model = torchvision.models.densenet121(weights=None).eval()
        image = picture(96, 96)
        heatmap = Explainer(model, layer="features")(image, 1)
        with torch.no_grad():
            features = model.features(image[None])[0]
        weights = model.classifier.weight[1][:, None, None] * (features > 0)
        by_hand = (weights.mean((1, 2)) / features[0].numel() * 1.0)[:, None, None] * features
        by_hand = by_hand.sum(0).relu().detach().numpy()
        np.testing.assert_allclose(heatmap.grid, by_hand, atol=1e-5 * by_hand.max())

    def test_two_explainers_and_a_nested_call_on_one_model(self, expected):
        model = small()
        first, second = Explainer(model), Explainer(model, method="hirescam")

        def nested(output):
            second(picture(), 1)
            return output[3]

        before = state_of(model)
        np.testing.assert_array_equal(first(picture(), nested).grid, expected.grid)
        assert same(before, state_of(model))


class TestTypes:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_autocast_and_low_precision_agree_with_float32(self, dtype):
        model = small()
        exact = Explainer(model)(picture(), 3).grid
        with torch.autocast("cpu", dtype=dtype):
            mixed = Explainer(model)(picture(), 3).grid
        low = Explainer(small().to(dtype))(picture(), 3).grid
        for grid in (mixed, low):
            assert grid.dtype == np.float32
            assert np.corrcoef(grid.ravel(), exact.ravel())[0, 1] > 0.99

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
    def test_cuda_agrees_with_the_cpu(self, expected):
        explainer = Explainer(small(), device="cuda")
        np.testing.assert_allclose(explainer(picture(), 3).grid, expected.grid, atol=1e-3 * expected.grid.max())
