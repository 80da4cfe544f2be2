"""The target layer, against small models whose right answer is known, and cuts against removing the tensor."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pytest_gradcam.cam import trace
from pytest_gradcam.cam.capture import capture
from pytest_gradcam.cam.layers import Choice, Site, choose
from pytest_gradcam.cam.sites import Layout, read_layout, tensors_in
from pytest_gradcam.errors import HeatmapError

SQUARE = (224, 224)


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def first(output: Tensor) -> Tensor:
    return output[0, 0]


def find(model: nn.Module, *size: int, score: Callable[[Any], Tensor] = first, name: str | None = None) -> Choice:
    height, width = size or (32, 32)
    model.eval()
    return choose(model, torch.randn(1, 3, height, width), score, name=name)


class Plain(nn.Module):
    """A CNN with no Sequential, whose grid is 8 x 8 for an input of 32 x 32."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.relu = nn.ReLU(inplace=inplace)
        self.conv = nn.Conv2d(8, 8, 3, 2, 1)
        self.skip = nn.Conv2d(8, 8, 3, 1, 1)
        self.head = nn.Linear(8, 4)

    def features(self, x: Tensor) -> Any:
        x = self.relu(self.conv(self.relu(self.stem(x))))
        return self.relu(x + self.skip(x))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x).mean((2, 3)))


