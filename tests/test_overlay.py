"""What can be seen in the pictures of checks: which side of an outline is the mask, the peak, the level that counts."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pytest_gradcam import masks, outlines, overlay

SHAPE = (64, 64)
VIEW = np.full((*SHAPE, 3), 90, np.uint8)
MIDDLE = masks.box(SHAPE, (16, 16, 48, 48))
Y, X = np.mgrid[:64, :64]
BLOB = np.exp(-((X - 32.0) ** 2 + (Y - 20.0) ** 2) / 200).astype(np.float32)


def pixels(**drawn):
    return np.asarray(overlay.draw_panels([overlay.Panel(VIEW, **drawn)])).astype(int)


def cyan(picture):
    red, green, blue = np.moveaxis(picture, -1, 0)
    return (red < 60) & (green > 150) & (blue > 170)


def panel_of(picture):
    """Where the view lies in the picture: rows and columns from, to."""
    grey = (picture == 90).all(axis=-1) | cyan(picture)
    rows, columns = np.flatnonzero(grey.any(axis=1)), np.flatnonzero(grey.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


@pytest.mark.parametrize("inside", [True, False])
def test_the_ticks_of_an_outline_point_into_the_mask(inside):
    picture = pixels(mask=MIDDLE if inside else ~MIDDLE)
    drawn = cyan(picture[panel_of(picture)])
    height, width = drawn.shape
    rows, columns = (np.linspace(0, 64, n, endpoint=False) for n in (height, width))
    in_middle = ((rows > 16.5) & (rows < 46.5))[:, None] & ((columns > 16.5) & (columns < 46.5))
    outside = ((rows < 14.5) | (rows > 48.5))[:, None] | (columns < 14.5) | (columns > 48.5)
    within, without = int(drawn[in_middle].sum()), int(drawn[outside].sum())
    assert (within > 50 and without == 0) if inside else (without > 50 and within == 0)


def test_a_detail_is_not_covered_with_ticks():
    detail = masks.box(SHAPE, (30, 30, 36, 36))
    small, rest = (cyan(pixels(mask=mask)).sum() for mask in (detail, ~detail))
    assert 0 < small < rest


def test_the_level_is_outlined_and_the_peak_is_marked():
    plain, marked = pixels(heat=BLOB), pixels(heat=BLOB, level=0.5, peak=(32, 20))
    changed = (plain != marked).any(axis=-1)
    assert (marked[changed] == 255).all(axis=-1).sum() > 100
    assert (marked[changed] == 0).all(axis=-1).sum() > 20  # the cross's dark rim: it lies on the brightest place


@pytest.mark.parametrize("level", [0.0, 2.0])
def test_a_level_that_no_line_can_show_is_left_out(level):
    np.testing.assert_array_equal(pixels(heat=BLOB, level=level), pixels(heat=BLOB))


def test_the_colours_are_those_of_matplotlibs_inferno():
    """Up to a few of 255, which nobody sees: they are interpolated."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    theirs = matplotlib.colormaps["inferno"](ramp)[..., :3] * 255
    assert np.abs(overlay.inferno(ramp) - theirs).max() < 6
    assert np.abs(overlay.inferno(ramp) - theirs).mean() < 1


def test_panels_to_compare_share_their_brightest_relevance():
    dim, own = overlay.inferno(BLOB / 2, top=1), overlay.inferno(BLOB / 2)
    np.testing.assert_allclose(own, overlay.inferno(BLOB), atol=1)
    assert own.max() == 255 > dim.max()


@pytest.mark.parametrize("heat", [np.full(SHAPE, np.nan), np.zeros(SHAPE), np.full(SHAPE, np.inf)])
def test_a_heatmap_without_evidence_is_dark(heat):
    assert (overlay.inferno(heat.astype(np.float32)) == [0, 0, 4]).all()


def test_long_titles_and_lines_are_broken_and_nothing_is_lost_at_the_margin():
    words = " ".join(["forty-two"] * 40)
    short = overlay.draw_panels([overlay.Panel(VIEW)], title="forty-two", lines=["forty-two"])
    for said in ({"title": words}, {"lines": [words]}, {"title": "x" * 300}, {"lines": ["x" * 300]}):
        long = overlay.draw_panels([overlay.Panel(VIEW)], **said)
        assert long.width == short.width
        assert long.height > short.height
        assert (np.asarray(long)[:, -8:] == 255).all()


def test_a_caption_stays_on_its_panel():
    first, second = (overlay.Panel(VIEW, caption=caption) for caption in ("one " * 60, ""))
    picture = np.asarray(overlay.draw_panels([first, second]))
    half = picture.shape[1] // 2
    dark = (picture < 60).all(axis=-1)
    assert dark[:, :half].any()
    assert not dark[:, half:].any()


@pytest.mark.parametrize("text", ["$5 and $6", "Straße", "Пешеход", "歩行者", "\ud800 half", "two\nlines", ""])
def test_every_text_can_be_drawn(text):
    assert overlay.draw_panels([overlay.Panel(VIEW, caption=text)], title=text, lines=[text]).size > (0, 0)


@pytest.mark.parametrize(
    ("highest", "expected"),
    [(5.0, [0, 1, 2, 3, 4, 5]), (1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.03, [0, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03])],
)
def test_the_colour_bar_has_round_numbers(highest, expected):
    np.testing.assert_allclose(list(overlay._steps(highest)), expected)


