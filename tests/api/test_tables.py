"""Tables are values, and go to any dataframe through Arrow's PyCapsule interface."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import polars
import pyarrow
import pytest

import pagemig as pm
from pagemig import arrow

COLUMNS: dict[str, Any] = {
    "flag": np.array([True, False, True, True, False, False, True, False, True]),
    **{kind: np.arange(9).astype(kind) for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")},
    "f4": np.linspace(-1, 1, 9, dtype="f4"),
    "f8": np.array([0.5, np.inf, -0.0, 1e300, 2, 3, 4, 5, 6]),
    "big": np.arange(9, dtype=">i4"),
    "strided": np.arange(18, dtype="u2")[::2],
    "text": ("", "ä", "node 0", "日本", "e", "f", "g", "h", "\N{GRINNING FACE}"),
}


def plain(table: pm.Table) -> dict[str, list[Any]]:
    """The columns as lists."""
    return {name: [row[name] for row in table] for name in table.names}


@pytest.mark.parametrize("rows", [9, 0])
def test_pyarrow_and_polars_read_every_kind_of_column(rows: int) -> None:
    """Goal: the same values and types. Method: all kinds at once, whole and empty."""
    table = pm.Table({name: column[:rows] for name, column in COLUMNS.items()})
    read = pyarrow.table(table)
    read.validate(full=True)
    assert read.to_pydict() == plain(table)
    assert [str(kind) for kind in read.schema.types[:5]] == ["bool", "int8", "uint8", "int16", "uint16"]
    assert pyarrow.schema(table) == read.schema
    assert polars.DataFrame(table).to_dict(as_series=False) == plain(table)


def test_numbers_are_lent_and_not_copied() -> None:
    """Method: the address of the reader's buffer is that of the column."""
    pages = np.arange(1000, dtype=np.uint64)
    read = pyarrow.table(pm.Table({"pages": pages}))
    assert read["pages"].chunk(0).buffers()[1].address == pages.ctypes.data


def test_what_was_lent_is_given_back() -> None:
    """Read, half read, and never read: nothing is kept once the reader is gone."""
    gc.collect()
    before = arrow.lent()
    table = pm.Table(COLUMNS)
    column = pyarrow.table(table)["text"]
    assert arrow.lent() > before
    assert column.to_pylist() == list(COLUMNS["text"])
    reader = pyarrow.RecordBatchReader.from_stream(table)
    del column, reader
    table.__arrow_c_stream__()
    table.__arrow_c_schema__()
    gc.collect()
    assert arrow.lent() == before


def test_a_reader_may_outlive_the_table() -> None:
    """Also at the end of the process, when nobody is left to be told."""
    code = (
        "import pagemig as pm, pyarrow\n"
        "kept = pyarrow.table(pm.Table.of(node=[1, 2], name=['a', 'b']))\n"
        "print(kept.to_pylist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "[{'node': 1, 'name': 'a'}, {'node': 2, 'name': 'b'}]\n"


def test_recorded_events_and_accesses_are_tables_too() -> None:
    """The trace of a machine and the accesses of a program go the same way."""
    machine = pm.Machine(nodes=[pm.MiB, pm.MiB])
    task = machine.spawn()
    heap = task.mmap(2 * pm.PAGE_SIZE)
    task.touch(heap)
    machine.record()
    task.move_pages(heap, 1)
    read = pyarrow.table(machine.trace)
    assert read["event"].to_pylist() == list(machine.trace["event"])
    assert read["pfn"].to_pylist() == machine.trace["pfn"].tolist()
    accesses = pm.inputs.Accesses(np.array([1, 2], "u8"), np.array([8, 4], "u1"), np.array([0, 1], "u1"))
    assert polars.DataFrame(accesses)["addresses"].to_list() == [1, 2]


def test_a_table_is_a_value() -> None:
    """Equal by content, closed for writing, picklable, with rows and columns."""
    table = pm.Table.of(node=[0, 1], share=[0.5, float("nan")], name=["fast", "slow"])
    again = pickle.loads(pickle.dumps(table))
    assert again == table and table != pm.Table.of(node=[0, 1])
    assert table != pm.Table.of(node=[0, 1], share=[0.5, 1.0], name=["fast", "slow"])
    assert not table["node"].flags.writeable
    assert (table.names, len(table), table["name"]) == (("node", "share", "name"), 2, ("fast", "slow"))
    assert repr(table) == "<Table of 2 rows: node, share, name>"
    assert len(pm.Table({})) == 0 and list(pm.Table({})) == []


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": np.zeros(2), "b": np.zeros(3)}, "column b has 3 entries; the others have 2"),
        ({"a": np.zeros((2, 2))}, "it must be flat"),
        ({"a": np.array([object()])}, "it must be flat, of numbers or bools"),
        ({"a": (1, 2)}, "a tuple must hold text"),
        ({"a": ["b", 1]}, "it must be flat, of numbers or bools"),
    ],
)
def test_columns_that_no_table_has_are_refused(columns: dict[str, Any], said: str) -> None:
    """The column is named."""
    with pytest.raises(pm.UsageError, match=said):
        pm.Table(columns)
    with pytest.raises(pm.UsageError, match="there is no column 'b'; there are a"):
        pm.Table.of(a=[1])["b"]


def test_a_column_that_is_not_there_is_refused_alike_everywhere() -> None:
    """Tables and traces of the same machine answer in the same words."""
    machine = pm.Machine(nodes=[pm.MiB])
    trace = machine.trace
    for columns in (trace, trace.table):
        with pytest.raises(pm.UsageError, match="there is no column 'x'; there are "):
            columns["x"]
