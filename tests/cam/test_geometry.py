"""Where the cells of a layer's grid look, on small models whose right answer is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from pytest_gradcam import Explainer
from pytest_gradcam.cam import orders
from pytest_gradcam.cam.capture import capture
from pytest_gradcam.cam.geometry import Geometry
from pytest_gradcam.cam.layers import Choice, choose
from pytest_gradcam.cam.sites import Site
from pytest_gradcam.errors import HeatmapError


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def find(model: nn.Module, channels: int = 3, *, name: str | None = None, side: int = 32) -> Choice:
    inputs = torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(0))
    return choose(model.eval().requires_grad_(False), inputs, lambda output: output[0, 0], name=name)


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4))
        self.head = nn.Linear(8, 3)

    def pooled(self, x: Tensor) -> Tensor:
        return self.trunk(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pooled(x))


class Mirrored(Trunk):
    """Averages over the image and its mirror image."""

    def forward(self, x: Tensor) -> Tensor:
        return (super().forward(x) + super().forward(x.flip(3))) / 2


class Stacked(Trunk):
    """Compares two images in six channels."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.pooled(x[:, :3]) - self.pooled(x[:, 3:])).abs())


class Compared(Trunk):
    """Compares the image with another one that it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("other", torch.zeros(1, 3, 32, 32))

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.pooled(x) - self.pooled(self.other)).abs())


class Again(Trunk):
    """Calls the same layer twice, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Conv2d(8, 8, 3, padding=1)

    def pooled(self, x: Tensor) -> Tensor:
        return self.block(self.block(self.trunk(x)).relu()).mean((2, 3))


@pytest.mark.parametrize("name", [None, "trunk", "trunk.0"])
@pytest.mark.parametrize(("model", "channels"), [(Mirrored(), 3), (Stacked(), 6)])
def test_a_model_that_looks_twice_is_refused(model: nn.Module, channels: int, name: str | None) -> None:
    with pytest.raises(HeatmapError, match=r"^layer trunk(\.0)? looks at the input 2 times side by side"):
        find(model, channels, name=name)


def test_another_image_that_the_model_holds_is_no_second_look() -> None:
    assert find(Compared()).site.name == "trunk"


@pytest.mark.parametrize("name", [None, "block"])
def test_a_layer_called_twice_in_turn_is_no_second_look(name: str | None) -> None:
    site = find(Again(), name=name).site
    assert (site.name, site.call) == ("block", 1)


# --- tokens ---------------------------------------------------------------------------------------------------------


class Tokens(nn.Module):
    """Patches of 8 pixels and tokens that are not positions, put together by `arrange`, which blocks mix a little."""

    def __init__(self, others: int, arrange: Callable[[Tensor, Tensor], Tensor], *, convolution: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8) if convolution else nn.Linear(192, 16)
        self.others = nn.Parameter(torch.randn(1, others, 16))
        self.arrange = arrange
        self.blocks = nn.Sequential(*(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(2)))
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.patches, nn.Conv2d):
            x = self.patches(x).flatten(2).transpose(1, 2)
        else:
            x = self.patches(nn.functional.unfold(x, 8, stride=8).transpose(1, 2))
        return self.head(self.blocks(self.arrange(self.others, x)).mean(1))


def examined(model: nn.Module, name: str, side: int = 64) -> tuple[Site, Geometry]:
    choice = find(model, name=name, side=side)
    (geometry,) = [candidate.geometry for candidate in choice.candidates if candidate.geometry]
    return choice.site, geometry


