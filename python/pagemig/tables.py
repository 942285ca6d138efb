"""Tables: named columns of one length, for reports, sweeps and traces.

A `Table` is what several parts of the package answer with when the answer has rows. Columns are numpy
arrays (text: tuples of str); iterating gives rows. It goes to any dataframe through the Arrow PyCapsule
interface (``pyarrow.table(table)``, ``polars.DataFrame(table)``, duckdb, pandas 3), for which nothing
needs to be installed here: `arrow` makes the structures itself.

Start with `Table.of`. Below: `arrow`. Left out: operations on tables; dataframes have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from . import arrow
from .arguments import read_only
from .errors import UsageError

Column: TypeAlias = npt.NDArray[Any] | tuple[str, ...]
"""Numbers or flags as an array, or text as a tuple."""


class Table:
    """Named columns of one length; a value.

    Parameters
    ----------
    columns
        By name: arrays of numbers or flags with one dimension, or tuples of str.

    Raises
    ------
    UsageError
        A column is of another kind or length.

    Examples
    --------
    >>> table = Table.of(node=[0, 1], pages=[7, 9], name=["fast", "slow"])
    >>> len(table), table["pages"].tolist(), table["name"]
    (2, [7, 9], ('fast', 'slow'))
    >>> next(iter(table))
    {'node': 0, 'pages': 7, 'name': 'fast'}
    """

    __slots__ = ("_columns",)

    def __init__(self, columns: Mapping[str, Column]) -> None:
        made: dict[str, Column] = {}
        length = None
        for name, values in columns.items():
            column: Column
            if isinstance(values, tuple):
                if not all(isinstance(value, str) for value in values):
                    raise UsageError(f"column {name} holds {values!r}; a tuple must hold text")
                column = values
            else:
                array = np.asarray(values)
                if array.ndim != 1 or array.dtype.kind not in "biuf":
                    raise UsageError(
                        f"column {name} is {array.ndim}-dimensional {array.dtype}; "
                        "it must be flat, of numbers or bools"
                    )
                column = read_only(array.view())
            length = len(column) if length is None else length
            if len(column) != length:
                raise UsageError(f"column {name} has {len(column)} entries; the others have {length}")
            made[str(name)] = column
        self._columns = made

    @staticmethod
    def of(**columns: Sequence[Any] | npt.NDArray[Any]) -> Table:
        """Make a table of lists.

        Parameters
        ----------
        columns
            By name: text where all entries are text, numbers or flags otherwise; of one length.

        Returns
        -------
        Table
            With the columns in the order given.

        Raises
        ------
        UsageError
            A list holds what is none of these, or is of another length.
        """
        made: dict[str, Column] = {}
        for name, values in columns.items():
            is_text = not isinstance(values, np.ndarray) and all(isinstance(value, str) for value in values)
            made[name] = tuple(values) if is_text and len(values) else np.asarray(values)
        return Table(made)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(self._columns)

    @property
    def columns(self) -> dict[str, Column]:
        """The columns by name: read-only arrays, or tuples of str."""
        return dict(self._columns)

    def __getitem__(self, name: str) -> Any:
        if name not in self._columns:
            raise UsageError(f"there is no column {name!r}; there are {', '.join(self._columns)}")
        return self._columns[name]

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        plain = [
            column if isinstance(column, tuple) else column.tolist() for column in self._columns.values()
        ]
        return (dict(zip(self._columns, row, strict=True)) for row in zip(*plain, strict=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return self.names == other.names and all(
            _same(mine, theirs)
            for mine, theirs in zip(self._columns.values(), other._columns.values(), strict=True)
        )

    def __hash__(self) -> int:
        return hash((self.names, len(self)))

    def __reduce__(self) -> tuple[type[Table], tuple[dict[str, Column]]]:
        return Table, (self._columns,)

    def __arrow_c_schema__(self) -> object:
        """Return the types of the columns, for dataframes (Arrow PyCapsule interface)."""
        return arrow.schema(self._columns)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the columns, for dataframes; numbers are not copied."""
        return arrow.stream(self._columns)

    def __repr__(self) -> str:
        return f"<Table of {len(self)} rows: {', '.join(self._columns)}>"


def _same(mine: Column, theirs: Column) -> bool:
    if isinstance(mine, tuple) or isinstance(theirs, tuple):
        return mine == theirs if isinstance(mine, tuple) and isinstance(theirs, tuple) else False
    return mine.dtype == theirs.dtype and np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f")
