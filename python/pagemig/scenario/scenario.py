"""`Scenario`: a situation with a story, from a file or from Python, that runs and can be explored.

Below: `pagemig.scenario.model` for what a scenario says, `pagemig.scenario.running` for what it
does. What the verbs of the command line do is here, too.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..arguments import host_path
from ..errors import UsageError
from ..inputs.writing import replacing
from ..report import Report
from ..strategies import Strategy
from ..sweeping import Progress
from ..tables import Table
from ..timeline import Timeline
from ..verdict import Verdict
from . import running, searching, sweeping
from .filming import Film, timeline_of
from .model import Page
from .naming import nearest
from .reading import BYTES_MAX, page_from, page_from_toml
from .shelf import library, text_of
from .world import World
from .writing import page_to_toml, plain_of


class Scenario:
    """A situation: what there is, what is done, and what is expected.

    The keys are those of the TOML form, which the guide on scenarios explains; everything may be
    given as plain data, sizes as numbers of bytes or text such as ``"64MiB"``.

    Parameters
    ----------
    title
        What to call it.
    machine
        What it runs on: ``nodes``, ``cpus`` and so on.
    parts
        The other keys: ``story``, ``tasks``, ``regions``, ``setup``, ``calls``, ``expect`` and so on.

    Raises
    ------
    UsageError
        It contradicts itself; the message names every mistake and where it is.

    Examples
    --------
    >>> scenario = Scenario(
    ...     title="One page moves",
    ...     machine={"nodes": ["1MiB", "1MiB"]},
    ...     tasks={"app": {}},
    ...     regions={"heap": {"task": "app", "pages": 1}},
    ...     setup=[{"by": "app", "do": "touch", "where": "heap"}],
    ...     calls=[
    ...         {"id": "mover", "by": "app", "do": "move_pages", "pages": "heap", "nodes": 1,
    ...          "expect": {"statuses": [1]}},
    ...     ],
    ... )
    >>> scenario.run().ok
    True
    """

    __slots__ = ("page",)

    page: Page
    """What it says."""

    def __init__(self, *, title: str, machine: Mapping[str, Any], **parts: Any) -> None:
        self.page = page_from({"title": title, "machine": machine, **parts})

    # from files and back -----------------------------------------------------------------

    @classmethod
    def load(cls, source: str | Path) -> Scenario:
        """Read a scenario from a file, or from the library by its name.

        Parameters
        ----------
        source
            A path, or a name such as ``two-movers``; see `pagemig.scenario.library`.

        Returns
        -------
        Scenario
            What is written there.

        Raises
        ------
        UsageError
            There is no such file or name, or it holds no scenario: file, line and reason.
        """
        path = host_path(source)
        try:
            if isinstance(source, str) and not path.suffix and not path.exists():
                known = library()
                if source not in known:
                    raise UsageError(
                        f"no scenario {source!r} in the library, and no such file{nearest(source, known)}"
                    )
                return cls.loads(text_of(source), source=f"{source} (library)")
            with path.open("rb") as file:
                data = file.read(BYTES_MAX + 1)
        except IsADirectoryError:
            raise UsageError(f"{path}: it is a folder, not a scenario") from None
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        if len(data) > BYTES_MAX:
            raise UsageError(f"{path}: longer than {BYTES_MAX >> 20} MiB; no scenario is")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise UsageError(f"{path}, line {line}: not UTF-8 text: {error.reason}") from None
        return cls.loads(text, source=str(path))

    @classmethod
    def loads(cls, text: str, *, source: str = "the scenario") -> Scenario:
        """Read a scenario from the text of a TOML file.

        Parameters
        ----------
        text
            What the file holds.
        source
            What messages call it.

        Returns
        -------
        Scenario
            What is written there.

        Raises
        ------
        UsageError
            It is no scenario: every mistake, each with its path, on lines of its own.
        """
        if not isinstance(text, str):
            raise UsageError(f"text is {type(text).__name__}; it must be the text of a TOML file")
        return cls.of(page_from_toml(text, source))

    @classmethod
    def of(cls, page: Page) -> Scenario:
        """Make a scenario of a page that has been read and checked.

        Parameters
        ----------
        page
            As of `page`.

        Returns
        -------
        Scenario
            What the page says.
        """
        made = object.__new__(cls)
        made.page = page
        return made

    def to_toml(self) -> str:
        """Write it as TOML.

        Returns
        -------
        str
            Reading it gives an equal scenario.
        """
        return page_to_toml(self.page)

    def to_dict(self) -> dict[str, Any]:
        """Write it as plain data.

        Returns
        -------
        dict
            The arguments that make an equal one.
        """
        return plain_of(self.page)

    def dump(self, path: str | Path) -> None:
        """Write it to a TOML file: all of it, or nothing.

        Parameters
        ----------
        path
            The file. A device or a pipe is written to as it is.

        Raises
        ------
        UsageError
            It cannot be written: with the file and why. What was there stays.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Scenario.load("two-movers").dump(f"{folder}/mine.toml")
        ...     Scenario.load(f"{folder}/mine.toml") == Scenario.load("two-movers")
        True
        """
        with replacing(path) as file:
            file.write(self.to_toml().encode("utf-8"))

    def changed(self, **parts: Any) -> Scenario:
        """Change some of its parts: ``scenario.changed(schedule="3a1b")``.

        Parameters
        ----------
        parts
            Keys with what they shall be. A part that is a table is merged with what is there; None takes a
            part away.

        Returns
        -------
        Scenario
            A new one; this one stays as it is.

        Raises
        ------
        UsageError
            It contradicts itself then; the message names every mistake and where it is.
        """
        data = self.to_dict()
        for key, value in parts.items():
            if value is None:
                data.pop(key, None)
            elif isinstance(value, Mapping) and isinstance(data.get(key), Mapping):
                data[key] = {**data[key], **value}
            else:
                data[key] = value
        return Scenario.of(page_from(data))

    # what it says ------------------------------------------------------------------------

    @property
    def title(self) -> str:
        """What it is called."""
        return self.page.title

    @property
    def story(self) -> str:
        """What happens in it and why."""
        return self.page.story

    @property
    def bugs(self) -> tuple[str, ...]:
        """The rules of the kernel that it breaks on purpose."""
        return self.page.machine.bugs

    def without_bugs(self) -> Scenario:
        """Put it on a machine without bugs, and with the kernel's own defects repaired.

        Returns
        -------
        Scenario
            The same otherwise.
        """
        data = self.to_dict()
        machine = {key: value for key, value in data["machine"].items() if key != "bugs"}
        data["machine"] = {**machine, "profile": "repaired"}
        return Scenario.of(page_from(data))

    # what it does ------------------------------------------------------------------------

    def build(self) -> World:
        """Make its machine, do the setup, and stop there.

        Returns
        -------
        World
            ``machine``, and what the names mean on it: ``task("app")`` is a `pagemig.Task`,
            ``region("heap")`` a `pagemig.Region`, ``file("data")`` a `pagemig.File`.

        Raises
        ------
        UsageError
            The setup failed.

        Examples
        --------
        >>> world = Scenario.load("pinned-page").build()
        >>> world.task("app").nodes_of(world.region("heap")).tolist()
        [0, 0, 0, 0]
        """
        return running.prepare(self.page)

    def run(self, *, schedule: str | None = None) -> Report:
        """Run it once, and report.

        Parameters
        ----------
        schedule
            For calls that run at once: who makes how many steps, such as ``3a1b2a``; the rest then
            go in turn. By default the scenario's own.

        Returns
        -------
        Report
            What came of it; whether all that is expected holds is `pagemig.Report.ok`.

        Raises
        ------
        UsageError
            The setup failed, or the schedule cannot be followed.
        """
        report = running.run(self.page, schedule=schedule)
        return dataclasses.replace(report, film=Film(self.page, report.schedule, report.steps))

    def timeline(self, schedule: str) -> Timeline:
        """Play one order of its calls step by step, to be looked at.

        Parameters
        ----------
        schedule
            Who makes how many steps, such as ``3a1b2a``: what `explore` gives with each finding.

        Returns
        -------
        Timeline
            Every moment of it.

        Raises
        ------
        UsageError
            Its calls run one after the other, or the schedule cannot be followed or shown.
        """
        return timeline_of(searching.Race.of(self.page), schedule)

    def sweep(
        self,
        parameters: Mapping[str, Iterable[Any]],
        executor: concurrent.futures.Executor | None = None,
        *,
        measure: Callable[[Report], Any] | None = None,
        progress: Progress | None = None,
    ) -> Table:
        """Run it with every combination of some of its values, and return a table of what came of it.

        Parameters
        ----------
        parameters
            Values by the place that they are put in, written as messages write it:
            ``regions.heap.pages``, ``calls[0].nodes``, ``machine.nodes[1].memory``; ``calls.ID.nodes`` for
            the call with that id. A place that the scenario leaves out is added.
        executor, progress
            As for `pagemig.sweep`.
        measure
            Told each report, returns a number, a bool or text, or several by name; one from a module
            where processes or Dask run. By default: ``ok``, ``moved`` and ``stayed`` (pages),
            ``copies``, ``steps``, ``ticks``, and ``errnos`` of the calls that failed.

        Returns
        -------
        Table
            One row a run: the parameters, then the results. The same for every executor.

        Raises
        ------
        UsageError
            A place is none of the scenario's, or a run makes no sense: before the first one runs.

        Examples
        --------
        >>> table = Scenario.load("pinned-page").sweep({"calls[0].nodes": [0, 1]})
        >>> table["moved"].tolist(), table["stayed"].tolist()
        ([4, 4], [0, 1])
        """
        return sweeping.sweep(self.page, parameters, executor, measure=measure, progress=progress)

    def explore(
        self,
        strategy: Strategy | None = None,
        *,
        memory: int | None = None,
        transitions: int | None = None,
        stop_at_first: bool = False,
        reduction: bool = True,
        progress: searching.Progress | None = None,
    ) -> Verdict:
        """Run its calls in every order, or in many, and judge every end by what it expects.

        Parameters
        ----------
        strategy
            A `pagemig.Exhaustive`, `pagemig.Random` or `pagemig.Pct`; by default what the scenario says.
        memory, transitions, stop_at_first, reduction, progress
            As for `pagemig.explore`; the first two are by default what the scenario says.

        Returns
        -------
        Verdict
            What can happen, and how much of it was covered.

        Raises
        ------
        UsageError
            Its calls run one after the other, or its setup failed.
        ExplorationInterrupted
            Ctrl-C; it has the verdict so far.
        """
        return searching.explore(
            self.page,
            strategy,
            memory=memory,
            transitions=transitions,
            stop_at_first=stop_at_first,
            reduction=reduction,
            progress=progress,
        )

    # itself ------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scenario):
            return NotImplemented
        return self.page == other.page

    def __hash__(self) -> int:
        return hash(self.to_toml())

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_toml, (self.to_toml(),)

    def __repr__(self) -> str:
        calls = len(self.page.calls)
        return f"<Scenario {self.title!r}: {calls} call{'s' if calls != 1 else ''}>"


def _from_toml(text: str) -> Scenario:
    return Scenario.loads(text)