def places(model: nn.Module, site: Site, side: int = 64) -> list[int]:
    """For each position of the site's grid, the place of the input where a change shows there most, found by trying."""
    inputs = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    height, width = (side // cells for cells in site.grid)
    before = capture(model, inputs, site).activations
    changes = []
    for place in range(site.grid[0] * site.grid[1]):
        row, column = divmod(place, site.grid[1])
        changed = inputs.clone()
        changed[:, :, row * height : (row + 1) * height, column * width : (column + 1) * width] += 0.1
        changes.append((capture(model, changed, site).activations - before).norm(dim=1).flatten())
    return torch.stack(changes).argmax(0).tolist()


ARRANGED = {
    "before": (lambda others, x: torch.cat([others, x], 1), "its cells look at their own places"),
    "behind": (
        lambda others, x: torch.cat([x, others], 1),
        "its 2 tokens that are not positions lie behind the others",
    ),
    "in the middle": (
        lambda others, x: torch.cat([x[:, :29], others, x[:, 29:]], 1),
        "its 2 tokens that are not positions lie among the others",
    ),
    "on both sides": (
        lambda others, x: torch.cat([others[:, :1], x, others[:, 1:]], 1),
        "its 2 tokens that are not positions lie among the others",
    ),
    "mirrored": (
        lambda others, x: torch.cat([others, x.unflatten(1, (8, 8)).flip(2).flatten(1, 2)], 1),
        "its cells are mirrored left to right",
    ),
    "in columns": (
        lambda others, x: torch.cat([others, x.unflatten(1, (8, 8)).transpose(1, 2).flatten(1, 2)], 1),
        "its cells are with rows and columns exchanged",
    ),
    "in windows": (
        lambda others, x: torch.cat([others, x.unflatten(1, (2, 4, 2, 4)).transpose(2, 3).flatten(1, 4)], 1),
        "its cells are in windows of 4 x 4",
    ),
}


@pytest.mark.parametrize("name", ARRANGED)
def test_the_order_of_the_tokens_is_found(name: str) -> None:
    arrange, note = ARRANGED[name]
    model = Tokens(2, arrange)
    site, geometry = examined(model, "blocks")
    assert (site.grid, geometry.note) == ((8, 8), note)
    assert places(model, site) == list(range(64))
    assert geometry.share > 0.5
    assert geometry.rank > 0.95


@pytest.mark.parametrize("at", [3, 20, 32, 45, 61])
def test_one_token_amid_the_positions_is_found_wherever_it_lies(at: int) -> None:
    model = Tokens(1, lambda others, x: torch.cat([x[:, :at], others, x[:, at:]], 1))
    site, geometry = examined(model, "blocks")
    assert geometry.note == "its 1 tokens that are not positions lie among the others"
    assert places(model, site) == list(range(64))


@pytest.mark.parametrize("side", [64, 96, 128])
def test_rows_that_run_to_and_fro_are_not_taken_for_rows(side: int) -> None:
    def snake(others: Tensor, x: Tensor) -> Tensor:
        rows = x.unflatten(1, (side // 8, side // 8)).clone()
        rows[:, 1::2] = rows[:, 1::2].flip(2)
        return torch.cat([others, rows.flatten(1, 2)], 1)

    model = Tokens(1, snake)
    choice = find(model, side=side)
    assert choice.site.name == "patches"
    assert places(model, choice.site, side) == list(range((side // 8) ** 2))
    with pytest.raises(HeatmapError, match="its cells have no place of their own"):
        find(model, side=side, name="blocks")


@pytest.mark.parametrize("at", [3, 16, 63])
def test_a_token_amid_columns_is_never_overlooked(at: int) -> None:
    def columns(others: Tensor, x: Tensor) -> Tensor:
        x = x.unflatten(1, (8, 8)).transpose(1, 2).flatten(1, 2)
        return torch.cat([x[:, :at], others, x[:, at:]], 1)

    model = Tokens(1, columns)
    site = find(model, side=64).site
    assert places(model, site) == list(range(64))


class Sorted(Trunk):
    """The rows of its features change places by what the image shows."""

    def forward(self, x: Tensor) -> Tensor:
        features = nn.functional.avg_pool2d(x, 4)
        return self.head(self.late(features.sort(2).values).relu().mean((2, 3)))

    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Conv2d(3, 8, 1)


def test_cells_of_an_image_that_look_elsewhere_are_refused() -> None:
    with pytest.raises(HeatmapError, match="late cannot be read as a map: its cells have no place of their own"):
        find(Sorted(), name="late")


def test_a_confirmed_layout_stays_exactly_as_it_was_inferred() -> None:
    site, geometry = examined(Tokens(2, ARRANGED["before"][0]), "blocks")
    assert site == Site("blocks", 0, (), "BNC", (8, 8), 2)
    assert geometry.cells == 4
    assert str(geometry).startswith("its cells look at their own places; ")


def test_tokens_beside_the_patches_make_no_larger_grid() -> None:
    def arrange(others: Tensor, x: Tensor) -> Tensor:
        return torch.cat([x.mean(1, keepdim=True) * others, x], 1)  # each of them has seen the whole image

    model = Tokens(64, arrange, convolution=False)  # 128 tokens: 11 x 11 and 7 before, by their number
    site, geometry = examined(model, "blocks")
    assert (site.grid, site.prefix, geometry.note) == ((8, 8), 64, "its tokens hold a grid of 8 x 8")
    assert places(model, site) == list(range(64))


def test_ablation_at_ordered_tokens_leaves_the_others_alone() -> None:
    site = Site("layer", 0, (), "BNC", (2, 2), 0, (0, 1, 3, 4))
    tokens = torch.ones(2, 5, 3)
    site.clear(tokens, torch.tensor([0, 2]))
    assert tokens[0, :, 0].tolist() == [0, 0, 1, 0, 0] == tokens[1, :, 2].tolist()
    assert tokens.sum() == 30 - 8


# --- no place -------------------------------------------------------------------------------------------------------


class Pooled(Trunk):
    """Pools over space, after which the channels, 16 of them, look like a grid of 4 x 4 tokens."""

    def __init__(self, side: int = 1) -> None:
        super().__init__()
        self.wide, self.pool = nn.Conv2d(8, 16, 1), nn.AdaptiveAvgPool1d(side)
        self.head = nn.Linear(16 * side, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.wide(self.trunk(x)).flatten(2)).flatten(1))


class Latent(nn.Module):
    """Sixteen learned queries read the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.queries = nn.Conv2d(3, 24, 8, 8), nn.Parameter(torch.randn(1, 16, 24))
        self.read, self.norm = nn.MultiheadAttention(24, 2, batch_first=True), nn.LayerNorm(24)
        self.head = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.read(self.queries, x, x)[0]).mean(1))


@pytest.mark.parametrize(("model", "name", "chosen"), [(Pooled(), "pool", "wide"), (Latent(), "norm", "patches")])
def test_tokens_without_a_place_are_passed_over_and_refused_by_name(model: nn.Module, name: str, chosen: str) -> None:
    choice = find(model, side=64)
    assert choice.site.name == chosen
    notes = {candidate.site.name: candidate.note for candidate in choice.candidates}
    assert notes[name] == "its cells have no place of their own"
    with pytest.raises(
        HeatmapError, match=f"^layer {name} cannot be read as a map: its cells have no place of their own"
    ):
        find(model, side=64, name=name)


def test_a_map_of_two_looks_that_were_joined_is_refused() -> None:
    class Joined(Trunk):
        def forward(self, x: Tensor) -> Tensor:
            return self.head((self.trunk[2](self.trunk[:2](x) + self.trunk[:2](x.flip(3)))).mean((2, 3)))

    with pytest.raises(HeatmapError, match="look at their own places and at these mirrored left to right"):
        find(Joined(), name="trunk.2")


class Joined(nn.Module):
    """Adds the mirror image to the image, and sees nothing where that is dark."""

    def __init__(self, other: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.other = other
        self.patches, self.late = (
            nn.Conv2d(3, 8, 8, 8, bias=False),
            nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU()),
        )
        self.head = nn.Linear(8, 3)
        for part in self.modules():
            if hasattr(part, "weight"):
                nn.init.constant_(part.weight, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.late(self.patches(self.other(x))).mean((2, 3)))


def squeezed(x: Tensor) -> Tensor:
    return nn.functional.interpolate(nn.functional.pad(x, (0, x.shape[3], 0, 0)), size=x.shape[2:])


def nearly_empty() -> Tensor:
    image = torch.zeros(3, 64, 64)
    image[:, 40:48, 48:56] = 1
    return image


@pytest.mark.parametrize("layer", [None, "late"])
def test_an_image_that_is_nearly_empty_hides_no_second_place(layer: str | None) -> None:
    with pytest.raises(HeatmapError, match="its cells look at their own places and at these mirrored left to right"):
        Explainer(Joined(lambda x: (x + x.flip(3)) / 2).eval(), layer)(nearly_empty(), 0)


def test_places_that_the_model_squeezes_are_right_or_refused() -> None:
    peak = Explainer(Joined(squeezed).eval())(nearly_empty(), 0).peak
    assert (peak.x // 8, peak.y // 8) == (6, 5)
    with pytest.raises(HeatmapError, match="its cells have no place of their own"):
        Explainer(Squeezed().eval())(nearly_empty(), 0)


class Squeezed(Joined):
    """The same, with a class token that reads the patches."""

    def __init__(self) -> None:
        super().__init__(squeezed)
        self.read = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(self.other(x)).relu().flatten(2).transpose(1, 2)
        return self.head(self.read(tokens).mean(1))


def test_cells_of_an_image_that_look_everywhere_alike_are_told_and_stay() -> None:
    class Mixed(Trunk):
        def pooled(self, x: Tensor) -> Tensor:
            x = self.trunk(x)
            return self.mix(x.mean((2, 3), keepdim=True) + 0 * x).mean((2, 3))

        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Conv2d(8, 8, 1)

    site, geometry = examined(Mixed(), "mix")
    assert site == Site("mix", 0, (), "BCHW", (16, 16), 0)
    assert geometry.note.startswith("its cells look everywhere alike")
    assert not geometry.fault


class Asked(nn.Module):
    """Downsampling attention without a way around it: each cell asks from its own place, and is told of all places."""

    def __init__(self, image: bool) -> None:
        super().__init__()
        self.image = image
        self.patches = nn.Conv2d(3, 24, 8, 8)
        self.query, self.key, self.value = (nn.Linear(24, 24) for _ in range(3))
        self.out, self.head = nn.Identity(), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        coarse = nn.functional.avg_pool2d(x, 2).flatten(2).transpose(1, 2)
        x = x.flatten(2).transpose(1, 2)
        weights = (0.3 * self.query(coarse) @ self.key(x).transpose(1, 2)).softmax(2)
        told = weights @ self.value(x)
        told = self.out(told.transpose(1, 2).unflatten(2, (4, 4)) if self.image else told)
        return self.head(told.mean((2, 3) if self.image else 1))


@pytest.mark.parametrize("image", [False, True])
def test_cells_that_ask_from_their_place_and_are_told_of_all_places_are_passed_over(image: bool) -> None:
    model = Asked(image)
    choice = find(model, side=64)
    assert choice.site.name == "patches"
    notes = {candidate.site.name: candidate.note for candidate in choice.candidates}
    assert notes["out"] == "its cells have no place of their own"
    with pytest.raises(HeatmapError, match="^layer out cannot be read as a map: its cells have no place of their own"):
        find(model, side=64, name="out")


class Stem(Trunk):
    """A convolution that coarsens the input to a few cells."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, side, side))


class Few(nn.Module):
    """Patches as tokens, which a block mixes a little, or pools and gives back to all of them."""

    def __init__(self, side: int, *, pooled: bool = False) -> None:
        super().__init__()
        self.patches, self.pooled = nn.Conv2d(3, 16, side, side), pooled
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.block(x.mean(1, keepdim=True) + 0 * x if self.pooled else x).mean(1))


@pytest.mark.parametrize("cells", [2, 3])
def test_a_grid_of_few_cells_is_told_by_the_operations_on_the_way_to_it(cells: int) -> None:
    side = 36
    site, geometry = examined(Stem(side // cells), "trunk", side)
    assert site.grid == (cells, cells)
    assert str(geometry) == "its cells look at their own places, as the operations on the way to them say"


@pytest.mark.parametrize("cells", [2, 3])
def test_a_grid_of_few_tokens_is_measured_by_replacing_parts_of_the_input(cells: int) -> None:
    side = 36
    site, geometry = examined(Few(side // cells), "block", side)
    assert (site.grid, geometry.note) == ((cells, cells), "its cells look at their own places")
    assert geometry.shown > 1.2
    assert str(geometry).startswith(
        "its cells look at their own places; a replaced part of the input changes the cell there "
    )
    with pytest.raises(
        HeatmapError, match="^layer block cannot be read as a map: its cells have no place of their own"
    ):
        find(Few(side // cells, pooled=True), name="block", side=side)


class Cut(Trunk):
    """No gradient leads from the trunk to the input."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.looks = pooled

    def pooled(self, x: Tensor) -> Tensor:
        x = x.detach()
        return super().pooled(x.mean((2, 3), keepdim=True).expand(-1, -1, 32, 32) if self.looks else x)


def test_where_no_gradient_leads_to_the_input_parts_of_it_are_replaced() -> None:
    assert examined(Cut(False), "trunk")[1].note == "its cells look at their own places"
    with pytest.raises(
        HeatmapError, match="^layer trunk cannot be read as a map: its cells have no place of their own"
    ):
        find(Cut(True), name="trunk")


def test_a_layer_that_the_input_does_not_change_is_refused() -> None:
    class Still(Trunk):
        def pooled(self, x: Tensor) -> Tensor:
            return super().pooled(0 * x.detach())

    with pytest.raises(HeatmapError, match="nothing changes there when parts of the input are replaced"):
        find(Still(), name="trunk")


@pytest.mark.parametrize(("grid", "depth"), [((8, 8), 1), ((8, 12), 2)])
def test_unrolled_orders_are_those_of_hiera(grid: tuple[int, int], depth: int) -> None:
    from timm.models.hiera import Unroll

    places = torch.arange(float(grid[0] * grid[1]))[None, :, None]
    unrolled = Unroll(grid, (1, 1), [(2, 2)] * depth)(places)[0, :, 0]
    order = dict(orders.blocks(grid))[f"unrolled {depth} times"]
    assert unrolled[order].tolist() == places[0, :, 0].tolist()
