"""What happened on a machine, in order, as columns.

A machine records nothing until `pagemig.Machine.record` is told to; then it keeps the last
events, and every call is stepped so that there is something to record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .arguments import read_only
from .errors import UsageError
from .tables import Table


class Event(NamedTuple):
    """One row of a `Trace`."""

    time: int
    """Steps made on the machine before."""
    pid: int
    """The task that made the call."""
    call: int
    """The number of the call, see `pagemig.Call.number`."""
    event: str
    """What: step, wait, done, allocate, isolate, refuse, putback, unmap, restore, copy, attempt, fault,
    migrate_area."""
    label: str
    """The step of the specification, of step, wait and done; what else a step did comes before its row."""
    pfn: int
    """The frame concerned, -1 if none."""
    address: int
    """The address concerned, 0 if none."""
    value: int
    """What goes with the event: a node, a result, a flavour."""


class Trace:
    """The events of a machine, oldest first. A copy: it does not grow. Made by `pagemig.Machine.trace`.

    Parameters
    ----------
    columns
        Under the names of the fields of `pagemig.Event`, of one length: arrays, or lists of text.

    Examples
    --------
    >>> import pagemig as pm
    >>> machine = pm.Machine(nodes=[pm.MiB])
    >>> len(machine.trace)
    0
    """

    __slots__ = ("_columns",)

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._columns = {
            name: read_only(np.array(values)) if isinstance(values, np.ndarray) else tuple(values)
            for name, values in columns.items()
        }

    @property
    def columns(self) -> dict[str, Any]:
        """The columns under the names of the fields of `Event`."""
        return dict(self._columns)

    def __getitem__(self, name: str) -> Any:
        if name not in self._columns:
            raise UsageError(f"there is no column {name!r}; there are {', '.join(self._columns)}")
        return self._columns[name]

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __iter__(self) -> Iterator[Event]:
        plain = [
            column.tolist() if isinstance(column, np.ndarray) else column
            for column in (self._columns[name] for name in Event._fields)
        ]
        return (Event(*row) for row in zip(*plain, strict=True))

    @property
    def table(self) -> Table:
        """The events as a table, which goes to any dataframe."""
        return Table(self._columns)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the columns, for dataframes (Arrow PyCapsule interface)."""
        return self.table.__arrow_c_stream__(requested_schema)

    def __reduce__(self) -> tuple[type[Trace], tuple[dict[str, Any]]]:
        return Trace, (self._columns,)

    def __repr__(self) -> str:
        return f"<Trace of {len(self)} events>"
