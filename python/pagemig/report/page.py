"""A report as one web page: no script, no style sheet, no picture from elsewhere.

Start with `page`; `fragment` is what a notebook shows. Each section is a function that answers with
HTML, or with nothing where there is nothing to show. It reads from 400 pixels up, light and dark, and
without colours; those are of `pagemig.plots`, which the colour-blind can tell apart.

Neighbours: `.pictures` draws, `.style` has the style, `pagemig.timeline` shows a race step by step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from ..cost_model import CostModel, Pricing, modelled_time
from . import pictures
from .costs import phases
from .style import STYLE
from .text import chain, counted, outcome_of, status_name, verdict

if TYPE_CHECKING:
    from .run import Report

WHY_MAX = 200
"""Pages that stayed, of which the page tells; the others are told by the statuses."""


def page(report: Report, model: Pricing | None) -> str:
    """Return a whole page; see `pagemig.Report.to_html`."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>pagemig: {escape(report.title)}</title>\n<style>body {{ margin: 0; }}</style>\n</head>\n"
        f"<body>\n{fragment(report, model)}\n</body>\n</html>\n"
    )


def fragment(report: Report, model: Pricing | None) -> str:
    """Return the part of the page that another page can hold."""
    above = (
        _head(report),
        _calls(report),
        _section("What was answered for each page", pictures.statuses(report)),
        _section("Where the pages were, and are", pictures.placement(report)),
        _section("On the way", pictures.on_the_way(report)),
        _stayed(report),
    )
    below = (_costs(report, model), _counters(report), _verdict(report))
    shown = report.timeline()
    race = "" if shown is None else f'<div class="pmr"><h2>The race, step by step</h2></div>\n{_race(shown)}'
    return (
        f'<style>{STYLE}{pictures.colours()}</style>\n<div class="pmr">\n{_joined(above)}\n</div>\n'
        f'{race}\n<div class="pmr">\n{_joined(below)}\n</div>'
    )


def _race(shown: object) -> str:
    from ..timeline import Timeline
    from ..timeline.page import fragment as of_timeline

    return of_timeline(shown, heading="h3") if isinstance(shown, Timeline) else ""


def _joined(parts: Iterable[str]) -> str:
    return "\n".join(part for part in parts if part)


def _section(heading: str, inner: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>\n{inner}\n</section>" if inner else ""


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of HTML cells; a column whose name begins with ``#`` is of numbers."""
    kinds = [' class="number"' if name.startswith("#") else "" for name in columns]
    names = [escape(name.removeprefix("#")) for name in columns]
    head = "".join(f'<th scope="col"{kind}>{name}</th>' for kind, name in zip(kinds, names, strict=True))
    body = []
    for row in rows:
        first, *rest = row
        cells = "".join(
            f'<td{kind} data-name="{name}">{cell}</td>'
            for kind, name, cell in zip(kinds[1:], names[1:], rest, strict=True)
        )
        body.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>\n"
        f"<tbody>{chr(10).join(body)}</tbody></table>"
    )


# sections ------------------------------------------------------------------------------------


def _head(report: Report) -> str:
    story = "".join(f"<p>{escape(part.strip())}</p>" for part in report.story.split("\n\n") if part.strip())
    stayed = sum(why.pages for why in report.why_not)
    moved = sum(region.moved for region in report.regions)
    pages = sum(len(region.after.nodes) for region in report.regions)
    tiles = (
        (f"{len(report.calls)}", "calls, " + ("at once" if report.order == "together" else "in a row")),
        (f"{moved:,} of {pages:,}", "pages of the regions are in another frame"),
        (f"{stayed:,}", "page that was to move stayed" if stayed == 1 else "pages that were to move stayed"),
        (f"{report.steps:,}", f"steps, {report.ticks:,} ms of virtual time"),
    )
    drawn = "".join(f"<div><b>{figure}</b><span>{meaning}</span></div>" for figure, meaning in tiles)
    mood = "well" if report.ok else "bad"
    return (
        f'<h1>{escape(report.title)}</h1>\n{story}\n<p class="note {mood}">{escape(verdict(report))}</p>\n'
        f'<div class="tiles">{drawn}</div>'
    )


