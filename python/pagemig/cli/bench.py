"""``pagemig bench``: how fast this package is here, beside the host's own kernel.

Asks and prints; :mod:`pagemig.speed` measures.
"""

from __future__ import annotations

from typing import Annotated

import typer

from pagemig import build_profile, speed

from . import terminal


def bench(
    pages: Annotated[int, typer.Option(help="Pages in one call.", metavar="N")] = 1 << 18,
    rounds: Annotated[int, typer.Option(help="How often; the median counts.", metavar="N")] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of a table.")
    ] = False,
) -> None:
    """Time a look-up, a move and a first touch per page, and the host's kernel at the same work.

    One run, so that both meet the same noise: compare the ratios, not the times. A debug build says so.

    **Examples**

    - pagemig bench
    - pagemig bench --pages 10000 --rounds 3 --json
    """
    done = speed.measure(pages, rounds=rounds)
    if as_json:
        rows = [
            {"what": row.what, "ns_per_page": row.ns_per_page, "host_ns_per_page": row.host_ns_per_page}
            for row in done.rows
        ]
        terminal.emit(
            {
                "pages": done.pages,
                "rounds": done.rounds,
                "build": build_profile,
                "rows": rows,
                "host_refused": done.refused or None,
            }
        )
        return
    title = f"{done.pages:,} pages in address order, median of {done.rounds}, {build_profile} build"
    table = terminal.table(title, "a page is", "#ns here", "#ns on the host's kernel", "#ratio")
    for row in done.rows:
        host = "" if row.host_ns_per_page is None else f"{row.host_ns_per_page:.1f}"
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        table.add_row(row.what, f"{row.ns_per_page:.1f}", host, ratio)
    terminal.out().print(table)
    if done.refused:
        terminal.out().print(f"the host's kernel was not measured: {done.refused}")
