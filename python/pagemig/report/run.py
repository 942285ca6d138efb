"""The report of a scenario: what each call came to, what moved, what stayed and why.

Frozen values without a machine: they compare, pickle, and turn into plain data with
`Report.to_dict`. `pagemig.report.text` writes them for people, `.page` draws them, `.rows` makes a
table of the pages, `.trace` a trace for Perfetto, `.costs` reads the ledger.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..cost_model import ModelledTime, Pricing
    from ..tables import Table
    from ..timeline import Timeline


@dataclass(frozen=True, slots=True)
class Asked:
    """The pages that a call was asked to move, or asked about; one entry each in every tuple."""

    addresses: tuple[int, ...]
    """0 where the call has only a frame, such as for memory that goes offline."""
    statuses: tuple[int, ...]
    """What the call answered, or would have: a node or a negative errno. Where it ended before it got
    there its own errno, where it is not done -EINPROGRESS."""
    before: tuple[int, ...]
    """The node when the call began, -1 where no page was present."""
    after: tuple[int, ...]
    """The node when it had ended; of calls at once, when all had."""
    is_query: bool = False
    """Whether the call only asked where they are."""


@dataclass(frozen=True, slots=True)
class History:
    """Where the pages of all regions were as the calls went on."""

    steps: tuple[int, ...]
    """How many steps had been made at each moment; the first is 0."""
    nodes: tuple[Sequence[int], ...]
    """At each moment the node of every page, -1 where none was present, region after region."""
    order: tuple[tuple[str, str], ...] = ()
    """Who made each step: the id of the call, and the label of the specification."""


class Film(Protocol):
    """What can show a run again, step by step."""

    def history(self) -> History:
        """Tell where the pages were at some moments.

        Returns
        -------
        History
            Those moments.
        """

    def timeline(self) -> Timeline | None:
        """Show the race step by step.

        Returns
        -------
        Timeline or None
            None if the calls did not run at once, or for too long.
        """


@dataclass(frozen=True, slots=True)
class CallReport:
    """What one call did and came to."""

    id: str
    """What the scenario calls it."""
    letter: str | None
    """How a schedule names it; None if its checks refused it, or if calls ran one after the other."""
    by: str
    """The task that made it."""
    verb: str
    """What it does, in a word: ``move_pages``."""
    text: str
    """What was asked for."""
    done: bool
    """Whether it has ended."""
    result: Any
    """What it returned, as plain data; None if nothing, or if it failed or is not done."""
    statuses: tuple[int, ...] | None
    """One a page: a node or a negative errno; what was written so far if it failed."""
    errno: str | None
    """The name of the errno with which it failed."""
    error: str | None
    """The same in words, or what else went wrong."""
    waiting_for: str | None
    """What it waits for, if it is not done."""
    steps: int
    """How often it was advanced."""
    labels: tuple[str, ...]
    """Where it has been: the first step of the specification of each advance."""
    asked: Asked | None
    """Its pages; None for a call that moves none."""
    cost: Mapping[str, int] | None
    """How many of each elementary operation it made; None for calls at once, which share a ledger."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the pages of a region are."""

    nodes: tuple[int, ...]
    """The node of each page, -1 where none is present."""
    frames: tuple[int, ...]
    """The frame of each page, -1 where none is present."""

    @property
    def histogram(self) -> dict[int, int]:
        """How many pages are on each node; -1 for those that are not present."""
        return {node: self.nodes.count(node) for node in sorted(set(self.nodes))}


@dataclass(frozen=True, slots=True)
class RegionReport:
    """A region before and after the calls; what a task that forked sees is a region too."""

    name: str
    """What the scenario calls it."""
    task: str
    """The task that sees it."""
    before: Placement
    """Where its pages were before the calls."""
    after: Placement
    """Where they were when all calls had ended."""

    @property
    def moved(self) -> int:
        """How many pages are in another frame than before, present both times."""
        pairs = zip(self.before.frames, self.after.frames, strict=True)
        return sum(a != b and a >= 0 and b >= 0 for a, b in pairs)