@pytest.mark.parametrize("shape", [(4, 4), (300, 40), (40, 300), (1, 1)])
def test_views_of_any_shape_are_drawn_whole(shape):
    view = np.full((*shape, 3), 90, np.uint8)
    picture = np.asarray(overlay.draw_panels([overlay.Panel(view)]))
    rows, columns = (np.flatnonzero((picture == 90).all(axis=-1).any(axis=axis)) for axis in (1, 0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert height / width == pytest.approx(shape[0] / shape[1], rel=0.05)


@pytest.mark.parametrize(
    ("shape", "size", "said"),
    [
        ((8, 600), (300, 40), "stretched 10 times in height: the view has 600 x 8 px"),
        ((20, 1500), (300, 40), "stretched 10 times in height: the view has 1500 x 20 px"),
        ((600, 8), (40, 600), "stretched 5 times in width: the view has 8 x 600 px"),
        ((64, 64), (300, 300), ""),
    ],
)
def test_a_strip_is_stretched_until_it_can_be_seen_and_says_so(shape, size, said):
    panel = overlay.Panel(np.full((*shape, 3), 90, np.uint8), np.ones(shape, np.float32))
    room = (300, round(300 * min(2, max(0.5, shape[0] / shape[1]))))
    assert overlay._size(panel.view, room) == size
    assert list(overlay._stretched([panel, panel], room)) == ([f"shown      {said}"] if said else [])
    assert overlay.draw(panel).height > room[1]


@pytest.mark.parametrize("side", [64, 224, 1000, 4000])
@pytest.mark.parametrize("at", [(0, 0), (0.5, 0.5), (0.999, 0.3)])
def test_a_mask_of_one_pixel_is_seen_and_pointed_at(side, at):
    mask = np.zeros((side, side), bool)
    mask[int(at[0] * side), int(at[1] * side)] = True
    drawn = cyan(np.asarray(overlay.draw_panels([overlay.Panel(np.full((side, side, 3), 90, np.uint8), mask=mask)])))
    rows, columns = np.nonzero(drawn)
    assert drawn.sum() > 20
    assert 18 < max(np.ptp(rows), np.ptp(columns)) < 60


def test_a_dead_column_of_a_large_view_is_seen():
    mask = np.zeros((1000, 1000), bool)
    mask[:, 400] = True
    drawn = cyan(np.asarray(overlay.draw_panels([overlay.Panel(np.full((1000, 1000, 3), 90, np.uint8), mask=mask)])))
    assert drawn.any(axis=1).sum() == 300


@pytest.mark.parametrize("seed", range(60))
def test_what_is_seen_of_a_mask_does_not_depend_on_the_short_cut(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.random(rng.integers(1, 60, 2)), rng.uniform(0.5, 6))
    share = np.clip((field - np.quantile(field, rng.uniform())) / field.std() + 0.5, 0, 1).astype(np.float32)
    found = outlines.seen(share)
    monkeypatch.setattr(outlines, "_is_plain", lambda *_: False)
    for one, other in zip(found, outlines.seen(share), strict=True):
        np.testing.assert_array_equal(one, other)


def test_large_parts_are_not_looked_for_one_by_one(monkeypatch):
    monkeypatch.setattr(outlines, "scipy", None)
    rows, columns = np.ogrid[:90, :120]
    disc = (rows - 30) ** 2 + (columns - 40) ** 2 < 500
    inside, pointers = outlines.seen((disc | (columns > 100)).astype(np.float32))
    assert (inside == (disc | (columns > 100))).all()
    assert not pointers.any()


def test_many_dead_pixels_are_seen_without_pointers():
    mask = np.zeros((100, 100), bool)
    mask[5::20, 5::20] = True
    drawn = cyan(np.asarray(overlay.draw_panels([overlay.Panel(np.full((100, 100, 3), 90, np.uint8), mask=mask)])))
    assert drawn.sum() == pytest.approx(25 * 3**2, rel=0.2)


def test_signs_that_no_font_has_are_escaped(monkeypatch):
    monkeypatch.setattr(overlay, "_other_fonts", lambda size: [])
    assert overlay._lettered("the class '歩行者'", 15)[0] == r"the class '\u6b69\u884c\u8005'"
    assert overlay._lettered("Straße, Пешеход", 15)[0] == "Straße, Пешеход"


def test_a_font_of_the_system_is_used_where_it_has_the_signs(monkeypatch):
    known = Path(matplotlib.get_data_path()) / "fonts/ttf/STIXGeneral.ttf"
    monkeypatch.setattr(overlay, "_OTHER_FONTS", ("no such font.ttf", str(known)))
    overlay._other_fonts.cache_clear()
    try:
        text, font = overlay._lettered("a frown \u2322", 15)  # DejaVu has none
        assert text == "a frown \u2322"
        assert font.path == str(known)
        assert overlay._lettered("歩", 15)[0] == r"\u6b69"
    finally:
        overlay._other_fonts.cache_clear()


def test_a_picture_does_not_load_matplotlib():
    code = (
        "import sys, numpy as np; from pytest_gradcam import overlay; before = 'matplotlib' in sys.modules;"
        "overlay.draw(overlay.Panel(np.zeros((8, 8, 3), np.uint8), np.eye(8, dtype=np.float32)), title='a', lines=['b']);"
        "assert 'matplotlib' not in sys.modules, before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
