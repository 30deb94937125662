"""Small line charts, drawn as SVG: colours come from the page's style."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH, HEIGHT = 400, 132
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 20


@dataclass(frozen=True)
class Point:
    """A value, what it was measured in, and whether it is one to look at."""

    value: float
    told: str
    bad: bool = False


@dataclass(frozen=True)
class Level:
    """A horizontal line: a goal, a median."""

    value: float
    name: str


def line(points: Sequence[Point], *, title: str, levels: Sequence[Level] = ()) -> str:
    """Draw values in their order, the oldest at the left, from zero up where that shows them well.

    The drawing is safe to put into a page: all texts are escaped.
    """
    scale = _Scale([*(p.value for p in points), *(level.value for level in levels)], len(points))
    shapes = [
        *_grid(scale),
        _path(points, scale),
        *(_level(level, scale) for level in levels),
        *(_dot(index, point, scale, len(points)) for index, point in enumerate(points)),
    ]
    body = "\n".join(shapes)
    label = escape(title)
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
    return f"{head}\n{body}\n</svg>"


class _Scale:
    """Where values go on the canvas."""

    def __init__(self, values: Sequence[float], count: int) -> None:
        low, high = min(values), max(values)
        if low >= 0 and low < high * 0.5:
            low = 0.0
        step = _nice((high - low) / 3 or abs(high) / 3 or 1.0)
        self._low = math.floor(low / step) * step
        steps = max(1, math.ceil((high - self._low) / step - 1e-9))
        self._high = self._low + steps * step
        self.ticks = [self._low + step * index for index in range(steps + 1)]
        self._count = count

    def x(self, index: int) -> float:
        room = WIDTH - _LEFT - _RIGHT
        if self._count == 1:
            return _LEFT + room / 2
        return round(_LEFT + room * index / (self._count - 1), 1)

    def y(self, value: float) -> float:
        room = HEIGHT - _TOP - _BOTTOM
        return round(_TOP + room * (self._high - value) / (self._high - self._low), 1)


def _nice(step: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is no less."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= step * (1 - 1e-9))


def number(value: float) -> str:
    """Return a number as short as it can be read."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g} M"
    if size >= 1e4:
        return f"{value / 1e3:.3g} k"
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _grid(scale: _Scale) -> Iterator[str]:
    for tick in scale.ticks:
        y = scale.y(tick)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text class="tick" x="{_LEFT - 6}" y="{y + 3.5}">{number(tick)}</text>'


def _level(level: Level, scale: _Scale) -> str:
    y = scale.y(level.value)
    told = f"{escape(level.name)} {number(level.value)}"
    return (
        f'<line class="level" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text class="level-name" x="{WIDTH - _RIGHT}" y="{y - 4}">{told}</text>'
    )


def _path(points: Sequence[Point], scale: _Scale) -> str:
    places = " ".join(f"{scale.x(i)},{scale.y(p.value)}" for i, p in enumerate(points))
    return f'<polyline class="line" points="{places}"/>'


def _dot(index: int, point: Point, scale: _Scale, count: int) -> str:
    x, y = scale.x(index), scale.y(point.value)
    kind = "bad" if point.bad else "last" if index == count - 1 else "dot"
    radius = 3 if kind == "dot" else 5
    return (
        f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius}">'
        f"<title>{escape(point.told)}</title></circle>"
    )
