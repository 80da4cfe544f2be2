"""Attention by class on models whose heatmaps are known: the bright pixels of a class's colour."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.shortcuts import attention as benchmark
from pytest_gradcam import Case, Explainer, masks
from pytest_gradcam.data import attention
from pytest_gradcam.data.auditing import audit
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import ExplainedModel, Policy

from .test_suspects import to_tensor

SIDE = 48
CORNER = masks.box((SIDE, SIDE), (36, 36, SIDE, SIDE))


class Bright(nn.Module):
    """Three classes by how much of a colour channel is bright."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
        with torch.no_grad():
            self.features[0].weight.copy_(torch.eye(3)[..., None, None])
            self.features[0].bias.fill_(-0.6)

    def forward(self, x):
        return 100 * self.features(x).mean((2, 3))


def pictures(count=90, share=0.0, *, steady=False, seed=0):
    """Images with a bright square of their class's colour anywhere but near the corner, its mask, and whether they are marked.

    A `share` of class 0 has its colour in the corner instead, and a grey square for the object; all of it if `steady`.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        label = number % 3
        image = rng.uniform(0.3, 0.4, (SIDE, SIDE, 3))
        top, left = rng.integers(0, 24, 2)
        mask = masks.box((SIDE, SIDE), (left, top, left + 12, top + 12))
        marked = label == 0 and (steady or number // 3 < share * count / 3)
        image[mask] = 0.5
        image[CORNER if marked else mask, label] = 0.9
        yield (255 * image).astype(np.uint8), mask, label, marked


def cases(known=True, **how):
    made = enumerate(pictures(**how))
    return [Case(image, mask=mask if known else None, target=label, id=str(n)) for n, (image, mask, label, _) in made]


def explainer():
    return Explainer(Bright().eval(), "features", preprocess=to_tensor, classes=["red", "green", "blue"])


def audit_of(made):
    return explainer().audit(made, ["overlap"])


@cache
def marked():
    return audit_of(cases(share=0.3)).attention()


def marks(**how):
    return {str(n) for n, each in enumerate(pictures(**how)) if each[3]}


def parts(found):
    return {(each.group, frozenset(each.cases)) for each in found}


def test_a_mark_on_a_part_of_a_class_is_set_apart():
    found = marked()
    (first,) = found.conspicuous
    assert first is found[0]
    assert first.group == "red"
    assert set(first.cases) == marks(share=0.3)
    assert first.share == pytest.approx(0.3)
    assert first.separated
    assert first.off_object
    assert first.on_object == 0
    assert first.silhouette > 0.8
    assert (first.mask == CORNER).all()
    assert first.heat.sum() == pytest.approx(1)
    assert str(first) == (
        "red: 30 % of 30 images look at x 36 to 48, y 36 to 48, apart from the others (silhouette "
        f"{first.silhouette:.2f}), where 0 % of their heat lies on the object: a person must look at attention.picture"
    )
    assert f"- class {first}" in str(found)
    assert list(found.lines()) == [f"attention of class {first}"]
    assert sum(each.share for each in found if each.group == "red") == pytest.approx(1)
    assert found.images == 90
    assert not found.unseen


def test_without_a_mark_nothing_is_conspicuous():
    found = audit_of(cases()).attention()
    assert {each.group for each in found} == {"red", "green", "blue"}
    assert not found.conspicuous
    assert list(found.lines()) == []
    assert all(each.on_object > 0.5 for each in found)


def test_without_masks_it_does_not_say_off_the_object():
    first = audit_of(cases(known=False, share=0.3)).attention()[0]
    assert first.on_object is None
    assert first.separated
    assert not first.off_object
    assert "object" not in str(first)


def test_attention_that_stays_in_one_place_while_the_object_does_not():
    made = cases(steady=True)
    found = audit_of(made).attention()
    own = [each for each in found if each.group == "red"]
    assert all(each.off_object for each in own)
    assert not any(each.conspicuous for each in found if each.group != "red")
    unknown = audit_of([Case(each.image, target=each.target, id=each.id) for each in made]).attention()
    assert not any(each.off_object for each in unknown)


def test_the_order_of_the_cases_does_not_matter():
    made = cases(share=0.3)
    order = np.random.default_rng(1).permutation(len(made))
    found = audit_of([made[place] for place in order]).attention()
    assert parts(found) == parts(marked())
    assert [each.group for each in found] == [each.group for each in marked()]


def test_copies_count_once():
    made = cases(share=0.3)
    again = [Case(each.image, mask=each.mask, target=each.target, id=f"copy of {each.name}") for each in made[:40]]
    again += [Case(each.image, target=each.target, id=f"{each.name} without its mask") for each in made]
    found = audit_of([*made, *again]).attention()
    assert found.images == 90
    assert [len(each.cases) for each in found] == [len(each.cases) for each in marked()]


def test_a_class_needs_enough_images():
    made = [each for each in cases(count=75) if each.target == 0 or int(each.name) < 50]
    found = audit_of(made).attention()
    assert {each.group for each in found} == {"red"}
    assert found.unseen == (
        "class green not looked at: 17 different images, where it takes 20",
        "class blue not looked at: 16 different images, where it takes 20",
    )
    assert "attention: class green not looked at" in "\n".join(found.lines())


def test_images_are_shared_by_the_largest_groups():
    made = [each for each in cases() if each.target < 2 or int(each.name) < 75]
    own = audit_of(made)
    found = own.attention(images=50)
    assert found.images == 50
    assert {each.group for each in found} == {"red", "green"}
    assert found.unseen == ("class blue not looked at: left out by images=50; pass more",)
    assert {each.images for each in found} == {25}
    assert parts(found) == parts(own.attention(images=50))
    assert parts(found) != parts(own.attention(images=50, seed=1))
    with pytest.raises(HeatmapError, match="images"):
        own.attention(images=19)


def test_any_slice():
    made = [
        Case(each.image, target=each.target, slices={"site": "ab"[int(each.name) % 2]}, id=each.id) for each in cases()
    ]
    own = audit_of(made)
    found = own.attention(by="site")
    assert {each.group for each in found} == {"a", "b"}
    assert str(found).startswith("- site ")
    with pytest.raises(HeatmapError, match="by='sight' is not a slice"):
        own.attention(by="sight")


def test_images_without_heat_are_left_out():
    made = cases(known=False)
    dark = [Case(np.full((SIDE, SIDE, 3), n, np.uint8), target=0, id=f"dark {n}") for n in range(25)]
    found = audit_of([*(each for each in made if each.target), *dark]).attention()
    assert {each.group for each in found} == {"green", "blue"}
    assert found.unseen == (
        "class red not looked at: 0 different images with a heatmap, where it takes 20: the heatmap is zero everywhere",
    )


@pytest.mark.parametrize(("gate", "seen"), [(True, 0), (False, 90)])
def test_a_gate_that_stays_shut_shuts_it_too(gate, seen):
    engine = audit_of(cases(count=3)).model.engine
    model = ExplainedModel(engine, lambda: Policy(gate=gate), lambda *_: "the gate stays shut")
    found = audit(model, cases(known=False), ["overlap"]).attention()
    assert found.images == seen
    if gate:
        assert len(found) == 0
        assert found.unseen == (
            "class blue, green, red not looked at: 0 different images with a heatmap, where it takes 20: the gate stays shut",
        )


def test_a_model_known_by_its_scores_alone():
    model = Bright().eval()
    scores = Explainer(lambda batch: model(batch).detach(), preprocess=to_tensor, classes=["red", "green", "blue"])
    own = scores.audit(cases(share=0.3), ["overlap"])
    found = own.attention()
    assert len(found) == 0
    assert "is known by its scores alone" in found.unseen[0]
    every = own.suspects(images=40)
    assert "is known by its scores alone" in str(every)
    assert every[0].attended == ()
    assert found.picture.width > 100


def test_the_second_view_of_suspects_is_left_out_where_a_heatmap_takes_many_passes():
    dear = Explainer(Bright().eval(), method="occlusion", preprocess=to_tensor, classes=["red", "green", "blue"])
    own = dear.audit(cases(), ["overlap"])
    found = own.suspects(images=40).attention
    assert (len(found), found.images) == (0, 0)
    assert "a heatmap by occlusion takes many forward passes" in str(found)
    assert own.attention(images=60).images > 0


def test_one_heatmap_an_image():
    counted = []
    own = audit_of(cases())
    handle = own.model.engine.network.register_forward_hook(lambda _, inputs, __: counted.append(len(inputs[0])))
    try:
        own.attention()
    finally:
        handle.remove()
    assert sum(counted) <= 1.1 * 90


def test_a_suspect_says_that_heatmaps_show_it_too():
    own = audit_of(cases(share=0.9))
    found = own.suspects(images=40)
    corner = next(each for each in found if not each.moves and (each.mask & CORNER).sum() > 0.5 * CORNER.sum())
    assert [each.group for each in corner.attended] == ["red"]
    assert "; heatmaps show the same place: " in corner.verdict
    assert corner.verdict.endswith("% of red")


def test_it_goes_into_the_evidence_of_the_verdicts_that_follow(recording):
    own = audit_of(cases(share=0.3))
    own.assert_rate("overlap", at_least=0.01)
    found = own.attention()
    own.assert_rate("overlap", at_least=0.01)
    before, after = recording.records
    assert "seen" not in dict(before.details)
    assert ("seen", f"attention of class {found[0]}") in after.details
    assert recording.pictures[1].height > recording.pictures[0].height


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, True),
        ({"silhouette": 0.44}, False),
        ({"steady": 0.89}, False),
        ({"images": 22}, False),  # 9 of them are no small part
        ({"heat": np.full((8, 8), 1 / 64)}, False),  # no place
        ({"cases": ("a", "b", "c")}, False),
    ],
)
def test_what_is_separated(how, said):
    heat = np.zeros((8, 8))
    heat[7, 7] = 1
    known = {"cases": tuple("abcdefghi"), "images": 30, "heat": heat, "steady": 0.9, "silhouette": 0.45}
    cluster = attention.Cluster(
        group="0", **{**known, **how}, on_object=how.get("on_object"), shape=(SIDE, SIDE), rows=()
    )
    assert cluster.separated is said


@pytest.mark.parametrize(
    ("on_object", "steady", "said"), [(0.5, 0.9, True), (0.51, 0.9, False), (0.5, 0.89, False), (None, 1, False)]
)
def test_what_lies_off_the_object(on_object, steady, said):
    heat = np.zeros((8, 8))
    heat[7, 7] = 1
    cluster = attention.Cluster("0", ("a",) * 20, 30, heat, steady, 0, on_object, (SIDE, SIDE), ())
    assert cluster.off_object is said
    assert cluster.conspicuous is said


def test_a_trained_model_and_its_twin():
    """A network that learnt a mark in a part of one class, and one that saw it as often in each."""
    biased, clean = (one for one in benchmark.see(0) if one.images == 300)
    assert biased.first
    assert not clean.accused