class Wrapper(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        return {"logits": self.net(x * 2)}


class Block(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Any:
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        x = x + self.proj((q @ k.transpose(1, 2)).softmax(-1) @ v)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Patches of 8 pixels; pooled by a class token after `prefix` tokens, or by the mean where there is none."""

    def __init__(self, prefix: int, *, convolution: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8) if convolution else nn.Linear(192, 16)
        self.tokens = nn.Parameter(torch.randn(1, prefix, 16))
        self.blocks = nn.Sequential(*(Block() for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Any:
        if isinstance(self.patches, nn.Conv2d):
            x = self.patches(x).flatten(2).transpose(1, 2)
        else:
            x = self.patches(nn.functional.unfold(x, 8, stride=8).transpose(1, 2))
        x = self.norm(self.blocks(torch.cat([self.tokens, x], 1)))
        return self.head(x[:, 0] if self.tokens.shape[1] else x.mean(1))


# --- layouts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "size", "convolved", "expected"),
    [
        ((1, 512, 7, 7), SQUARE, (), Layout("BCHW", (7, 7))),
        ((1, 7, 7, 768), SQUARE, {(56, 56)}, Layout("BHWC", (7, 7))),
        ((1, 64, 6, 8), (192, 256), (), Layout("BCHW", (6, 8))),
        ((1, 6, 8, 64), (192, 256), (), Layout("BHWC", (6, 8))),
        ((1, 2048, 4, 6), (192, 256), (), Layout("BCHW", (4, 6))),  # Inception: no padding
        ((1, 197, 768), SQUARE, {(14, 14)}, Layout("BNC", (14, 14), 1)),
        ((1, 201, 768), SQUARE, {(14, 14)}, Layout("BNC", (14, 14), 5)),  # a class token and four registers
        ((1, 49, 768), SQUARE, {(56, 56)}, Layout("BNC", (7, 7))),  # pooled after the only convolution
        ((1, 193, 64), (192, 256), {(12, 16)}, Layout("BNC", (12, 16), 1)),
        ((1, 49, 512), SQUARE, (), Layout("BNC", (7, 7))),
        ((1, 192, 64), (192, 256), (), Layout("BNC", (12, 16))),
        ((1, 197, 197), SQUARE, {(14, 14)}, None),  # attention
        ((64, 49, 96), SQUARE, {(56, 56)}, None),  # windows
        ((1, 1, 768), SQUARE, {(14, 14)}, None),
        ((1, 512, 1, 1), SQUARE, (), None),
        ((1, 512, 7, 8), SQUARE, (), None),
        ((1, 1000), SQUARE, (), None),
    ],
)
def test_a_shape_reads_as_a_grid_or_as_none(shape: Any, size: Any, convolved: Any, expected: Layout | None) -> None:
    assert read_layout(shape, size, convolved) == expected


@given(
    h=st.integers(2, 40), w=st.integers(2, 40), prefix=st.integers(0, 8), axes=st.sampled_from(["BCHW", "BHWC", "BNC"])
)
def test_every_position_comes_back_at_its_place(h: int, w: int, prefix: int, axes: str) -> None:
    grid = torch.arange(2.0 * h * w).reshape(1, 2, h, w)
    tokens = torch.tensor([[[grid[0, c, y, x] for c in range(2)] for y in range(h) for x in range(w)]])
    held = {
        "BCHW": grid,
        "BHWC": grid.permute(0, 2, 3, 1),
        "BNC": torch.cat([torch.full((1, prefix, 2), -1.0), tokens], 1),
    }
    site = Site("layer", 0, (), axes, (h, w), prefix)
    found = site.spatial(held[axes])
    assert torch.equal(found, grid)
    assert found.untyped_storage().data_ptr() == held[axes].untyped_storage().data_ptr()  # a view


def test_tensors_are_found_in_nested_outputs() -> None:
    @dataclass
    class Features:
        last: Tensor
        count: int

    one, two, three = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    nested = ({"x": [one]}, Features(two, 7), None, three)
    assert [(path, len(tensor)) for path, tensor in tensors_in(nested)] == [
        ((0, "x", 0), 1),
        ((1, "last"), 2),
        ((3,), 3),
    ]


# --- cuts ----------------------------------------------------------------------------------------------------------


class Web(nn.Module):
    """Identities that each add up outputs of earlier ones: `wires[i]` says which."""

    def __init__(self, wires: list[set[int]]) -> None:
        super().__init__()
        self.wires = wires
        self.nodes = nn.ModuleList(nn.Hardtanh(-9, 9) for _ in wires)
        self.removed: int | None = None

    def forward(self, x: Tensor) -> Any:
        held = [x]
        for i, (node, wires) in enumerate(zip(self.nodes, self.wires, strict=True)):
            out = node(sum((held[wire] for wire in sorted(wires)), start=torch.zeros(())))
            held.append(out.detach() if i == self.removed else out)
        return held[-1].sum()


@st.composite
def _webs(draw: st.DrawFn) -> list[set[int]]:
    return [draw(st.sets(st.integers(0, i), min_size=1, max_size=3)) for i in range(draw(st.integers(1, 9)))]


@given(_webs())
@settings(deadline=None)
def test_a_cut_is_what_severs_the_input_when_it_is_removed(wires: list[set[int]]) -> None:
    web = Web(wires)
    start = torch.zeros(1, 3, 4, 4, requires_grad=True).clone()
    traced = trace.run(web, start)
    is_cut = trace.cut_test(traced.result, start)
    for i in range(len(wires)):
        edge = next(output.edge for output in traced.outputs.values() if output.name == f"nodes.{i}")
        assert edge is not None
        web.removed = i
        severed = not web(torch.zeros(1, 3, 4, 4, requires_grad=True)).requires_grad
        assert (is_cut is not None and is_cut(edge)) == severed


# --- choices -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inplace", [False, True])
def test_a_plain_cnn_is_read_at_its_last_activation(inplace: bool) -> None:
    choice = find(Plain(inplace=inplace))
    assert choice.site == Site("relu", 2, (), "BCHW", (8, 8), 0)
    assert choice.reason == "chosen: deepest cut with gradient at 64 of 64 positions"


def test_a_plain_cnn_is_found_inside_wrappers_and_for_other_sizes() -> None:
    choice = find(Wrapper(Wrapper(Plain())), 32, 48, score=lambda output: output["logits"]["logits"][0, 1])
    assert choice.site == Site("net.net.relu", 2, (), "BCHW", (8, 12), 0)


def test_the_outermost_name_of_one_tensor_is_used() -> None:
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(inplace=True))), nn.Flatten(), nn.LazyLinear(2)
    )
    model(torch.zeros(1, 3, 32, 32))
    assert find(model).site.name == "0"


@pytest.mark.parametrize("prefix", [1, 5])
def test_class_token_pooling_is_read_at_the_norm_through_which_the_last_block_reads_the_patches(prefix: int) -> None:
    choice = find(Transformer(prefix), 32, 48)
    assert choice.site == Site("blocks.3.norm1", 0, (), "BNC", (4, 6), prefix)
    assert choice.reason == "chosen: reads all of blocks.2, with gradient at 24 of 24 positions"
    notes = {candidate.site.name: candidate.note for candidate in choice.candidates}
    assert notes["blocks"] == "gradient at 0 of 24 positions"
    assert notes["blocks.2"] == "read through blocks.3.norm1 only"
    assert notes["blocks.1"] == "a shallower cut"


def test_grad_cam_at_the_chosen_place_is_not_blind_to_what_each_position_says_itself() -> None:
    model, inputs = Transformer(1).eval(), torch.randn(1, 3, 32, 48)
    own = {}
    for name in ("blocks.2", find(model, 32, 48).site.name):
        captured = capture(model, inputs, find(model, 32, 48, name=name).site)
        summands = captured.activations * captured.gradients([captured.output[0, 0]])
        own[name] = float(summands.sum(1).abs().max() / summands.abs().sum(1).max())
    assert own["blocks.2"] < 1e-4 < 1e-2 < own["blocks.3.norm1"]


def test_of_several_norms_through_which_class_tokens_read_all_the_deepest_is_taken() -> None:
    class Reader(nn.Module):
        def __init__(self, strength: float) -> None:
            super().__init__()
            self.norm, self.value, self.strength = nn.LayerNorm(16), nn.Linear(16, 16), strength

        def forward(self, token: Tensor, patches: Tensor) -> Tensor:
            seen = self.norm(torch.cat([token, patches], 1))
            weights = (seen[:, :1] @ seen.transpose(1, 2)).softmax(2)
            return token + self.strength * weights @ self.value(seen)

    class ClassAttention(Transformer):  # CaiT's
        def __init__(self) -> None:
            super().__init__(0)
            self.token, self.readers = nn.Parameter(torch.randn(1, 1, 16)), nn.ModuleList([Reader(1.0), Reader(0.3)])

        def forward(self, x: Tensor) -> Any:
            patches, token = self.blocks(self.patches(x).flatten(2).transpose(1, 2)), self.token
            for reader in self.readers:
                token = reader(token, patches)
            return self.head(token[:, 0])

    choice = find(ClassAttention(), 32, 48)
    assert choice.site == Site("readers.1.norm", 0, (), "BNC", (4, 6), 1)
    assert choice.reason.startswith("chosen: reads the last part of blocks, with gradient at ")
    notes = {candidate.site.name: candidate.note for candidate in choice.candidates}
    assert notes["blocks"] == "read through readers.1.norm and others"


class _Joined(nn.Module):
    """A class token, the first of the tokens, reads the patches, which change a little as well, as in XCiT."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.norm, self.value, self.strength = nn.LayerNorm(16), nn.Linear(16, 16), strength

    def forward(self, x: Tensor) -> Tensor:
        seen = self.norm(x)
        weights = (seen[:, :1] @ seen.transpose(1, 2)).softmax(2)
        return torch.cat([x[:, :1] + self.strength * weights @ self.value(seen), x[:, 1:] + 0.01 * seen[:, 1:]], 1)


class _LateToken(Transformer):
    """A class token that joins after the blocks, or before them, and reads in two layers, with these strengths."""

    def __init__(self, *strengths: float, late: bool = True) -> None:
        super().__init__(0)
        self.token, self.late = nn.Parameter(torch.randn(1, 1, 16)), late
        self.blocks = nn.Sequential(*(Block() for _ in range(8)))
        self.readers = nn.Sequential(*map(_Joined, strengths))

    def forward(self, x: Tensor) -> Any:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token, self.blocks(x)], 1) if self.late else self.blocks(torch.cat([self.token, x], 1))
        return self.head(self.readers(x)[:, 0])


