"""The strategies draw what they promise, find a planted weakness, and shrink to code that can be pasted."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import Phase, find, given, seed, settings
from hypothesis import strategies as st

from pytest_gradcam import masks, strategies
from pytest_gradcam import perturbations as P
from pytest_gradcam.errors import HeatmapError

quick = settings(max_examples=60, deadline=None, database=None)


def _simplest(strategy, condition=lambda _: True):
    quiet = settings(max_examples=2000, database=None, deadline=None)
    return find(strategy, condition, settings=quiet, random=Random(0))


def _shrunk(strategy, fails, *, number):
    """What Hypothesis ends with for the property `not fails(value)`, with its message, or (None, '')."""
    last = [None]

    @seed(number)
    @settings(
        max_examples=300, deadline=None, database=None, phases=[Phase.generate, Phase.shrink], print_blob=False
    )  # Hypothesis' own CI profile adds a blob, and here the note has to be code
    @given(strategy)
    def holds(value):
        if fails(value):
            last[0] = value
            raise AssertionError

    try:
        holds()
    except AssertionError as error:
        return last[0], "\n".join(error.__notes__)
    return None, ""


FEW = ["brightness", "fog", "occlude", "rotate", "jpeg"]


def _too_bright(change):
    return any(isinstance(part, P.brightness) and not part.down and part.severity > 0.3 for part in change)


@pytest.mark.parametrize("number", range(3))
def test_a_weakness_of_one_kind_is_found_and_shrunk_to_its_bound(number):
    change, message = _shrunk(strategies.compositions(FEW), _too_bright, number=number)
    assert change == P.brightness(change.severity)  # no other part is left
    assert change.severity == pytest.approx(0.3, abs=0.002)
    assert f"change={change!r}" in message.replace("value=", "change=")


#: Severities from which on a model breaks, as one that was trained on sharp pictures: the first kind breaks it as well.
BLURRED = {P.gaussian_blur: 0.17, P.defocus_blur: 0.31, P.brightness: 0.41, P.jpeg: 0.45, P.zoom: 0.3}


def _breaks_when_blurred(change):
    return any(part.severity >= BLURRED.get(type(part), 2) for part in change)


@pytest.mark.parametrize("number", range(12))
def test_the_search_ends_at_the_mildest_kind_and_not_at_the_first(number):
    kinds = ["brightness", "hue", "jpeg", "zoom", "defocus_blur", "gaussian_blur"]
    change, _ = _shrunk(strategies.perturbations(kinds), _breaks_when_blurred, number=number)
    assert change == P.gaussian_blur(change.severity)
    assert change.severity == pytest.approx(0.17, abs=0.002)


@pytest.mark.parametrize("strategy", [strategies.perturbations(), strategies.compositions()], ids=["one", "several"])
def test_the_search_ends_at_the_mildest_of_all_kinds(strategy):
    change, _ = _shrunk(strategy, _breaks_when_blurred, number=1)
    assert change == P.gaussian_blur(change.severity)
    assert change.severity == pytest.approx(0.17, abs=0.002)


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        (
            lambda c: any(isinstance(p, P.rotate) and p.clockwise and p.severity >= 0.2 for p in c),
            "rotate(0.2, clockwise=True)",
        ),
        (lambda c: any(isinstance(p, P.fog) and p.seed and p.severity > 0.1 for p in c), "fog(0.101, seed=1)"),
        (
            lambda c: any(isinstance(p, P.occlude) and p.x == 0 and p.severity >= 0.15 for p in c),
            "occlude(0.15, x=0.0)",
        ),
    ],
)
def test_what_does_not_matter_shrinks_away(fails, expected):
    assert repr(_simplest(strategies.compositions(FEW), fails)) == expected


def test_parts_that_are_needed_shrink_to_the_mildest_that_do():
    """Which kinds they are of, and in which order, is left open: they are equally mild."""
    simplest = _simplest(strategies.compositions(FEW), lambda c: sum(p.severity > 0.05 for p in c) >= 2)
    assert [part.severity for part in simplest] == [0.051, 0.051]


def test_the_simplest_of_each():
    assert _simplest(strategies.compositions()) == P.identity
    assert _simplest(strategies.perturbations()) == P.brightness(0)
    assert _simplest(strategies.crops((20, 30))) == (0, 0, 30, 20)
    assert np.array_equal(_simplest(strategies.images()), np.zeros((4, 4), np.uint8))
    mask, _ = _shrunk(strategies.masks((20, 30)), lambda _: True, number=0)
    assert np.argwhere(mask).tolist() == [[0, 0]]


def test_the_falsifying_example_is_code():
    def fails(drawn):
        image, mask, change = drawn
        return image.max() > 99 and mask.sum() > 20 and any(isinstance(part, P.fog) for part in change)

    drawn = st.tuples(strategies.images(max_side=6), strategies.masks((9, 8)), strategies.compositions(kinds=["fog"]))
    (image, mask, change), message = _shrunk(drawn, fails, number=0)
    code = message.partition("(")[2].rpartition(")")[0].partition("=")[2].rstrip(",\n ")
    names = {
        **vars(P),
        "picture": strategies.picture,
        "box": masks.box,
        "polygon": masks.polygon,
        "circle": masks.circle,
    }
    again = eval(code, names)
    assert np.array_equal(again[0], image)
    assert np.array_equal(again[1], mask)
    assert again[2] == change == P.fog(0)


@quick
@given(strategies.perturbations(kinds=["fog", P.zoom], max_severity=0.25))
def test_kinds_and_max_severity_bound_what_is_drawn(change):
    assert isinstance(change, (P.fog, P.zoom))
    assert 0 <= change.severity <= 0.25
    assert round(change.severity * 1000) / 1000 == change.severity


@quick
@given(strategies.compositions(max_size=2, max_severity=1))
def test_a_composition_holds_each_kind_at_most_once(change):
    kinds = [type(part) for part in change]
    assert len(kinds) == len(set(kinds)) <= 2


@pytest.mark.parametrize("kind", P.KINDS.values(), ids=P.KINDS)
def test_every_kind_is_drawn_up_to_the_highest_severity(kind):
    strongest = _simplest(strategies.perturbations([kind], max_severity=1), lambda change: change.severity == 1)
    assert strongest == kind(1)


@quick
@given(strategies.images(min_side=3, max_side=9))
def test_images_are_small_pictures(image):
    assert image.dtype == np.uint8
    assert all(3 <= side <= 9 for side in image.shape[:2])
    assert image.shape[2:] in [(), (3,)]


def test_images_are_grey_and_coloured_and_hold_structure():
    drawn = []

    @quick
    @given(strategies.images())
    def draw(image):
        drawn.append(image)

    draw()
    assert {image.ndim for image in drawn} == {2, 3}
    assert sum(len(np.unique(image)) > 6 for image in drawn) > 10


def test_a_picture_is_a_ramp_with_boxes():
    image = strategies.picture((2, 3), 0, 100, [((1, 0, 3, 1), 7)])
    assert image.tolist() == [[0, 7, 7], [0, 50, 100]]
    assert strategies.picture((1, 2), (0, 10, 20), (5, 6, 7)).tolist() == [[[0, 10, 20], [5, 6, 7]]]


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (1, 9), (3, 3), (4, 4), (5, 40), (224, 224)], ids=str)
def test_masks_are_neither_empty_nor_full(shape):
    @quick
    @given(strategies.masks(shape))
    def holds(mask):
        assert (mask.shape, mask.dtype) == (shape, np.bool_)
        assert mask.any()
        assert not mask.all()

    holds()


def test_masks_are_not_all_boxes():
    def is_a_box(mask):
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        return np.array_equal(mask, rows[:, None] & columns[None])

    _simplest(strategies.masks((20, 20)), is_a_box)
    _simplest(strategies.masks((20, 20)), lambda mask: not is_a_box(mask))


@pytest.mark.parametrize(("shape", "share"), [((1, 1), 0.5), ((7, 9), 0.5), ((7, 9), 1), ((100, 3), 0.01)])
def test_crops_lie_inside_and_keep_their_share(shape, share):
    @quick
    @given(strategies.crops(shape, min_share=share))
    def holds(crop):
        x0, y0, x1, y1 = crop
        assert 0 <= x0 < x1 <= shape[1]
        assert 0 <= y0 < y1 <= shape[0]
        assert x1 - x0 >= share * shape[1]
        assert y1 - y0 >= share * shape[0]

    holds()


def test_types_are_registered():
    assert _simplest(st.from_type(P.fog), lambda change: change.severity > 0.1) == P.fog(0.101)
    assert _simplest(st.from_type(P.Perturbation)) == P.identity


@pytest.mark.parametrize(
    "call",
    [
        lambda: strategies.perturbations(kinds=["frog"]),
        lambda: strategies.perturbations(kinds=[]),
        lambda: strategies.perturbations(kinds="fog"),
        lambda: strategies.perturbations(kinds=[P.fog(0.1)]),
        lambda: strategies.perturbations(max_severity=0),
        lambda: strategies.perturbations(max_severity=1.1),
        lambda: strategies.perturbations(max_severity=float("nan")),
        lambda: strategies.compositions(max_severity=True),
        lambda: strategies.compositions(max_size=0),
        lambda: strategies.compositions(max_size=2.0),
        lambda: strategies.images(min_side=0),
        lambda: strategies.images(min_side=9, max_side=8),
        lambda: strategies.masks((1, 1)),
        lambda: strategies.masks((0, 4)),
        lambda: strategies.masks((4, 4, 3)),
        lambda: strategies.crops(4),
        lambda: strategies.crops((4, 4), min_share=0),
    ],
)
def test_bad_arguments_are_refused_at_the_call(call):
    with pytest.raises(HeatmapError, match=r"expected|pass|must be"):
        call()


def test_an_unknown_kind_is_told_its_nearest():
    with pytest.raises(HeatmapError, match="'frog' is not a kind of perturbation; pass a name or class such as fog"):
        strategies.perturbations(kinds=["frog"])
