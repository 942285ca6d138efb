"""A timeline as one web page: no script, no style sheet, no picture from elsewhere.

Start with `page`; `fragment` is what a notebook shows. On top a strip for each call, lock and page,
one column a step; below every step in words. A strip stretches to the width there is and has no
letters in it, so it can be read from 400 pixels up, light and dark; colours are those of
`pagemig.plots`, which the colour-blind can tell apart, and every strip says in words what it is.

Neighbours: `pagemig.Timeline`, whose ``to_html`` this is.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ..plots import NODE_COLOURS
from .text import describe_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .moments import Moment, PageAt, Timeline

_STYLE = """
.pm { --paper: #ffffff; --card: #f5f6f8; --ink: #16191d; --soft: #565d66; --line: #d7dbe0; --empty: #e7eaee;
  color: var(--ink); background: var(--paper); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "DejaVu Sans", sans-serif; max-width: 1180px; margin: 0 auto; padding: 1rem; }
@media (prefers-color-scheme: dark) { .pm { --paper: #14171a; --card: #1d2125; --ink: #eceff2;
  --soft: #a7b0ba; --line: #343a41; --empty: #262b30; } }
.pm h1 { font-size: clamp(1.3rem, 1rem + 1.6vw, 1.9rem); line-height: 1.2; margin: 0 0 .4rem; }
.pm h2 { font-size: 1.1rem; margin: 1.6rem 0 .3rem; }
.pm .soft { color: var(--soft); font-size: .88rem; }
.pm code { font: .92em ui-monospace, "Cascadia Mono", Menlo, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
.pm .finding { border-left: 4px solid #d55e00; background: var(--card); padding: .4rem .8rem;
  margin: .5rem 0; }
.pm .well { border-left-color: #009e73; }
.pm .strips { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem; }
.pm figure { margin: 0 0 .7rem; } .pm figcaption { font-size: .88rem; overflow-wrap: anywhere; }
.pm svg { display: block; width: 100%; background: var(--empty); border-radius: 3px; }
.pm line.end { stroke: #d55e00; stroke-width: 6; vector-effect: non-scaling-stroke; }
.pm polyline { fill: none; stroke: var(--ink); stroke-width: 2; vector-effect: non-scaling-stroke; }
.pm polyline.mapcount { stroke: var(--soft); stroke-dasharray: 4 3; }
.pm .wait { fill: none; stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 2 3;
  vector-effect: non-scaling-stroke; }
.pm .ticks { display: flex; justify-content: space-between; color: var(--soft); font-size: .8rem; }
.pm .key { display: inline-block; width: .85em; height: .85em; border-radius: 3px; margin-right: .4em;
  vertical-align: -.06em; }
.pm table { border-collapse: collapse; width: 100%; font-size: .92rem; }
.pm th, .pm td { text-align: left; vertical-align: top; padding: .35rem .7rem .35rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.pm th { font-weight: 600; white-space: nowrap; }
.pm tr.bad { background: color-mix(in srgb, #d55e00 22%, transparent); }
@media (min-width: 641px) {
  .pm table { table-layout: fixed; }
  .pm th:nth-child(1), .pm th:nth-child(2) { width: 3.2rem; } .pm th:nth-child(3) { width: 56%; }
}
@media (max-width: 640px) {
  .pm thead { position: absolute; left: -999em; }
  .pm tr { display: grid; grid-template-columns: 2.6rem 2.6rem 1fr; border-bottom: 1px solid var(--line);
    padding: .35rem 0; }
  .pm td, .pm th { border: 0; padding: 0 .3rem 0 0; }
  .pm td.wide { grid-column: 1 / -1; color: var(--soft); font-size: .88rem; }
}
"""
_HEIGHT = 14


def page(shown: Timeline) -> str:
    """Return a whole page."""
    title = escape(_title(shown))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>pagemig: {title}</title>\n<style>body {{ margin: 0; }}</style>\n</head>\n<body>\n"
        f"{fragment(shown)}\n</body>\n</html>\n"
    )


def fragment(shown: Timeline, *, heading: str = "h1") -> str:
    """Return the part of the page that another page can hold; its first heading is an ``h1`` or lower."""
    title = f"<{heading}>{escape(_title(shown))}</{heading}>"
    return (
        f"<style>{_STYLE}{_colours(shown)}</style>\n<div class='pm'>\n{title}\n"
        f"<p>Schedule <code>{escape(shown.schedule) or 'of no step'}</code></p>\n"
        "<p class='soft'>Whose turn it was, and for how many steps: 3a1b is three of call a, then one of "
        "call b. Names such as DP-1 are the steps of the specification.</p>\n"
        f"{_verdict(shown)}\n<h2>At a glance</h2>\n{_strips(shown)}\n"
        f"<h2>Step by step</h2>\n{_table(shown)}\n</div>"
    )


def _title(shown: Timeline) -> str:
    steps = len(shown.moments) - 1
    told = f"{len(shown.lanes)} calls, {steps} step{'' if steps == 1 else 's'}"
    return f"{told}: {shown.findings[0].split(':')[0]}" if shown.findings else told


def _verdict(shown: Timeline) -> str:
    if not shown.findings:
        return "<p class='finding well'>Nothing is wrong at the end.</p>"
    return "\n".join(f"<p class='finding'><b>Found</b> {escape(finding)}</p>" for finding in shown.findings)


def _colours(shown: Timeline) -> str:
    """Say the colour of every call, and that of a lock's other holders."""
    rules = [
        f".pm .c-{lane.letter} {{ fill: {colour}; background: {colour}; }}"
        for lane, colour in zip(shown.lanes, NODE_COLOURS * 4, strict=False)
    ]
    return "\n".join((*rules, ".pm .c-other { fill: var(--soft); background: var(--soft); }\n"))


# strips --------------------------------------------------------------------------------------


def _strips(shown: Timeline) -> str:
    drawn = [_call_strip(shown, at) for at in range(len(shown.lanes))]
    drawn += [_lock_strip(shown, name) for name in shown.lock_names]
    drawn += [_page_strip(shown, at) for at in range(len(shown.pages))]
    last = len(shown.moments) - 1
    ticks = "".join(f"<span>{tick}</span>" for tick in dict.fromkeys((0, last // 2, last)))
    key = (
        "Coloured: it made this step, or holds this lock. Dashed: it waits. "
        "Lines: a page's count (drawn through) and map count (dashed)."
    )
    mark = " Something is wrong where the thick line is." if shown.findings else ""
    return (
        f"<div class='strips'>{''.join(drawn)}<div class='ticks'>{ticks}</div>"
        f"<p class='soft'>{key}{mark}</p></div>"
    )


def _strip(shown: Timeline, caption: str, words: str, height: int, inner: str) -> str:
    """Draw one strip; a step is one unit wide, whatever the width on the screen."""
    width = max(1, len(shown.moments) - 1)
    end = f"<line class='end' x1='{width}' x2='{width}' y1='0' y2='{height}'/>" if shown.findings else ""
    return (
        f"<figure><figcaption>{caption}</figcaption><svg viewBox='0 0 {width} {height}' role='img' "
        f"preserveAspectRatio='none' style='height: {height}px'><title>{escape(words)}</title>{inner}{end}"
        "</svg></figure>"
    )


def _runs(moments: Iterable[Moment], value: Callable[[Moment], str]) -> list[tuple[int, int, str]]:
    """Return (first, stop, value) for each run of moments with the same value that is not empty."""
    runs: list[tuple[int, int, str]] = []
    for moment in moments:
        here = value(moment)
        if runs and runs[-1][2] == here and runs[-1][1] == moment.number:
            runs[-1] = runs[-1][0], moment.number + 1, here
        elif here:
            runs.append((moment.number, moment.number + 1, here))
    return runs


def _call_strip(shown: Timeline, at: int) -> str:
    lane, last = shown.lanes[at], len(shown.moments) - 1
    parts = [
        f"<rect class='c-{lane.letter}' x='{moment.number - 1}' width='1' height='{_HEIGHT}'>"
        f"<title>step {moment.number}: {escape(' '.join(moment.labels))}</title></rect>"
        for moment in shown.moments
        if moment.actor == lane.letter
    ]
    # What is seen after step n holds during step n + 1.
    waits = [run for run in _runs(shown.moments, lambda moment: moment.waits[at]) if run[0] < last]
    for first, stop, lock in waits:
        width = min(stop, last) - first
        line = f"M{first} {_HEIGHT / 2}h{width}"
        parts.append(f"<path class='wait' d='{line}'><title>waits for {escape(lock)}</title></path>")
    outcome = f" <span class='soft'>{escape(lane.outcome or 'still in flight')}</span>"
    caption = f"<i class='key c-{lane.letter}'></i><b>{lane.letter}</b> {escape(str(lane)[3:])}{outcome}"
    made = [str(moment.number) for moment in shown.moments if moment.actor == lane.letter]
    words = f"Call {lane} makes steps {', '.join(made) or 'none'}"
    return _strip(shown, caption, words, _HEIGHT, "".join(parts))


def _lock_strip(shown: Timeline, name: str) -> str:
    def holders(moment: Moment) -> str:
        return ", ".join(next((lock.holders for lock in moment.locks if lock.name == name), ()))

    last, parts, said = len(shown.moments) - 1, [], []
    for first, stop, held in _runs(shown.moments, holders):
        if first < last or first == 0:
            style = f"c-{held}" if len(held) == 1 else "c-other"
            parts.append(
                f"<rect class='{style}' x='{first}' width='{max(min(stop, last) - first, 1)}' height='8'>"
                f"<title>held by {escape(held)}</title></rect>"
            )
        said.append(f"by {held} after steps {first} to {stop - 1}")
    words = f"{name} held {'; '.join(said) or 'by nobody, only awaited'}"
    who = ", ".join(dict.fromkeys(held for _, _, held in _runs(shown.moments, holders))) or "nobody"
    caption = f"<code>{escape(name)}</code> <span class='soft'>held by {escape(who)}</span>"
    return _strip(shown, caption, words, 8, "".join(parts))


def _page_strip(shown: Timeline, at: int) -> str:
    pages = [moment.pages[at] for moment in shown.moments]
    highest = max(1, *(max(page.count, page.mapcount) for page in pages))
    height = 40

    def line(style: str, value: Callable[[PageAt], int]) -> str:
        points = []
        for number, page in enumerate(pages):
            y = height - 3 - (height - 6) * value(page) / highest
            points += [f"{max(0, number - 1)},{y:.1f}", f"{number},{y:.1f}"]
        return f"<polyline class='{style}' points='{' '.join(points[1:])}'/>"

    inner = line("mapcount", lambda page: page.mapcount) + line("count", lambda page: page.count)
    counts = " ".join(str(page.count) for page in pages)
    mapcounts = " ".join(str(page.mapcount) for page in pages)
    words = f"Frame {pages[0].pfn}: count after each step {counts}; map count {mapcounts}"
    caption = (
        f"frame {pages[0].pfn} on node {pages[0].node} <span class='soft'>count {pages[0].count} to "
        f"{pages[-1].count}, at most {highest}</span>"
    )
    return _strip(shown, caption, words, height, inner)


# words ---------------------------------------------------------------------------------------


def _table(shown: Timeline) -> str:
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("step", "who", "made", "then"))
    rows = []
    before: Moment | None = None
    for moment in shown.moments:
        is_bad = shown.findings and moment is shown.moments[-1]
        made = f"<code>{escape(' '.join(moment.labels))}</code>" if moment.actor else "before the first step"
        said = f" {escape(moment.said)}" if moment.said else ""
        meant = escape(" ".join(moment.sentences))
        who = f"<i class='key c-{moment.actor}'></i>{moment.actor}" if moment.actor else ""
        rows.append(
            f"<tr{' class=bad' if is_bad else ''}><th scope='row'>{moment.number}</th><td>{who}</td>"
            f"<td>{made}{said}<div class='soft'>{meant}</div></td>"
            f"<td class='wide'>{_then(shown, before, moment)}</td></tr>"
        )
        before = moment
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{chr(10).join(rows)}</tbody></table>"


def _then(shown: Timeline, before: Moment | None, moment: Moment) -> str:
    """Say what is held, awaited and different after a step."""
    parts = []
    for lane, wait in zip(shown.lanes, moment.waits, strict=True):
        holds = [lock.name for lock in moment.locks if lane.letter in lock.holders]
        if holds:
            parts.append(f"{lane.letter} holds {', '.join(holds)}")
        if wait:
            parts.append(f"{lane.letter} waits for {wait}")
    old = {} if before is None else {page.pfn: page for page in before.pages}
    parts += [describe_page(page) for page in moment.pages if old.get(page.pfn) != page]
    return "<br>".join(escape(part) for part in parts)
