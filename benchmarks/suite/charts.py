"""Plots as SVG: bars and lines that follow the reader's light or dark colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .results import Summary

_WIDTH = 800
_LABEL_WIDTH = 270
_VALUE_WIDTH = 90
_BAR = 16
_STEP = 26
_TOP = 44

# A style of its own, as a page that shows it as an image can't give it one.
_STYLE = """\
svg { font: 13px system-ui, sans-serif; }
text { fill: #1f2328; }
.title { font-weight: 600; font-size: 15px; }
.note { fill: #59636e; font-size: 12px; }
.bar { fill: #9aa7b5; }
.ours { fill: #0969da; }
.spread { stroke: #1f2328; stroke-width: 1.5; }
.grid { stroke: #d1d9e0; }
.line { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .note { fill: #9198a1; }
  .bar { fill: #57606a; }
  .ours { fill: #4493f8; }
  .spread { stroke: #e6edf3; }
  .grid { stroke: #3d444d; }
}"""

# Of about the same lightness, which is legible on white and on black.
_LINE_COLOURS = ("#2f81f7", "#d4691e", "#3fa45b", "#b65fc9", "#c9455a", "#8b8f1a")


@dataclass(frozen=True, slots=True)
class Bar:
    """Of one peer."""

    label: str
    value: Summary
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Line:
    """Of one peer: its value for each of the chart's abscissae, in their order."""

    label: str
    values: tuple[float, ...]


def bar_chart(title: str, bars: Sequence[Bar], is_more_better: bool) -> str:
    """The best on top; the stroke in a bar is from the lowest to the highest round."""
    ordered = sorted(bars, key=lambda bar: bar.value.median, reverse=is_more_better)
    most = max(bar.value.highest for bar in ordered)
    scale = (_WIDTH - _LABEL_WIDTH - _VALUE_WIDTH) / most
    better = "more is better" if is_more_better else "less is better"
    body = [_title(title, f"median, and lowest to highest of the rounds; {better}")]
    for number, bar in enumerate(ordered):
        body.append(_bar(bar, _TOP + 16 + number * _STEP, scale))
    return _svg(_TOP + 24 + len(ordered) * _STEP, title, body)


def line_chart(title: str, abscissae: Sequence[int], lines: Sequence[Line]) -> str:
    """Over a logarithmic abscissa."""
    left, right, bottom = 60, _WIDTH - 250, 330
    most = _round_up(max(max(line.values) for line in lines))
    xs = [
        left + (right - left) * math.log(at / abscissae[0]) / math.log(abscissae[-1] / abscissae[0])
        for at in abscissae
    ]

    def y(value: float) -> float:
        return bottom - (bottom - _TOP - 20) * value / most

    body = [_title(title, "median of the rounds; less is better")]
    for part in range(5):
        at = most * part / 4
        body.append(f'<path class="grid" d="M{left} {y(at):.1f}H{right}"/>')
        body.append(f'<text class="note" x="{left - 8}" y="{y(at) + 4:.1f}" {_END}>{at:g}</text>')
    for x, count in zip(xs, abscissae, strict=True):
        body.append(f'<text class="note" x="{x:.1f}" y="{bottom + 18}" {_MIDDLE}>{count:,}</text>')
    label_ys = _spread_out([y(line.values[-1]) for line in lines])
    for line, colour, label_y in zip(lines, _LINE_COLOURS, label_ys, strict=False):
        points = " ".join(f"{x:.1f},{y(v):.1f}" for x, v in zip(xs, line.values, strict=True))
        body.append(f'<polyline class="line" stroke="{colour}" points="{points}"/>')
        body.append(
            f'<text x="{right + 10}" y="{label_y + 4:.1f}" style="fill: {colour}">'
            f"{escape(line.label)}</text>"
        )
    return _svg(bottom + 34, title, body)


_END = 'text-anchor="end"'
_MIDDLE = 'text-anchor="middle"'


def _svg(height: float, title: str, body: list[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" '
            f'width="{_WIDTH}" height="{height:.0f}" role="img" aria-label="{escape(title)}">',
            f"<style>\n{_STYLE}\n</style>",
            *body,
            "</svg>\n",
        ]
    )


def _title(title: str, note: str) -> str:
    return (
        f'<text class="title" x="8" y="22">{escape(title)}</text>\n'
        f'<text class="note" x="8" y="42">{escape(note)}</text>'
    )


def _bar(bar: Bar, top: float, scale: float) -> str:
    middle = top + _BAR / 2
    lowest, median, highest = (
        _LABEL_WIDTH + scale * value
        for value in (bar.value.lowest, bar.value.median, bar.value.highest)
    )
    kind = "ours" if bar.is_ours else "bar"
    weight = ' font-weight="600"' if bar.is_ours else ""
    return "\n".join(
        [
            f'<text x="{_LABEL_WIDTH - 10}" y="{middle + 4.5:.1f}" {_END}{weight}>'
            f"{escape(bar.label)}</text>",
            f'<rect class="{kind}" x="{_LABEL_WIDTH}" y="{top:.1f}" height="{_BAR}" rx="2" '
            f'width="{max(median - _LABEL_WIDTH, 1):.1f}"/>',
            f'<path class="spread" d="M{lowest:.1f} {middle:.1f}H{highest:.1f}"/>',
            f'<text x="{highest + 8:.1f}" y="{middle + 4.5:.1f}"{weight}>'
            f"{_shown(bar.value.median)}</text>",
        ]
    )


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _round_up(value: float) -> float:
    """To a number whose quarters are short."""
    unit: float = 10.0 ** math.floor(math.log10(value))
    return next(unit * step for step in (1, 2, 4, 6, 8, 10) if unit * step >= value)


def _spread_out(wanted: list[float], least: float = 16) -> list[float]:
    """Labels' heights, moved down where they would be on each other."""
    placed = dict[int, float]()
    above = -math.inf
    for number in sorted(range(len(wanted)), key=wanted.__getitem__):
        above = placed[number] = max(wanted[number], above + least)
    return [placed[number] for number in range(len(wanted))]
