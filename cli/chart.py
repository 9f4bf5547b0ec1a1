"""A line chart as SVG, without a library: lines over a logarithmic axis, named at their ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 380, 56, 190, 40, 46
COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#8e5ea2", "#e08e0b", "#4a4a4a", "#00798c", "#a0522d", "#6b8e23", "#c71585")
LABEL_HEIGHT = 14


def chart(title: str, across: str, up: str, lines: Mapping[str, Points]) -> str:
    """Return a chart of `lines` by name. The horizontal axis is logarithmic to base 2, the vertical one begins at 0.

    Args:
        title: above it.
        across: what the horizontal axis means.
        up: what the vertical axis means.
        lines: points of each line, from left to right, horizontal values above 0.
    """
    xs = sorted({x for points in lines.values() for x, _ in points})
    top = max(y for points in lines.values() for _, y in points) * 1.05 or 1.0
    first, last = math.log2(xs[0]), math.log2(xs[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        share = (math.log2(x) - first) / ((last - first) or 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>',
        _turned(up, 14, (TOP + HEIGHT - BOTTOM) / 2),
    ]
    for x in (2**power for power in range(math.ceil(first), math.floor(last) + 1)):
        left, _ = place(x, 0)
        parts.append(f'<text x="{left:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    for step in range(6):
        value = top * step / 5
        _, height = place(xs[0], value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    labels = _spread({name: place(*points[-1])[1] for name, points in lines.items()})
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{labels[name]:.1f}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _turned(text: str, x: float, y: float) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle" transform="rotate(-90 {x} {y})">{escape(text)}</text>'


def _spread(heights: Mapping[str, float]) -> dict[str, float]:
    """Return heights of labels near those of their lines, none above another, all within the chart."""
    found: dict[str, float] = {}
    least = float(TOP)
    for name, height in sorted(heights.items(), key=lambda pair: pair[1]):
        found[name] = least = max(least, height + 4)
        least += LABEL_HEIGHT
    below = HEIGHT - BOTTOM + 4.0
    for name in sorted(found, key=lambda name: -found[name]):
        found[name] = below = min(below, found[name])
        below -= LABEL_HEIGHT
    return found