def test_what_a_token_that_joined_late_has_read_first_is_in_the_map() -> None:
    choice = find(_LateToken(1.0, 0.1), 32, 48)
    assert choice.site == Site("readers.0.norm", 0, (), "BNC", (4, 6), 1)
    assert choice.reason.startswith("chosen: reads nearly all of blocks, with gradient at 24 of 24")


def test_what_a_token_that_joined_late_reads_last_is_read_there() -> None:
    assert find(_LateToken(0.001, 1.0), 32, 48).site.name == "readers.1.norm"


def test_where_it_reads_in_both_alike_the_place_before_it_joined_is_taken() -> None:
    assert find(_LateToken(1.0, 1.0), 32, 48).site == Site("blocks", 0, (), "BNC", (4, 6), 0)


def test_a_token_that_was_there_from_the_start_leaves_the_choice_late() -> None:
    assert find(_LateToken(1.0, 1.0, late=False), 32, 48).site.name == "readers.1.norm"


def test_a_norm_that_is_not_the_only_reader_is_passed_over() -> None:
    class Readers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.LayerNorm([8, 8]), nn.LayerNorm([8, 8])

        def forward(self, x: Tensor) -> Any:
            return self.one(x).square().mean((2, 3)) + self.two(x).square().mean((2, 3))

    class Model(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.readers = Readers()

        def forward(self, x: Tensor) -> Any:
            return self.head(self.readers(self.features(x)))

    choice = find(Model())
    assert choice.site == Site("relu", 2, (), "BCHW", (8, 8), 0)
    notes = {candidate.site.name: candidate.note for candidate in choice.candidates}
    assert notes["readers.two"] == "gradient at 64 of 64 positions"


def test_mean_pooling_is_read_at_the_end() -> None:
    assert find(Transformer(0), 32, 48).site == Site("norm", 0, (), "BNC", (4, 6), 0)


def test_a_grid_of_patches_is_found_without_any_convolution() -> None:
    assert find(Transformer(1, convolution=False), 32, 48).site == Site("blocks.3.norm1", 0, (), "BNC", (4, 6), 1)


def test_channels_last_is_read() -> None:
    class Last(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)

        def forward(self, x: Tensor) -> Any:
            return self.head(self.norm(self.features(x).permute(0, 2, 3, 1)).mean((1, 2)))

    assert find(Last()).site == Site("norm", 0, (), "BHWC", (8, 8), 0)


@pytest.mark.parametrize(
    ("pack", "path"),
    [
        (lambda x: (None, x), (1,)),
        (lambda x: {"x": [x]}, ("x", 0)),
    ],
)
def test_tensors_inside_outputs_are_sites(pack: Callable[[Tensor], Any], path: tuple[int | str, ...]) -> None:
    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 4, 4)

        def forward(self, x: Tensor) -> Any:
            return pack(self.conv(x).sigmoid())

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = Backbone()

        def forward(self, x: Tensor) -> Any:
            return next(tensor for _, tensor in tensors_in(self.backbone(x))).mean((2, 3))

    assert find(Model()).site == Site("backbone", 0, path, "BCHW", (8, 8), 0)