@dataclass(frozen=True, slots=True)
class Reason:
    """What one attempt to move a page came to, or what kept it from being tried."""

    attempt: int | None
    """Which attempt of the call at this page, from 1, the first of `times`; a pass of the engine makes
    one. None: it was never tried."""
    label: str
    """The step of the specification at which it was decided."""
    result: int
    """The code: 0, or a negative errno."""
    text: str
    """Why, in a sentence."""
    times: int = 1
    """How many attempts in a row came to this."""


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Why a page that was asked to move stayed; where many pages stayed, all those with the same story."""

    call: str
    """The id of the call."""
    entry: int
    """Which of the call's pages, from 0; the first of several."""
    page: str
    """What it is called, such as ``heap[3]`` or ``heap[0:500]``, or its address."""
    status: int
    """What the call answered: a negative errno. Of a page that ``migrate_pages`` or ``mbind`` passed over,
    what ``move_pages`` would have answered."""
    reasons: tuple[Reason, ...]
    """Over the attempts; equal ones in a row are one."""
    culprits: tuple[str, ...]
    """Who keeps it: pins, further mappings, locks, writes, each in a few words."""
    pages: int = 1
    """How many pages have this story."""
    entries: tuple[tuple[int, int], ...] = ()
    """Which of the call's pages these are: from, and up to but not with."""

    @property
    def attempts(self) -> int:
        """How often it was tried; 0 for a page that never was."""
        return sum(reason.times for reason in self.reasons if reason.attempt is not None)


