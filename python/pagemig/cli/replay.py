"""``pagemig replay``: play a recorded program, and move its hot pages half way.

Asks and prints; :mod:`pagemig.playback` plays.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pagemig import playback
from pagemig.errors import UsageError
from pagemig.playback import HotMove, Replayed, Served, Tiers

from . import terminal
from .sizes import sizes, told


def replay(
    trace: Annotated[
        Path,
        typer.Argument(
            metavar="TRACE",
            help="A trace of lackey, perf, DAMON, DynamoRIO, ChampSim, CSV or npz.",
            show_default=False,
        ),
    ],
    nodes: Annotated[int, typer.Option(help="How many NUMA nodes the machine has.", metavar="N")] = 2,
    node_memory: Annotated[
        str,
        typer.Option(help="Memory of each node, or of node 0, 1, ... with commas.", metavar="SIZE[,SIZE...]"),
    ] = "1GiB",
    move_hot: Annotated[
        int | None,
        typer.Option(
            help="Half way, move the N most used pages to the fast node.", metavar="N", show_default=False
        ),
    ] = None,
    fast_node: Annotated[int, typer.Option(help="The fast node.", metavar="NODE")] = 0,
    start_node: Annotated[
        int | None,
        typer.Option(help="The node that the program runs on.", metavar="NODE", show_default="the last one"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of tables.")
    ] = False,
) -> None:
    """Play every recorded access of a program on a simulated machine, faulting pages in.

    The program runs on the start node, so its pages are born there while there is room; then on the
    nearest node. At the end you see how many pages each node holds and how many accesses it served.

    With --move-hot N, the N most used pages are moved to the fast node after half of the records. The
    machine is cloned before, and the second half is played on both, so that you see the same accesses
    with and without the move.

    **Record a trace:** valgrind --tool=lackey --trace-mem=yes --log-file=my.lackey PROGRAM

    **Examples**

    - pagemig replay my.lackey
    - pagemig replay my.lackey --node-memory 1MiB,64MiB --move-hot 64
    - pagemig replay my.lackey --json
    """
    memory = sizes(node_memory, "--node-memory")
    if not 1 <= nodes <= 64:
        raise UsageError(f"--nodes: {nodes} nodes; a machine has 1 to 64")
    if len(memory) not in (1, nodes):
        raise UsageError(f"--node-memory: {len(memory)} sizes for {nodes} nodes; give one, or one for each")
    tiers = Tiers(
        memory if len(memory) == nodes else memory * nodes,
        fast=fast_node,
        start=nodes - 1 if start_node is None else start_node,
    )
    began = time.perf_counter()
    with terminal.progress() as progress:
        bar = progress.add_task("reading", total=1.0, note=trace.name)
        done = playback.replay(
            trace,
            tiers=tiers,
            move_hot=move_hot,
            progress=lambda doing, share: progress.update(bar, description=doing, completed=share),
        )
    seconds = time.perf_counter() - began
    if as_json:
        terminal.emit(_document(trace, done, seconds))
    else:
        _print(trace, done, seconds)


def _print(trace: Path, done: Replayed, seconds: float) -> None:
    console = terminal.out()
    played = f"{done.records:,} accesses of {trace.name} played in {seconds:.1f} s"
    console.print(f"[bold]{played}[/] ({done.writes:,} wrote, {done.straddling:,} touched two pages)")
    console.print(
        f"{done.served.minor:,} page faults, {done.served.cow:,} pages copied on write, "
        f"{told(done.mapped)} of address space mapped\n"
    )
    rows = terminal.table(
        "Nodes at the end", "node", "role", "#memory", "#pages", "#accesses served", "#share"
    )
    for node, memory in enumerate(done.tiers.memory):
        rows.add_row(
            str(node),
            ", ".join(_roles(done.tiers, node)),
            told(memory),
            f"{done.pages[node]:,}",
            f"{done.served.by_node[node]:,}",
            f"{done.served.share(node):.1%}",
        )
    if done.served.zero_page:
        share = done.served.zero_page / done.served.accesses
        rows.add_row(
            "-", "zero page: read before written", "", "", f"{done.served.zero_page:,}", f"{share:.1%}"
        )
    console.print(rows)
    if done.move is not None:
        _print_move(done.tiers, done.move)


def _print_move(tiers: Tiers, move: HotMove) -> None:
    console = terminal.out()
    console.print(
        f"\n[bold]Half way, the {move.chosen:,} most used pages were asked to node {tiers.fast}[/] "
        f"({move.asked:,} wanted, {move.used:,} pages used until then)"
    )
    if move.refused:
        console.print(f"[yellow]{move.refused}[/]")
    rows = terminal.table("", "outcome", "status", "#pages", "why")
    for row in move.outcomes:
        rows.add_row(row.kind.value, row.code, f"{row.pages:,}", row.reason)
    console.print(rows)
    stretches = terminal.table(
        f"Accesses served by the fast node {tiers.fast}",
        "stretch",
        "#accesses",
        "#by the fast node",
        "#share",
    )
    for name, served in _stretches(move):
        stretches.add_row(
            name, f"{served.accesses:,}", f"{served.by_node[tiers.fast]:,}", f"{served.share(tiers.fast):.1%}"
        )
    console.print()
    console.print(stretches)


def _stretches(move: HotMove) -> list[tuple[str, Served]]:
    return [
        ("first half", move.before),
        ("second half, had nothing moved", move.unmoved),
        ("second half, after the move", move.moved),
    ]


def _roles(tiers: Tiers, node: int) -> list[str]:
    return [role for role, at in (("fast", tiers.fast), ("start", tiers.start)) if at == node]


def _document(trace: Path, done: Replayed, seconds: float) -> dict[str, object]:
    move = done.move
    return {
        "trace": str(trace),
        "records": done.records,
        "writes": done.writes,
        "straddling": done.straddling,
        "mapped_bytes": done.mapped,
        "seconds": round(seconds, 3),
        "served": _served(done.served),
        "nodes": [
            {
                "node": node,
                "roles": _roles(done.tiers, node),
                "memory": memory,
                "pages": done.pages[node],
                "accesses": done.served.by_node[node],
            }
            for node, memory in enumerate(done.tiers.memory)
        ],
        "move_hot": None
        if move is None
        else {
            "asked": move.asked,
            "chosen": move.chosen,
            "used": move.used,
            "fast_node": done.tiers.fast,
            "refused": move.refused or None,
            "outcomes": [
                {"kind": row.kind.value, "status": row.code, "pages": row.pages} for row in move.outcomes
            ],
            "first_half": _served(move.before),
            "second_half_unmoved": _served(move.unmoved),
            "second_half_moved": _served(move.moved),
        },
    }


def _served(served: Served) -> dict[str, object]:
    return {
        "accesses": served.accesses,
        "by_node": list(served.by_node),
        "zero_page": served.zero_page,
        "minor_faults": served.minor,
        "copied_on_write": served.cow,
    }