def test_two_streams_without_a_late_cut_are_read_at_the_last_main_output() -> None:
    class Streams(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 4, 4)
            self.left = nn.ModuleList(nn.Conv2d(4, 4, 3, 1, 1) for _ in range(4))
            self.right = nn.ModuleList(nn.Conv2d(4, 4, 3, 1, 1) for _ in range(4))
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Any:
            left = right = self.stem(x)
            for one, two in zip(self.left, self.right, strict=True):
                left, right = one(left), two(right)
            return self.head(left.mean((2, 3))) + self.head(right.mean((2, 3)))

    choice = find(Streams())
    assert choice.site.name == "right.3"
    assert choice.reason == "chosen: last main output with gradient at 64 of 64 positions, far after every cut"


def test_scores_at_every_position_from_a_bare_linear_layer_are_passed_over() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(3, 16, 4, 4), nn.LayerNorm(16), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Any:
            return self.head(self.norm(self.conv(x).flatten(2).transpose(1, 2))).mean(1)

    choice = find(Dense())
    assert choice.site.name == "norm"
    assert choice.candidates[0].note == "bare linear"


def test_a_grid_that_is_only_enlarged_is_passed_over() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Upsample((7, 7)), nn.Flatten(), nn.Linear(196, 2)
    )
    choice = find(model)
    assert choice.site.name == "0"
    assert choice.candidates[0].note == "only enlarged from 1 positions"


def test_a_grid_of_2_x_2_is_taken_only_if_there_is_nothing_finer() -> None:
    tail = (nn.Flatten(), nn.Linear(16, 2))
    assert find(nn.Sequential(nn.Conv2d(3, 4, 16, 16), *tail)).site.grid == (2, 2)
    assert find(nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.AvgPool2d(2), *tail)).site.grid == (4, 4)


@pytest.mark.parametrize(
    ("builder", "name", "layout"),
    [
        ("resnet18", "layer4", "BCHW"),
        ("mobilenet_v3_small", "features", "BCHW"),
        ("densenet121", "features", "BCHW"),
        ("swin_t", "permute", "BCHW"),
    ],
)
def test_models_of_torchvision(builder: str, name: str, layout: str) -> None:
    site = find(torchvision.models.get_model(builder), 128, 128).site
    assert (site.name, site.layout) == (name, layout)


def test_a_vision_transformer_of_torchvision() -> None:
    model = torchvision.models.VisionTransformer(64, 16, 3, 2, 32, 64, num_classes=5)
    with pytest.raises(HeatmapError, match=r"the gradient of the score is zero, as under a zero-initialised head"):
        find(model, 64, 64)
    nn.init.normal_(model.heads.head.weight)
    assert find(model, 64, 64).site == Site("encoder.layers.encoder_layer_2.ln_1", 0, (), "BNC", (4, 4), 1)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(reentrant: bool) -> None:
    class Checkpointed(Plain):
        def forward(self, x: Tensor) -> Any:
            x = checkpoint(self.stem, x, use_reentrant=reentrant)
            return self.head(self.skip(self.conv(x)).mean((2, 3)))

    assert find(Checkpointed()).site.name == "skip"


# --- the user's own choice -----------------------------------------------------------------------------------------