@dataclass(frozen=True, slots=True)
class CounterChange:
    """A counter that the calls have changed."""

    name: str
    """As in ``/proc/vmstat``."""
    node: int | None
    """None for the whole machine."""
    before: int
    """What it showed before the calls."""
    after: int
    """What it showed after them."""

    @property
    def change(self) -> int:
        """By how much."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that the scenario expects, and what there was."""

    path: str
    """Where in the scenario it is written: ``calls[0].expect.statuses``."""
    holds: bool
    """Whether that is how it came."""
    expected: str
    """What the scenario expects, in words."""
    found: str
    """What there was, in words."""

    def __str__(self) -> str:
        if self.holds:
            return f"{self.path}: {self.expected}, as expected"
        return f"{self.path}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a scenario came to.

    `str` gives the report for people, `to_html` a page with pictures, `table` the pages for a dataframe,
    `to_perfetto` a trace, `to_dict` plain data and `to_json` the same as text.
    """

    title: str
    """What the scenario is called."""
    story: str
    """What happens in it and why."""
    order: str
    """``sequence`` or ``together``."""
    schedule: str
    """The order in which calls that ran at once made their steps; empty for a sequence."""
    calls: tuple[CallReport, ...]
    """What each call did, in the order of the scenario."""
    regions: tuple[RegionReport, ...]
    """Where the pages of each region are."""
    why_not: tuple[WhyNot, ...]
    """Why pages that were asked to move stayed."""
    cost: Mapping[str, int]
    """How many of each elementary operation the calls made."""
    counters: tuple[CounterChange, ...]
    """What the calls have changed of ``/proc/vmstat``, for the machine and by node."""
    expectations: tuple[Expectation, ...]
    """What the scenario expects, and what there was."""
    findings: tuple[str, ...]
    """Rules of the audit that do not hold in the end, beyond those that the scenario expects."""
    deadlock: str | None
    """The wait graph, if the calls wait for ever."""
    steps: int
    """Steps made by the calls together."""
    ticks: int
    """Virtual milliseconds that passed during the calls."""
    cpus: int
    """Of the machine."""
    seconds: float = field(compare=False, default=0.0)
    """What it took on the host; takes no part in comparisons."""
    film: Film | None = field(compare=False, repr=False, default=None)
    """Runs the scenario again to see it step by step; takes no part in comparisons."""

    @property
    def ok(self) -> bool:
        """Whether everything that was expected holds, and nothing was found that was not."""
        return not self.findings and all(item.holds for item in self.expectations)

    @property
    def failed(self) -> tuple[Expectation, ...]:
        """The expectations that do not hold."""
        return tuple(item for item in self.expectations if not item.holds)

    @property
    def statuses(self) -> dict[int, int]:
        """How many pages ended with each status, over all calls that have statuses."""
        listed = [status for call in self.calls for status in call.statuses or ()]
        return {status: listed.count(status) for status in sorted(set(listed), key=_order)}

    def to_dict(self) -> dict[str, Any]:
        """Turn it into plain data.

        Returns
        -------
        dict
            Dicts, lists, numbers and text, ready for JSON.
        """
        plain: dict[str, Any] = {
            item.name: _plain(getattr(self, item.name))
            for item in dataclasses.fields(self)
            if item.name != "film"
        }
        plain["ok"] = self.ok
        plain["statuses"] = {str(status): pages for status, pages in self.statuses.items()}
        return plain

    def to_json(self) -> str:
        """Write `to_dict` as a JSON document.

        Returns
        -------
        str
            The document.
        """
        made = io.StringIO()  # `json.dumps` would hold every comma of it as an object.
        json.dump(self.to_dict(), made, indent=2, ensure_ascii=False, allow_nan=False)
        return made.getvalue()

    @property
    def table(self) -> Table:
        """One row for each page that a call was asked to move, or asked about.

        Columns: ``call``, ``address`` (uint64), ``status`` (int32; a node or a negative errno),
        ``before`` and ``after`` (int32; the node, -1 where no page was present) and ``reason``. See
        `Asked` for statuses of calls that ended early.
        """
        from .rows import table

        return table(self)

    def __arrow_c_schema__(self) -> object:
        """Return the types of the columns of `table`, for dataframes (Arrow PyCapsule interface)."""
        return self.table.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the columns of `table`, for dataframes: ``polars.DataFrame(report)``."""
        return self.table.__arrow_c_stream__(requested_schema)

    def history(self) -> History | None:
        """Tell where the pages were as the calls went on.

        The scenario runs again for it, with the same outcome.

        Returns
        -------
        History or None
            None for a report without its scenario.
        """
        return None if self.film is None else self.film.history()

    def timeline(self) -> Timeline | None:
        """Show the race step by step.

        The scenario runs again for it, with the same outcome.

        Returns
        -------
        Timeline or None
            None if the calls ran one after the other, or for too long.
        """
        return None if self.film is None else self.film.timeline()

    def modelled_time(self, pricing: Pricing, *, call: str | None = None) -> ModelledTime:
        """Price what the calls did.

        Parameters
        ----------
        pricing
            A `pagemig.CostModel`, such as ``pagemig.presets["two-socket-2010"]``, or a function.
        call
            The id of one call; by default all together.

        Returns
        -------
        ModelledTime
            How long it takes.

        Raises
        ------
        UsageError
            There is no such call, or it shared its ledger with others; or the pricing is none.
        """
        from .costs import time_of

        return time_of(self, pricing, call)

    def to_html(self, model: Pricing | None = None) -> str:
        """Draw it.

        Parameters
        ----------
        model
            A `pagemig.CostModel` or a function: adds the modelled time.

        Returns
        -------
        str
            One web page that needs nothing from elsewhere.

        Raises
        ------
        UsageError
            ``model`` is no pricing.
        """
        from .page import page

        return page(self, model)

    def to_perfetto(self) -> bytes:
        """Write it as a trace that ui.perfetto.dev and other readers of Perfetto traces can show.

        Calls with their steps, of a race its locks and pages, and how many pages each node has. One
        step is one microsecond.

        Returns
        -------
        bytes
            The trace.
        """
        from .trace import trace

        return trace(self)

    def _repr_html_(self) -> str:
        from .page import fragment

        return fragment(self, None)

    def __str__(self) -> str:
        from .text import told

        return told(self)


def _order(status: int) -> tuple[bool, int]:
    """Nodes first, then errnos."""
    return status < 0, abs(status)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
