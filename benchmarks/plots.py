"""The figures of docs/performance.md, and the numbers behind them: ``make plots``.

Measures how cost grows (:mod:`benchmarks.scale`), takes callgrind's account of where instructions go
(:mod:`benchmarks.breakdown`), and draws both as SVG into ``docs/figures``. Start with :func:`main`. Needs
matplotlib: the extra ``plots``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .breakdown import Share, breakdown
from .scale import Line, measured

FIGURES = Path(__file__).parent.parent / "docs" / "figures"
WORKLOADS = ("move_address_order", "move_random_order", "move_file", "first_touch", "query")


def growth(lines: Sequence[Line], pyplot: Any, to: Path) -> None:
    """One curve a quantity: nanoseconds for each unit over the size."""
    names = dict.fromkeys(str(line["what"]) for line in lines)
    figure, axes = pyplot.subplots(figsize=(9, 5))
    for name in names:
        points = [line for line in lines if line["what"] == name]
        if len(points) > 1:
            axes.loglog(
                [p["size"] for p in points], [p["ns_per_unit"] for p in points], marker="o", label=name
            )
    axes.set_xlabel("size")
    axes.set_ylabel("nanoseconds for each unit")
    axes.set_title("A flat curve is linear growth")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, to)


def shares(accounts: dict[str, list[Share]], pyplot: Any, to: Path) -> None:
    """One bar a workload: instructions for each page, by room."""
    rooms = sorted({share.room for account in accounts.values() for share in account})
    figure, axes = pyplot.subplots(figsize=(9, 4))
    left = dict.fromkeys(accounts, 0.0)
    colours = pyplot.get_cmap("tab20")
    for number, room in enumerate(rooms):
        widths = [sum(share.per_page for share in accounts[name] if share.room == room) for name in accounts]
        axes.barh(list(accounts), widths, left=list(left.values()), label=room, color=colours(number % 20))
        left = {name: left[name] + width for name, width in zip(accounts, widths, strict=True)}
    axes.set_xlabel("instructions for each page")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, to)


def save(figure: Any, to: Path) -> None:
    """Write an SVG that depends on nothing but what is drawn."""
    figure.savefig(to, bbox_inches="tight", metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plots", description=__doc__.split("\n")[0])
    parser.add_argument("--touched", type=int, default=20_000_000, help="pages of the large machine")
    parser.add_argument("--lines", type=Path, help="take the growth from this file of benchmarks.scale")
    chosen = parser.parse_args(arguments)
    try:
        import matplotlib
    except ImportError:
        print("the figures need matplotlib: pip install 'pagemig[plots]'", file=sys.stderr)
        return 1
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "pagemig"
    from matplotlib import pyplot

    FIGURES.mkdir(parents=True, exist_ok=True)
    if chosen.lines:
        lines = json.loads(chosen.lines.read_text())
    else:
        lines = measured(chosen.touched, lambda line: print(line, flush=True))
    growth(lines, pyplot, FIGURES / "growth.svg")
    shares({name: breakdown(name) for name in WORKLOADS}, pyplot, FIGURES / "breakdown.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