def test_a_named_layer_is_read_at_its_last_call() -> None:
    choice = find(Wrapper(Plain()), name="net.relu", score=lambda _output: torch.zeros(()))
    assert choice.site == Site("net.relu", 2, (), "BCHW", (8, 8), 0)
    assert choice.reason == "named by the user"


def test_a_named_container_is_read() -> None:
    assert find(Transformer(1), name="blocks").site == Site("blocks", 0, (), "BNC", (4, 4), 1)


def test_a_named_layer_needs_no_gradient() -> None:
    class Cut(Plain):
        def forward(self, x: Tensor) -> Any:
            with torch.no_grad():
                x = self.conv(self.stem(x))
            return self.head(self.skip(x).mean((2, 3)))

    assert find(Cut(), name="skip").site.name == "skip"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(HeatmapError, match=r"^the model has no layer 'layer_4'; did you mean 'layer4'"):
        find(torchvision.models.resnet18(), name="layer_4")


def test_a_named_layer_without_a_grid_is_answered_with_those_that_have_one() -> None:
    with pytest.raises(HeatmapError) as caught:
        find(Transformer(1), name="head")
    assert str(caught.value) == (
        "layer head returns (1, 4); expected a spatial grid of the input's aspect, 32 x 32. Layers that have one, "
        "deepest first: norm (4 x 4), blocks (4 x 4), blocks.3 (4 x 4), blocks.2 (4 x 4), blocks.1 (4 x 4), "
        "blocks.0 (4 x 4), patches (4 x 4)"
    )


def test_a_named_layer_that_is_never_called_is_an_error() -> None:
    model = Plain()
    model.unused = nn.ReLU()
    with pytest.raises(HeatmapError, match=r"^layer unused returns no tensor in this forward pass; expected"):
        find(model, name="unused")


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [False, True])
def test_a_graph_cut_by_no_grad_is_refused_with_the_layers_that_have_a_grid(frozen: bool) -> None:
    class Cut(Plain):
        def forward(self, x: Tensor) -> Any:
            with torch.no_grad():
                x = self.features(x)
            return self.head(x.mean((2, 3)))

    with pytest.raises(
        HeatmapError, match=r"no gradient leads from the score to the input .* deepest first: relu \(8 x 8"
    ):
        find(Cut())


def test_a_model_with_nothing_spatial_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.ReLU(), nn.Linear(8, 2))
    with pytest.raises(HeatmapError, match=r"nothing in the model returns a spatial grid .* deepest first: none$"):
        find(model)


def test_a_zero_head_is_refused() -> None:
    model = Plain()
    nn.init.zeros_(model.head.weight)
    with pytest.raises(HeatmapError, match="zero-initialised head"):
        find(model)


def test_a_score_that_is_not_finite_is_refused() -> None:
    model = Plain()
    nn.init.constant_(model.head.bias, float("nan"))
    with pytest.raises(HeatmapError, match=r"^the score is NaN or infinite"):
        find(model)


def test_a_gradient_that_is_not_finite_is_refused() -> None:
    # The root of zero has a finite value and an infinite slope.
    with pytest.raises(HeatmapError, match=r"^the gradient of the score at layer relu is NaN or infinite"):
        find(Plain(), score=lambda output: (output[0, 0] * 0).sqrt())


def test_a_batch_is_refused() -> None:
    with pytest.raises(HeatmapError, match=r"the shape \(2, 3, 8, 8\); expected one image"):
        choose(Plain(), torch.zeros(2, 3, 8, 8), first)


# --- no trace ------------------------------------------------------------------------------------------------------


def _hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_nothing_is_left_on_the_model_or_the_input() -> None:
    model, inputs = Plain(inplace=True).eval(), torch.randn(1, 3, 32, 32)
    before = inputs.clone()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    choose(model, inputs, first)
    choose(model, inputs, first, name="conv")
    with pytest.raises(ZeroDivisionError):
        choose(model, inputs, lambda output: output[0, 1 // 0])
    with pytest.raises(HeatmapError):
        choose(model, torch.randn(1, 5, 32, 32), first)
    assert _hooks(model) == 0
    assert torch.equal(inputs, before)
    assert not inputs.requires_grad
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())


def test_no_tensor_outlives_the_choice() -> None:
    model, seen = Plain().eval(), []
    model.skip.register_forward_hook(lambda _module, _inputs, output: seen.append(weakref.ref(output)))
    choice = choose(model, torch.randn(1, 3, 32, 32), first)
    gc.collect()
    assert choice.site.name == "relu"
    assert [reference() for reference in seen] == [None]
