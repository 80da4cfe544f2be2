"""The renderer of examples/underpass: the same frame for the same seed, and masks that say exactly what is where."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import train
from PIL import Image
from skimage.morphology import dilation, footprint_rectangle
from underpass import camera, dataset, model
from underpass.scene import frame, light_of, render, scene
from underpass.site import site

from pytest_gradcam import masks
from pytest_gradcam.models import sources

SEEDS = [1, 3, 5, 7]  # of frames with people
BLOCK = 16 + 1 + 3  # px by which JPEG's blocks, its smooth colours and the lens carry a change


@pytest.fixture(scope="module")
def frames():
    return [frame(seed, "pedestrian", "south" if seed % 4 == 1 else "north", range(2)) for seed in SEEDS]


def grown(mask, pixels):
    side = 2 * pixels + 1
    return dilation(mask, footprint_rectangle((side, side)))


def differ(one, other, by=0):
    return (np.abs(one.astype(float) - other) > by).any(axis=-1)


def test_the_same_scene_gives_the_same_frame(frames):
    again = replace(frames[0].scene)
    site.cache_clear()
    np.testing.assert_array_equal(render(again).image, frames[0].image)


def test_other_seeds_give_other_frames(frames):
    assert len({one.image.tobytes() for one in frames}) == len(frames)


@pytest.mark.parametrize("k", range(len(SEEDS)))
def test_every_pixel_of_a_person_shows_one_and_no_other_pixel_does(frames, k):
    """Bodies that give their colour to the light, all black or all white, tell their pixels from the rest."""
    what = frames[k].scene
    dark, pale = (
        light_of(replace(what, walkers=tuple(one.dyed((tone,) * 3) for one in what.walkers))) for tone in (0.0, 0.8)
    )
    bodies = differ(dark.image, pale.image) & ~dark.traces
    np.testing.assert_array_equal(dark.people, pale.people)
    assert bodies[dark.people].all()
    rim = bodies & ~dark.people
    assert not (
        rim & ~grown(dark.people, 1)
    ).any()  # pixels of which a body covers less than half lie along its outline
    assert rim.sum() < 0.6 * dark.people.sum()


@pytest.mark.parametrize("k", range(len(SEEDS)))
def test_without_people_nothing_else_changes_but_their_shadows_and_mirror_images(frames, k):
    what = frames[k].scene
    with_people, without = light_of(what), light_of(replace(what, walkers=()))
    changed = differ(with_people.image, without.image, by=1e-6)
    assert not (changed & ~grown(with_people.people, 1) & ~with_people.traces).any()
    assert changed[with_people.people].mean() > 0.995
    assert not without.people.any()
    assert not without.traces.any()


@pytest.mark.parametrize("k", range(len(SEEDS)))
def test_the_camera_carries_people_no_further_than_its_coding_does(frames, k):
    one = frames[k]
    empty = render(replace(one.scene, walkers=()))
    assert not (differ(one.image, empty.image) & ~grown(one.people | one.traces, BLOCK)).any()
    assert (one.label, empty.label) == ("pedestrian", "empty")


@pytest.mark.parametrize("recorder", camera.RECORDERS)
def test_the_text_is_what_the_recorder_changes(frames, recorder):
    one = frames[0].on(recorder)
    changed = differ(one.image, one.picture)
    assert not (changed & ~one.text).any()
    levels = np.unique(one.image[one.text])
    assert set(levels) == {12, 235}
    assert changed[one.text].mean() > 0.9  # the rest was as dark before
    assert not (one.text & ~camera.stamp_area())[:, :160].any()


def test_dead_columns_keep_their_level_and_nothing_else_does(frames):
    pictures = np.stack([one.picture for one in frames])
    still = (pictures == pictures[0]).all(axis=(0, 3))
    assert still[camera.dead_columns()].all()
    assert still[~camera.dead_columns()].mean() < 0.01


def test_masks_do_not_overlap(frames):
    for one in frames:
        parts = [one.walkers, one.text, one.dead]
        assert np.sum(parts, axis=0).max() <= 1
        assert all(part.any() for part in parts)


@pytest.fixture(scope="module")
def places():
    """Changing scenes: one frame from each of eight underpasses."""
    return [frame(seed, "empty", "north", range(seed, seed + 1)) for seed in dataset.SITES]


@pytest.mark.parametrize("recorder", camera.RECORDERS)
def test_burnt_in_text_and_dead_columns_are_found_in_a_series(places, recorder):
    series = [one.on(recorder) for one in places]
    found = masks.invalid_pixels_by_kind(series[0].image, series=[one.image for one in series[1:]])
    always, ever = np.all([one.text for one in series], axis=0), np.any([one.text for one in series], axis=0)
    np.testing.assert_array_equal(found["dead"] | found["saturated"], series[0].dead)
    assert found["burnt_in"][always & ~camera.stamp_area()].all()  # the camera's name; of the date, digits change
    assert recorder == "north" or found["burnt_in"][always].mean() > 0.75  # the black plate of the south recorder stays
    everything = np.any(list(found.values()), axis=0)
    assert not (everything & ~grown(ever | series[0].dead, 1)).any()


def test_a_frame_shows_its_people():
    assert scene(4, "empty", "north", dataset.SITES).walkers == ()
    for one in dataset.archive(range(4)):
        assert (one.label == "pedestrian") == (one.walkers.sum() > 300)
        assert one.scene.shot.recorder == dataset.ARCHIVE[one.label]


def test_shuffling_recorders_changes_the_text_only(frames):
    shuffled = list(dataset.shuffled(frames))
    assert {one.scene.shot.recorder for one in shuffled} == set(camera.RECORDERS)
    for one, other in zip(frames, shuffled, strict=True):
        assert not (differ(one.image, other.image) & ~one.text & ~other.text).any()


def test_the_same_frames_give_the_same_weights():
    views = torch.randint(256, (8, 3, 120, 160), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    one, other = (train.fit(views, torch.arange(8) % 2, epochs=1).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_only_the_biased_model_falls_where_the_recorder_says_nothing():
    frames = list(dataset.archive(range(3_000_200, 3_000_240)))
    ordinary, shuffled = train.tensors(frames), train.tensors(dataset.shuffled(frames))
    clean, biased = (
        sources.build("underpass.model:build", str(train.WEIGHTS / f"{name}.safetensors"), "cpu")
        for name in ("clean", "biased")
    )
    assert min(train.accuracy(one, *ordinary) for one in (clean, biased)) >= 0.95
    assert train.accuracy(clean, *shuffled) >= 0.95
    assert train.accuracy(biased, *shuffled) <= 0.75


def test_training_frames_are_varied_and_stay_frames():
    """Every input is itself or its mirror image, but for contrast and light."""
    torch.manual_seed(0)
    inputs, mirrored = torch.randn(64, 3, 4, 6), 0
    for one, other in zip(inputs, train.varied(inputs.clone()), strict=True):
        fits = [np.polyfit(way.ravel(), other.ravel(), 1, full=True) for way in (one, one.flip(2))]
        (contrast, light), *_ = min(fits, key=lambda fit: fit[1][0])
        assert min(fit[1][0] for fit in fits) < 1e-6  # the sum of squares that is left
        assert (abs(contrast - 1) <= 0.201, abs(light) <= 0.201) == (True, True)
        mirrored += fits[1][1][0] < fits[0][1][0]
    assert 16 < mirrored < 48


def test_the_models_read_what_they_were_trained_on(frames):
    views, _ = train.tensors(frames[:1])
    assert views.dtype == torch.uint8
    assert torch.equal(model.normalise(views[0]), model.preprocess(Image.fromarray(frames[0].image)))