def _calls(report: Report) -> str:
    rows = [
        (
            escape(call.id if call.letter is None else f"{call.letter} {call.id}"),
            escape(call.by),
            f"<code>{escape(call.text)}</code>",
            escape(outcome_of(call)),
            f"{call.steps:,}",
        )
        for call in report.calls
    ]
    schedule = ""
    if report.schedule:
        schedule = (
            f"<p>Schedule <code>{escape(report.schedule)}</code></p>"
            '<p class="soft">Whose turn it was, and for how many steps: 3a1b is three of call a, then one of '
            "call b. Running with this schedule gives the same again.</p>"
        )
    told = _table("Every call and its outcome", ("call", "by", "what", "came to", "#steps"), rows)
    return _section("What was done", told + schedule)


def _stayed(report: Report) -> str:
    if not report.why_not:
        return ""
    rows = []
    for why in report.why_not[:WHY_MAX]:
        blame = "; ".join(why.culprits) or "nobody in particular"
        reasons = chain(why, blame=False)
        rows.append(
            (
                escape(why.page),
                escape(why.call),
                f"<code>{status_name(why.status)}</code>",
                escape(reasons),
                escape(blame),
            )
        )
    more = len(report.why_not) - len(rows)
    left = f'<p class="soft">and {more:,} more</p>' if more else ""
    caption = "Attempt by attempt, and who keeps the page"
    return _section(
        "Why pages stayed", _table(caption, ("page", "call", "status", "why", "who"), rows) + left
    )


def _costs(report: Report, model: Pricing | None) -> str:
    if not report.cost:
        return ""
    columns = ["phase", "operations"]
    priced = None
    if model is not None:
        columns.append("#modelled")
        priced = report.modelled_time(model)
    rows = []
    for phase, counts in phases(report.cost):
        told = escape(", ".join(counted(count, name) for name, count in counts.items()))
        row = [escape(phase), told]
        if model is not None:
            row.append(_time(modelled_time(counts, model, cpus=report.cpus).ns))
        rows.append(row)
    parts = [_table("Elementary operations of all calls together", columns, rows)]
    if priced is not None and model is not None:
        parts.append(_modelled(report, model, priced.ns, priced.ns_per_page))
    return _section("What it cost", "\n".join(parts))


def _modelled(report: Report, model: Pricing, ns: float, each: float) -> str:
    """Say how long it takes: in all, for a page, and by call where calls ran one after the other."""
    about = (
        f" By the model {escape(model.name)}. {escape(model.source)}" if isinstance(model, CostModel) else ""
    )
    a_page = f", {_time(each)} for each page that moved" if each else ""
    said = f"<p>Modelled time, system calls included: <b>{_time(ns)}</b>{a_page}.</p>"
    rows = []
    for call in report.calls:
        if call.cost is not None:
            took = report.modelled_time(model, call=call.id)
            rows.append((escape(call.id), _time(took.ns), _time(took.ns_per_page) if took.pages else "-"))
    table = _table("Modelled time by call", ("call", "#time", "#for each page moved"), rows) if rows else ""
    return f'{said}{table}<p class="soft">{about}</p>'


def _time(ns: float) -> str:
    """Return a time in a unit that fits.

    >>> _time(950), _time(12_300), _time(4.5e6)
    ('950 ns', '12.3 µs', '4.50 ms')
    """
    if ns < 1e3:
        return f"{ns:.0f} ns"
    return f"{ns / 1e3:.1f} µs" if ns < 1e6 else f"{ns / 1e6:.2f} ms"


def _counters(report: Report) -> str:
    rows = [
        (
            escape(item.name),
            "machine" if item.node is None else f"node {item.node}",
            f"{item.before:,}",
            f"{item.after:,}",
            f"{item.change:+,}",
        )
        for item in report.counters
    ]
    columns = ("counter", "where", "#before", "#after", "#change")
    told = _table("As /proc/vmstat and /proc/zoneinfo count", columns, rows)
    return _section("Counters that changed", told) if rows else ""


def _verdict(report: Report) -> str:
    items = [
        f'<li class="{"well" if item.holds else "bad"}"><b>{"holds" if item.holds else "fails"}</b> '
        f"{escape(str(item))}</li>"
        for item in (*report.failed, *(item for item in report.expectations if item.holds))
    ]
    items += [f'<li class="bad"><b>finding</b> {escape(finding)}</li>' for finding in report.findings]
    if report.deadlock is not None:
        items.append(f"<li><b>deadlock</b> {escape(report.deadlock)}</li>")
    told = f'<ul class="verdict">{"".join(items)}</ul>' if items else "<p>Nothing was expected.</p>"
    return _section("What was expected", told)
