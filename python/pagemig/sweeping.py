"""Sweeps: one function over every combination of some parameters, on any executor.

Machines share nothing and hold no clock or chance, so runs may be made anywhere and in any order: the
table is the same for one worker, many threads, many processes or a Dask cluster
(``client.get_executor()``). The core lets Python go while it works, so threads are enough for much.

Start with `sweep`. Below: `tables`. Left out: choosing the next parameters by the results so far.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import math
import numbers
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from .errors import UsageError
from .tables import Table

Progress: TypeAlias = Callable[[int, int], None]
"""Told after each run how many are done, and of how many."""

_RUNS_MAX = 10_000_000
_AHEAD = 4096
"""Runs that are handed to an executor and not yet looked at: enough for any number of workers."""


def combinations(
    parameters: Mapping[str, Iterable[Any]], *, is_name: Callable[[str], bool] = str.isidentifier
) -> list[dict[str, Any]]:
    """Return every combination of the values, the last parameter changing fastest.

    ``is_name`` says what can be the name of a parameter.

    >>> combinations({"pages": [1, 2], "node": [0, 1]})[1]
    {'pages': 1, 'node': 1}
    """
    if not isinstance(parameters, Mapping) or not parameters:
        raise UsageError(f"parameters is {parameters!r}; it must map names to their values")
    values = {}
    for name, of_name in parameters.items():
        if not isinstance(name, str) or not is_name(name):
            raise UsageError(f"parameters holds {name!r}; a parameter has a name that Python can call")
        if isinstance(of_name, (str, bytes)) or not isinstance(of_name, Iterable):
            raise UsageError(f"parameters[{name!r}] is {of_name!r}; it must be a list of values")
        values[name] = list(of_name)
        if not values[name]:
            raise UsageError(f"parameters[{name!r}] is empty; it must hold at least one value")
    runs = math.prod(len(of_name) for of_name in values.values())
    if runs > _RUNS_MAX:
        raise UsageError(f"parameters make {runs} runs; {_RUNS_MAX} is the most")
    return [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]


def sweep(
    function: Callable[..., Any],
    parameters: Mapping[str, Iterable[Any]],
    executor: concurrent.futures.Executor | None = None,
    *,
    progress: Progress | None = None,
) -> Table:
    """Call a function with every combination of parameters, and return a table of what came of it.

    Parameters
    ----------
    function
        Called with the parameters by name; it makes its own machine. It returns a number, a bool or
        text, or several of them by name. For processes and Dask it must be one that can be pickled:
        defined in a module.
    parameters
        The values of each parameter, by name.
    executor
        What runs the calls: anything with the interface of `concurrent.futures.Executor`. By default
        threads, as many as there are CPUs. A given one is left open.
    progress
        Called after each run, in the caller's thread.

    Returns
    -------
    Table
        One row a run, in the order of `combinations`: the parameters, then the results (``result``, or
        their names). The same for every executor.

    Raises
    ------
    UsageError
        The parameters make no sense, the executor is none, or the runs return different names or
        what no table holds.
    Exception
        What a run raised, with a note that names its parameters; runs that have not begun are cancelled.

    Examples
    --------
    >>> import pagemig as pm
    >>> def arrived(pages, room):
    ...     machine = pm.Machine(nodes=[pm.MiB, room * pm.PAGE_SIZE])
    ...     task = machine.spawn()
    ...     heap = task.mmap(pages * pm.PAGE_SIZE)
    ...     _ = task.touch(heap)
    ...     task.migrate_pages(None, [0], [1])
    ...     return {"arrived": (task.nodes_of(heap) == 1).sum()}
    >>> sweep(arrived, {"pages": [4, 8], "room": [6, 16]})["arrived"].tolist()
    [4, 4, 6, 8]
    """
    if not callable(function):
        raise UsageError(f"function is {function!r}; it must be one that can be called")
    return run_all(function, combinations(parameters), executor, progress)


def run_all(
    function: Callable[..., Any],
    runs: list[dict[str, Any]],
    executor: concurrent.futures.Executor | None,
    progress: Progress | None,
) -> Table:
    """Make runs that were chosen already; as `sweep` for everything else."""
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise UsageError(f"executor is {executor!r}; it must be a concurrent.futures.Executor")
    if executor is None:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as threads:
            results = _results(function, runs, threads, progress)
    else:
        results = _results(function, runs, executor, progress)
    return _table(runs, results)


def _results(
    function: Callable[..., Any],
    runs: list[dict[str, Any]],
    executor: concurrent.futures.Executor,
    progress: Progress | None,
) -> list[Any]:
    """Make every run, and return what each came to, in the order of the runs."""
    waiting: deque[concurrent.futures.Future[Any]] = deque()
    results: list[Any] = []
    left = iter(runs)
    try:
        for run in itertools.islice(left, _AHEAD):
            waiting.append(executor.submit(partial(_run, function, run)))
        while waiting:
            at = len(results)
            try:
                results.append(waiting.popleft().result())
            except Exception as error:
                error.add_note(f"in the run {_told(runs[at])} of a sweep")
                raise
            for run in itertools.islice(left, 1):
                waiting.append(executor.submit(partial(_run, function, run)))
            if progress is not None:
                progress(at + 1, len(runs))
        return results
    except BaseException:
        for future in waiting:
            future.cancel()
        raise


def _run(function: Callable[..., Any], run: dict[str, Any]) -> Any:
    return function(**run)


def _table(runs: list[dict[str, Any]], results: Sequence[Any]) -> Table:
    rows = [result if isinstance(result, Mapping) else {"result": result} for result in results]
    names = list(rows[0])
    columns: dict[str, list[Any]] = {name: [run[name] for run in runs] for name in runs[0]}
    for name in names:
        if name in columns:
            raise UsageError(f"a run returns {name!r}, which is a parameter; give the result another name")
    for run, row in zip(runs, rows, strict=True):
        if list(row) != names:
            raise UsageError(f"the run {_told(run)} returns {list(row)}, the first one {names}")
    columns |= {str(name): [row[name] for row in rows] for name in names}
    return Table.of(**{name: _column(name, values, runs) for name, values in columns.items()})


def _column(name: str, values: list[Any], runs: list[dict[str, Any]]) -> list[Any]:
    """Return the entries of a column, all of one kind, or refuse the first that is of another."""
    kinds = [_kind(value) for value in values]
    if name in runs[0] and (None in kinds or len(set(kinds) - {"whole", "real"}) > 1):
        # A parameter may be anything, such as a Policy: the table shows how it is written.
        return [value if isinstance(value, str) else repr(value) for value in values]
    for run, value, kind in zip(runs, values, kinds, strict=True):
        if kind is None:
            raise UsageError(
                f"{name} of the run {_told(run)} is {value!r}; it must be a number, a bool or text"
            )
        if kind != kinds[0] and {kind, kinds[0]} != {"whole", "real"}:
            raise UsageError(f"{name} of the run {_told(run)} is {value!r}, that of the first {values[0]!r}")
    return values


def _kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return "truth"
    if isinstance(value, numbers.Integral):
        return "whole"
    return "real" if isinstance(value, numbers.Real) else None


def _told(run: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in run.items())
