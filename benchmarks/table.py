"""``make bench``: what we need, what the host needs, and whether that is good enough. One run.

Figures of shared machines wander, so each row is a ratio to something measured in the same run: rounds
are interleaved (every round measures everything once) and the median counts. A row that this host
cannot measure says so and why. A row that falls short says ``short``; it does not fail the run.

Start with :func:`main`; :mod:`benchmarks.rows` has the rows. Options: ``--pages``, ``--rounds``,
``--quick`` (small numbers, to see that everything runs).
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
from collections.abc import Sequence

from .rows import Bench, Row, Sizes, rows

HEADINGS = ("", "work", "ours", "comparator", "ratio", "target", "")


def sizes_from(arguments: Sequence[str] | None) -> tuple[Sizes, int]:
    """What the words on the command line ask for: sizes, and how many rounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__.split("\n")[0])
    parser.add_argument("--pages", type=int, default=1 << 20, help="pages of the main rows")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the median counts")
    parser.add_argument("--quick", action="store_true", help="small numbers: does everything run?")
    chosen = parser.parse_args(arguments)
    if chosen.pages < 1024 or chosen.rounds < 1:
        parser.error("--pages must be at least 1024 and --rounds at least 1")
    if chosen.quick:
        return Sizes(pages=4096, byte_pages=2048, growth=(1024, 4096), calls=50, gib=8, steps=5000), 1
    return Sizes(pages=chosen.pages, byte_pages=min(chosen.pages, 1 << 18)), chosen.rounds


def measure(bench: Bench, rounds: int) -> dict[str, float]:
    """Every figure, by name: the median of the rounds. A figure that the host refuses is missing."""
    taken: dict[str, list[float]] = {}
    for number in range(rounds):
        for name, figure in bench.figures(number):
            if figure is not None:
                taken.setdefault(name, []).append(figure)
        gc.collect()
        if sys.stderr.isatty():
            print(f"round {number + 1} of {rounds}", end="\r", file=sys.stderr, flush=True)
    return {name: statistics.median(values) for name, values in taken.items()}


def words(row: Row, figures: dict[str, float], refusal: str) -> tuple[str, ...]:
    """One row of the table."""
    if row.ours not in figures:
        return (row.label, row.work, "not measured here", "-", "-", f"<= {row.show(row.target)}", "no /proc")
    ours = figures[row.ours]
    shown = (row.label, row.work, row.show(ours))
    if row.against is None:
        verdict = "pass" if ours <= row.target else "short"
        return (*shown, "-", "-", f"<= {row.show(row.target)}", verdict)
    if row.against not in figures:
        return (*shown, "not measured here", "-", f"<= {row.target:g} x", refusal)
    theirs = figures[row.against]
    verdict = "pass" if ours <= row.target * theirs else "short"
    other = f"{row.against.split(':')[0]} {row.show(theirs)}"
    return (*shown, other, f"{ours / theirs:.3f}", f"<= {row.target:g} x", verdict)


def table(lines: Sequence[Sequence[str]]) -> str:
    """Lines of words in columns, as wide as they have to be."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(w.ljust(width) for w, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return 0: at this stage no timing fails."""
    sizes, rounds = sizes_from(arguments)
    bench = Bench(sizes)
    figures = measure(bench, rounds)
    refusal = bench.host.refusal
    bench.close()
    print(f"{sizes.pages:,} pages, {sizes.byte_pages:,} where bytes are copied; median of {rounds} rounds")
    print(table([HEADINGS, *(words(row, figures, refusal) for row in rows(sizes))]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
