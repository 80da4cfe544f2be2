"""The picture of the ladder: what is said about models, by how much they rely in truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from benchmarks.shortcuts.ladder_figures import CLAIMS, STEPS, Asked

_SETTINGS = ("10 images", "50 images", "200 images", "50 pairs")
#: Of the claims, in their order: the bar, and the figure on it.
_COLOURS = (("#a50f15", "#fff"), ("#fb8f5f", "#000"), ("#d9d9d9", "#000"), ("#2b6cb0", "#fff"))
_LEFT, _WIDE, _TALL, _GAP, _HEAD = (
    150,
    440,
    20,
    4,
    26,
)  # pixels: labels, a whole bar, its height, between bars, a heading


def picture(asked: Sequence[Asked]) -> str:
    """An SVG with a bar for each range of the true fall in each setting, divided by what was said."""
    parts, top = list[str](), 40
    for setting in _SETTINGS:
        bars = [(label, counts) for label, counts in _counted(asked, setting) if counts.total()]
        if not bars:
            continue
        parts.append(_text(0, top + 14, setting, "600"))
        top += _HEAD
        for label, counts in bars:
            parts += [_text(_LEFT - 10, top + 14, f"{label}: {counts.total()}", anchor="end"), *_bar(counts, top)]
            top += _TALL + _GAP
        top += 2 * _GAP
    width, text = (
        _LEFT + _WIDE + 10,
        "What is said about models, by the accuracy that they lose when the artefact is exchanged",
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}" '
    style = 'font-family="sans-serif" font-size="13" role="img"'
    ground = f'<rect width="{width}" height="{top}" fill="#fff"/>'
    return "\n".join([f"{head}{style}>", f"<title>{text}</title>", ground, *_legend(), *parts, "</svg>", ""])


def _counted(asked: Sequence[Asked], setting: str) -> Iterator[tuple[str, Counter[str]]]:
    for low, high in STEPS:
        claims = [one.claim for one in asked if one.setting == setting and low < one.fall <= high]
        yield f"{max(low, 0):.2f} to {high:.2f}", Counter(claims)


def _bar(counts: Counter[str], top: int) -> Iterator[str]:
    left = float(_LEFT)
    for claim, (fill, ink) in zip(CLAIMS, _COLOURS, strict=True):
        wide = _WIDE * counts[claim] / counts.total()
        if wide:
            yield f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{_TALL}" fill="{fill}"/>'
            yield _text(left + wide / 2, top + 14, str(counts[claim]), anchor="middle", fill=ink)
        left += wide


def _legend() -> Iterator[str]:
    for number, (claim, (fill, _)) in enumerate(zip(CLAIMS, _COLOURS, strict=True)):
        left = _LEFT + number * _WIDE / len(CLAIMS)
        yield f'<rect x="{left:.1f}" y="10" width="12" height="12" fill="{fill}"/>'
        yield _text(left + 17, 20, claim)


def _text(x: float, y: float, text: str, weight: str = "400", *, anchor: str = "start", fill: str = "#000") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-weight="{weight}" text-anchor="{anchor}" fill="{fill}">{text}</text>'
