"""``make bench``: what we need, what the host needs, and whether that is good enough. One run.

Figures of shared machines wander, so each row is a ratio to something measured in the same run: rounds
are interleaved (every round measures everything once) and the median counts. A row that this host
cannot measure says so and why. The run ends with 0 if no row is short, with 1 otherwise.

Start with :func:`main`; :mod:`benchmarks.rows` has the rows. Options: ``--pages``, ``--rounds``,
``--quick`` (small numbers, to see that everything runs: nothing is judged), ``--json`` (the figures, for
:mod:`benchmarks.plots` and the page on performance).
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .figures import Bench, migrated
from .rows import Row, Sizes, Verdict, judged, rows

HEADINGS = ("", "work", "ours", "comparator", "ratio", "target", "")
QUICK = Sizes(
    pages=4096,
    byte_pages=2048,
    growth=(1024, 4096),
    calls=50,
    gib=8,
    accesses=1 << 16,
    records=1,
    search_steps=5000,
    host_migrates=False,
)


def words_from(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the words on the command line ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__.split("\n")[0])
    parser.add_argument("--pages", type=int, default=1 << 20, help="pages of the main rows")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the median counts")
    parser.add_argument("--quick", action="store_true", help="small numbers: does everything run?")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    chosen = parser.parse_args(arguments)
    if chosen.pages < 1024 or chosen.rounds < 1:
        parser.error("--pages must be at least 1024 and --rounds at least 1")
    return chosen


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


def everything(sizes: Sizes, rounds: int) -> tuple[dict[str, float], dict[str, str]]:
    """Every figure by name, and for each comparator that this host refuses, why."""
    bench = Bench(sizes)
    figures = measure(bench, rounds)
    refusals = {"C1": bench.host.refusal, "C2": bench.host.refusal}
    bench.close()
    del bench
    figure, refusals["C3"] = migrated(sizes)
    if figure is not None:
        figures["C3: migrated"] = figure
    return figures, refusals


def words(
    row: Row, figures: Mapping[str, float], refusals: Mapping[str, str], is_quick: bool
) -> tuple[str, ...]:
    """One row of the table."""
    verdict = judged(row, figures)
    ours = row.show(figures[row.ours]) if row.ours in figures else Verdict.MISSING.value
    other, ratio = "-", "-"
    if row.against is not None and row.against not in figures:
        other = Verdict.MISSING.value
    elif row.against is not None:
        other = f"{row.against.split(':')[0]} {row.show(figures[row.against])}"
        ratio = f"{figures[row.ours] / figures[row.against]:.3f}" if row.ours in figures else "-"
    last = "ran" if is_quick else verdict.value
    if verdict is Verdict.MISSING:
        name = row.ours if row.ours not in figures else str(row.against)
        last = refusals.get(name.split(":")[0], "this host has no /proc")
    return (row.label, row.work, ours, other, ratio, row.goal, last)


def table(lines: Sequence[Sequence[str]]) -> str:
    """Lines of words in columns, as wide as they have to be."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(w.ljust(width) for w, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return 0 if no row is short: a quick run judges none."""
    chosen = words_from(arguments)
    byte_pages = min(chosen.pages, 1 << 18)
    sizes = QUICK if chosen.quick else Sizes(pages=chosen.pages, byte_pages=byte_pages)
    rounds = 1 if chosen.quick else chosen.rounds
    figures, refusals = everything(sizes, rounds)
    all_rows = rows(sizes)
    print(f"{sizes.pages:,} pages, {sizes.byte_pages:,} where bytes are copied; median of {rounds} rounds")
    print(table([HEADINGS, *(words(row, figures, refusals, chosen.quick) for row in all_rows)]))
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    short = [row for row in all_rows if judged(row, figures) is Verdict.SHORT]
    if chosen.quick:
        return 0
    print(f"{len(short)} of {len(all_rows)} rows are short" if short else "no row is short")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
