"""The cost of a page against the size of a batch, as a small SVG drawing.

Both axes are logarithmic: a fixed cost that is spread over the pages falls in a straight line, and what
is left is the level that the curve ends at. Start with `cost_picture`. Below: `tables`. Left out: other
curves.
"""

from __future__ import annotations

import math
from html import escape

from .errors import UsageError
from .tables import Table

_WIDTH, _HEIGHT = 480, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 30, 50


def cost_picture(curves: dict[str, Table]) -> str:
    """Draw curves of `pagemig.cost_curve`, each under its name.

    Parameters
    ----------
    curves
        Tables with ``pages`` and ``ns_per_page``, by name.

    Returns
    -------
    str
        One ``<svg>`` element.

    Raises
    ------
    UsageError
        There is no curve, or one has no points or no time.

    Examples
    --------
    >>> import pagemig as pm
    >>> curve = pm.cost_curve(pm.presets["two-socket-2010"], [1, 10, 100])
    >>> cost_picture({"2010": curve}).count("<polyline")
    1
    """
    points = {
        name: list(zip(curve["pages"].tolist(), curve["ns_per_page"].tolist(), strict=True))
        for name, curve in curves.items()
    }
    every = [point for of_curve in points.values() for point in of_curve]
    if not every or not all(points.values()) or min(ns for _, ns in every) <= 0:
        raise UsageError("there must be at least one curve, and each needs points with a time above 0")
    x_low, x_high = _decades([pages for pages, _ in every])
    y_low, y_high = _decades([ns for _, ns in every])

    def x(pages: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log10(pages) - x_low) / (x_high - x_low)

    def y(ns: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (math.log10(ns) - y_low) / (y_high - y_low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        "<title>Modelled cost of a page against the size of a batch</title>",
    ]
    for power in range(x_low, x_high + 1):
        at = x(10.0**power)
        parts.append(
            f'<path d="M{at:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#ccc"/>'
            f'<text x="{at:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{10**power:,}</text>'
        )
    for power in range(y_low, y_high + 1):
        at = y(10.0**power)
        parts.append(
            f'<path d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}" stroke="#ccc"/>'
            f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{10**power:,} ns</text>'
        )
    colours = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
    for number, (name, of_curve) in enumerate(points.items()):
        colour = colours[number % len(colours)]
        line = " ".join(f"{x(pages):.1f},{y(ns):.1f}" for pages, ns in of_curve)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{_LEFT + 8}" y="{_TOP + 16 * (number + 1)}" fill="{colour}">{escape(name)}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">pages in one call</text></svg>'
    )
    return "\n".join(parts)


def _decades(values: list[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)
