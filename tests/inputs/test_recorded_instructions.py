"""One recording of a program, instruction by instruction, read through every format that has instructions.

``data/README.md`` says how it was recorded, and who wrote its ChampSim records.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pagemig as pm
from pagemig.inputs import AccessKind, TraceFormat, read_trace
from tests.inputs.conftest import DATA, Row

Write = Callable[[str, bytes], Path]

LACKEY = DATA / "sort.instructions.lackey.xz"
KINDS = {"I ": 3, " L": 0, " S": 1, " M": 2}


@pytest.fixture(scope="module")
def recorded() -> list[Row]:
    """What was recorded, line by line, by a reader of its own."""
    lines = lzma.decompress(LACKEY.read_bytes()).decode().splitlines()
    split = ((line[:2], *line[3:].split(",")) for line in lines)
    return [(int(address, 16), int(size), KINDS[kind]) for kind, address, size in split]


def instructions_of(rows: list[Row]) -> Iterator[list[Row]]:
    """Each instruction with its accesses."""
    starts = [at for at, (_, _, kind) in enumerate(rows) if kind == AccessKind.INSTRUCTION]
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield rows[start:end]


def in_champsims_order(rows: list[Row]) -> list[Row]:
    """The same without sizes: the loads of an instruction before its stores, each address once."""
    wanted: list[Row] = []
    for (at, _, _), *accesses in instructions_of(rows):
        loads = [address for address, _, kind in accesses if kind != AccessKind.STORE]
        stores = [address for address, _, kind in accesses if kind != AccessKind.LOAD]
        wanted.append((at, 1, AccessKind.INSTRUCTION))
        wanted += [(address, 1, AccessKind.LOAD) for address in dict.fromkeys(loads)]
        wanted += [(address, 1, AccessKind.STORE) for address in dict.fromkeys(stores)]
    return wanted


def rows_of(path: Path, **options: object) -> list[Row]:
    """Everything in a trace, instructions too."""
    columns = read_trace(path, instructions=True, **options).columns()  # type: ignore[arg-type]
    return list(zip(columns.addresses.tolist(), columns.sizes.tolist(), columns.kinds.tolist(), strict=True))


def test_every_line_of_lackey_is_read(recorded: list[Row]) -> None:
    """40,000 instructions; loads, stores and modifications among them."""
    assert rows_of(LACKEY) == recorded
    assert {kind for _, _, kind in recorded} == {0, 1, 2, 3}
    assert sum(kind == AccessKind.INSTRUCTION for _, _, kind in recorded) == 40_000


@pytest.mark.parametrize("chunk", [1 << 20, 1000])
def test_champsims_records_are_the_same_program(recorded: list[Row], chunk: int) -> None:
    """In one piece and in pieces that end within a record; branches and registers are passed over."""
    path = DATA / "sort.champsim.xz"
    assert read_trace(path).format is TraceFormat.CHAMPSIM
    assert rows_of(path, chunk=chunk) == in_champsims_order(recorded)
    data_only = read_trace(path, chunk=chunk).columns()
    assert len(data_only) == sum(kind != 3 for _, _, kind in in_champsims_order(recorded)) > 10_000


def test_the_lines_of_dynamorios_view_are_the_same_program(recorded: list[Row], written: Write) -> None:
    """Method: the lines written here, as the view writes them; a modification is a read and a write."""
    lines, wanted = list[str](), list[Row]()
    for number, ((at, size, _), *accesses) in enumerate(instructions_of(recorded), start=1):
        lines.append(f"ifetch {size:7} byte(s) @ {at:#018x} {' '.join(['90'] * size)} nop")
        wanted.append((at, size, AccessKind.INSTRUCTION))
        for address, bytes_accessed, kind in accesses:
            for name, one, ways in (("read ", AccessKind.LOAD, (0, 2)), ("write", AccessKind.STORE, (1, 2))):
                if kind in ways:
                    lines.append(f"{name} {bytes_accessed:8} byte(s) @ {address:#018x} by PC {at:#018x}")
                    wanted.append((address, bytes_accessed, one))
        lines[-1] += "" if number % 1000 else "\n<marker: timestamp 13335871937063720>"
    text = "".join(
        f"{record:12} {0:11}: {4242:11} {line}\n"
        for record, line in enumerate("\n".join(lines).split("\n"), start=1)
    )
    path = written("sort.view", text.encode())
    assert read_trace(path).format is TraceFormat.DYNAMORIO
    assert rows_of(path) == wanted


@pytest.mark.parametrize("name", ["sort.champsim.xz", "sort.instructions.lackey.xz"])
def test_what_the_program_wrote_has_a_frame_after_either_is_played(recorded: list[Row], name: str) -> None:
    """And what it only read is the page of zeros, which is nobody's."""
    accesses = read_trace(DATA / name).columns()
    machine = pm.Machine(nodes=[16 * pm.MiB] * 2)
    task = machine.spawn("sort")
    reached, wrote = (
        {address // pm.PAGE_SIZE * pm.PAGE_SIZE for address, _, kind in recorded if kind in kinds}
        for kinds in ((0, 1, 2), (1, 2))
    )
    for page in sorted(reached):
        task.mmap(pm.PAGE_SIZE, at=page)
    task.access(accesses.addresses, accesses.writes)
    assert {page for page in reached if task.page_at(page) is not None} == wrote
    assert 0 < len(wrote) < len(reached)
    machine.audit()
