"""Timelines: what a picture of a race shows is what stepping the same race by hand shows."""

from __future__ import annotations

import pickle
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

import pagemig as pm
from pagemig import PAGE_SIZE
from tests.reports.wire import Message, read

SHARED = pm.MoveScope.SHARED
VOID = {"meta", "br", "img", "link", "input", "hr"}


@pytest.fixture(scope="module")
def race() -> tuple[pm.Machine, list[tuple[pm.call.CallValue, pm.Task]]]:
    """A page that two tasks share: one moves it, the other writes to it."""
    machine = pm.Machine(nodes=[64 * PAGE_SIZE] * 2, contents=True)
    app = machine.spawn("app", stack=False)
    heap = app.mmap(PAGE_SIZE)
    app.write(heap.start, b"x")
    machine.drain()
    other = app.fork("other")
    move = pm.calls.move_pages(heap, 1, scope=SHARED)
    return machine, [(move, app), (pm.calls.write(heap.start, b"y"), other)]


@pytest.fixture(scope="module")
def shown(race: tuple[pm.Machine, list]) -> pm.Timeline:
    """The writer finds a migration entry and waits; its reference lets the first attempt fail."""
    machine, calls = race
    return pm.Timeline.of(machine, calls, schedule_of(machine, calls))


def schedule_of(machine: pm.Machine, calls: list) -> str:
    """Move until the entries are gone, let the writer run into one, and go on until it can, too."""
    twin = machine.clone()
    mover, writer = (twin.start(what, by=task.pid) for what, task in calls)
    steps = []
    while "MM-1" not in mover.labels:
        assert mover.step()
        steps.append("a")
    while writer.waiting_for is None:
        writer.step()
        steps.append("b")
    for call, letter in ((mover, "a"), (writer, "b"), (mover, "a")):
        while not call.done and not (call is mover and writer.waiting_for is None and not writer.done):
            assert call.step()
            steps.append(letter)
    return "".join(f"1{letter}" for letter in steps)


# what it notes -------------------------------------------------------------------------------


def test_every_moment_is_what_a_step_by_hand_shows(race: tuple[pm.Machine, list], shown: pm.Timeline) -> None:
    """Oracle: the same steps on a clone, looked at through the public face."""
    machine, calls = race
    twin = machine.clone()
    handles = [twin.start(what, by=task.pid) for what, task in calls]
    assert shown.moments[0].actor == ""
    for moment in shown.moments:
        if moment.actor:
            call = handles[ord(moment.actor) - ord("a")]
            assert moment.labels == call.labels
            call.step()
        assert moment.at == tuple(call.at or "" for call in handles)
        waits = [call.waiting_for for call in handles]
        assert moment.waits == tuple(f"{it.lock} {it.number}" if it else "" for it in waits)
        letters = {call.number: "ab"[at] for at, call in enumerate(handles)}
        assert [(lock.name, lock.holders, lock.waiters) for lock in moment.locks] == [
            (
                f"{lock.lock} {lock.number}",
                tuple(letters[number] for number in lock.holders),
                tuple(letters[number] for number in lock.waiters),
            )
            for lock in twin.locks
        ]
        for page in moment.pages:
            frame = twin.frame(page.pfn)
            assert (page.count, page.mapcount, page.flags) == (frame.count, frame.mapcount, frame.flags)
            assert page.entries == twin.entries_to(page.pfn)
    assert [call.done for call in handles] == [True, True]


def test_the_machine_is_left_as_it_was(race: tuple[pm.Machine, list]) -> None:
    """Playing is done on clones."""
    machine, calls = race
    before = machine.snapshot()
    pm.Timeline.of(machine, calls, "3a2b")
    assert machine.snapshot() == before
    assert not machine.calls


def test_it_follows_the_pages_that_change(shown: pm.Timeline) -> None:
    """The old frame and the new one; the move ends with the mappings on the new one."""
    first, last = shown.moments[0].pages, shown.moments[-1].pages
    old = next(page for page in first if page.mapcount == 2)
    assert old.node == 0
    new = next(page for page in last if page.node == 1 and page.mapcount)
    assert [pid for pid, _, _ in new.entries] == [1]
    during = [page.entries for moment in shown.moments for page in moment.pages if page.pfn == old.pfn]
    kinds = {entry.kind for entries in during for _, _, entry in entries}
    assert kinds == {pm.EntryKind.PRESENT, pm.EntryKind.MIGRATION}


def test_pages_can_be_chosen(race: tuple[pm.Machine, list]) -> None:
    """Those and no others, in the order given."""
    machine, calls = race
    shown = pm.Timeline.of(machine, calls, "2a", pages=[70, 3])
    assert shown.pages == (70, 3)
    with pytest.raises(pm.UsageError, match="a page is 1000; it must be 0 to 128"):
        pm.Timeline.of(machine, calls, "2a", pages=[1000])


def test_time_that_passes_is_noted() -> None:
    """A call that waits for a disk: the last moments are those of `pagemig.replay`."""
    machine = pm.Machine(nodes=[pm.MiB], contents=True)
    slow = pm.FileSystem("slow", io_ticks=7)
    file = machine.create_file("file", PAGE_SIZE, filesystem=slow)
    calls = [(pm.calls.read_file(file, 0, 3), machine.spawn())]
    schedule = pm.explore(machine, calls).outcomes[0].schedule
    shown = pm.Timeline.of(machine, calls, schedule)
    end = pm.replay(machine, calls, schedule)
    assert shown.moments[-1].now == end.machine.now == 7
    assert "disk" in {holder for moment in shown.moments for lock in moment.locks for holder in lock.holders}
    assert [page.count for page in shown.moments[-1].pages] == [
        end.machine.frame(pfn).count for pfn in shown.pages
    ]


def test_words_say_what_happened(shown: pm.Timeline) -> None:
    """Unmapped, copied, mapped again: each from the event of its step."""
    said = " | ".join(moment.said for moment in shown.moments)
    order = [
        "off its LRU list",
        "taken on node 1",
        "a migration entry instead",
        "mapped again, read-only",
        "copy-on-write",
        "ended with -EAGAIN",
        "copied to frame",
        "off the list of the migration",
        "succeeded",
    ]
    places = [said.index(words) for words in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [("1c", "c"), ("xyz", "schedule"), ("2b9000a", "b|a"), (7, "schedule is 7; it must be text")],
)
def test_a_schedule_that_cannot_be_played_is_refused(
    race: tuple[pm.Machine, list], schedule: str, words: str
) -> None:
    """With the words of `pagemig.replay`."""
    machine, calls = race
    with pytest.raises(pm.UsageError, match=words):
        pm.Timeline.of(machine, calls, schedule)


def test_a_timeline_is_a_value(shown: pm.Timeline) -> None:
    """It compares and pickles, and its pictures are the same bytes again."""
    twin = pickle.loads(pickle.dumps(shown))
    assert twin == shown
    assert (str(twin), twin.to_html(), twin.to_perfetto()) == (
        str(shown),
        shown.to_html(),
        shown.to_perfetto(),
    )


# what was found ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no-freeze", "no-rcu", "child-first", "no-writeback-wait"])
def test_a_finding_is_shown_with_what_is_wrong(name: str) -> None:
    """A lost store, failed assertions, a broken rule: the timeline ends there, every picture marks it."""
    found = pm.gallery.explore(name, stop_at_first=True).findings[0]
    shown = pm.Timeline.of_finding(found)
    assert shown.schedule == found.schedule
    assert len(shown.moments) == found.steps + 1
    assert any(found.detail in finding for finding in shown.findings)
    assert str(shown).splitlines()[-1].startswith("finding: ")
    assert "class=bad" in shown.to_html()
    assert "class='end'" in shown.to_html()
    instants = [
        packet
        for packet in Trace.FromString(shown.to_perfetto()).packet
        if packet.track_event.type == TrackEvent.Type.TYPE_INSTANT
    ]
    assert [packet.track_event.name for packet in instants] == list(shown.findings)


def test_a_persons_own_expectation_is_a_finding_too(race: tuple[pm.Machine, list]) -> None:
    """It is not the machine's: the timeline has it from the exploration."""
    machine, calls = race
    strategy = pm.Exhaustive(preemptions=0)
    verdict = pm.explore(machine, calls, strategy, check=lambda end: "it moved, and should not")
    shown = pm.Timeline.of_finding(verdict.findings[0])
    assert shown.findings == ("expectation: it moved, and should not",)
    assert "it moved, and should not" in shown.to_html()


def test_only_findings_can_be_shown_as_such() -> None:
    """Something else is refused in words."""
    with pytest.raises(pm.UsageError, match="it must be a Violation"):
        pm.Timeline.of_finding("3a1b")  # type: ignore[arg-type]


# text ----------------------------------------------------------------------------------------


def test_the_text_has_one_line_a_step(shown: pm.Timeline) -> None:
    """Under the column of who made it stands what it made; who waits is said."""
    lines = str(shown).splitlines()
    assert lines[0] == f"schedule {shown.schedule}"
    assert lines[1].startswith("  a: MovePages by task 1 (app): returned [1]")
    rows = [line for line in lines if re.match(r" *\d+  ", line)]
    assert len(rows) == len(shown.moments)
    where = lines[3].index("b")
    for moment, row in zip(shown.moments, rows, strict=True):
        if moment.actor:
            column = 6 if moment.actor == "a" else where
            assert row[column:].startswith(moment.labels[0])
    assert any("waits" in row for row in rows)
    assert re.search(r"page_lock \d+ held by a, awaited by b", str(shown))


# web page ------------------------------------------------------------------------------------


class Page(HTMLParser):
    """A page taken apart: whether it nests, what it names, what it says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_stands_alone(shown: pm.Timeline) -> None:
    """Nothing is loaded from anywhere, and everything that is opened is closed."""
    text = shown.to_html()
    page = Page(text)
    assert not page.open
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not {"src", "href", "onclick"} & {name for _, attrs in page.tags for name in attrs}
    assert not re.search(r"https?:|url\(|@import|@font-face", text)


def test_the_page_fits_narrow_screens(shown: pm.Timeline) -> None:
    """No width in pixels but limits: drawings stretch, words wrap, the table folds up below 640 pixels."""
    text = shown.to_html()
    assert "width=device-width" in text
    styles = re.sub(r"@media \([^)]*\)", "", text)
    assert not re.search(r"(?<![-\w])(?:min-)?width:\s*\d+px", styles)
    assert "@media (max-width: 640px)" in text
    for tag, attrs in Page(text).tags:
        if tag == "svg":
            assert attrs["preserveaspectratio"] == "none"
            assert "width" not in attrs


def test_the_strips_show_steps_locks_and_counts(shown: pm.Timeline) -> None:
    """Method: read the drawings back, one unit a step."""
    drawings = [
        ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", shown.to_html(), re.DOTALL)
    ]
    assert len(drawings) == len(shown.lanes) + len(shown.lock_names) + len(shown.pages)
    for at, lane in enumerate(shown.lanes):
        drawn = [int(rect.attrib["x"]) + 1 for rect in drawings[at].iter("rect")]
        assert drawn == [moment.number for moment in shown.moments if moment.actor == lane.letter]
    last = len(shown.moments) - 1
    for at, name in enumerate(shown.lock_names, len(shown.lanes)):
        covered = set()
        for rect in drawings[at].iter("rect"):
            first = int(rect.attrib["x"])
            covered |= set(range(first, first + int(rect.attrib["width"])))
        held = {
            moment.number
            for moment in shown.moments
            for lock in moment.locks
            if lock.name == name and lock.holders
        }
        assert covered == {number for number in held if number < last}
    for at, drawing in enumerate(drawings[-len(shown.pages) :]):
        title = drawing.findtext("title") or ""
        counts = " ".join(str(moment.pages[at].count) for moment in shown.moments)
        assert f"count after each step {counts};" in title
        points = next(line for line in drawing.iter("polyline") if line.attrib["class"] == "count")
        heights = [float(point.split(",")[1]) for point in points.attrib["points"].split()[::2]]
        drawn_counts = [moment.pages[at].count for moment in shown.moments]
        assert [a < b for a, b in zip(heights[1:], heights, strict=False)] == [
            a > b for a, b in zip(drawn_counts[1:], drawn_counts, strict=False)
        ]


def test_what_a_person_names_cannot_break_the_page() -> None:
    """A task called like a tag is text."""
    machine = pm.Machine(nodes=[pm.MiB])
    app = machine.spawn("<script>alert(1)</script>")
    shown = pm.Timeline.of(machine, [(pm.calls.drain(), app)], "1a")
    assert "<script" not in shown.to_html()
    assert "&lt;script&gt;" in shown.to_html()


def test_a_notebook_shows_the_same(shown: pm.Timeline) -> None:
    """The part of the page that is not a page."""
    part = shown._repr_html_()
    assert "<html" not in part
    assert part in shown.to_html()
    assert not Page(part).open


# trace ---------------------------------------------------------------------------------------


def test_the_trace_says_who_ran_when(shown: pm.Timeline) -> None:
    """Slices of one step each on the track of their call, waits between them; all slices end."""
    trace = Trace.FromString(shown.to_perfetto())
    names = {
        packet.track_descriptor.uuid: packet.track_descriptor.name
        for packet in trace.packet
        if packet.HasField("track_descriptor")
    }
    kinds = TrackEvent.Type
    open_slices: dict[int, list[tuple[int, str]]] = {}
    slices: list[tuple[str, str, int, int]] = []
    for packet in trace.packet:
        event = packet.track_event
        if event.type == kinds.TYPE_SLICE_BEGIN:
            open_slices.setdefault(event.track_uuid, []).append((packet.timestamp, event.name))
        elif event.type == kinds.TYPE_SLICE_END:
            begun, name = open_slices[event.track_uuid].pop()
            slices.append((names[event.track_uuid], name, begun, packet.timestamp))
    assert not any(open_slices.values())
    for lane in shown.lanes:
        steps = [
            (begun // 1000 + 1, name)
            for track, name, begun, _ in slices
            if track == str(lane) and not name.startswith("waits for")
        ]
        assert steps == [
            (moment.number, moment.labels[0]) for moment in shown.moments if moment.actor == lane.letter
        ]
    waits = [(track, name) for track, name, *_ in slices if name.startswith("waits for page_lock")]
    assert waits == [(str(shown.lanes[1]), waits[0][1])]
    for track, name, begun, ended in slices:
        if name.startswith("held by"):
            for moment in shown.moments:
                holders = [", ".join(lock.holders) for lock in moment.locks if lock.name == track]
                if begun <= 1000 * moment.number < ended:
                    assert [f"held by {held}" for held in holders] == [name]


def test_the_trace_counts_references(shown: pm.Timeline) -> None:
    """A value for each change, read without Perfetto's classes."""
    fields = [Message(packet) for _, packet in read(shown.to_perfetto()) if isinstance(packet, bytes)]
    tracks = {Message(it.bytes(60)).number(1): Message(it.bytes(60)).text(2) for it in fields if it.has(60)}
    counted: dict[str, list[tuple[int, int]]] = {}
    for it in fields:
        if it.has(11) and Message(it.bytes(11)).number(9) == 4:
            event = Message(it.bytes(11))
            counted.setdefault(tracks[event.number(11)], []).append((it.number(8) // 1000, event.number(30)))
    for at, pfn in enumerate(shown.pages):
        expected: list[tuple[int, int]] = []
        for moment in shown.moments:
            value = moment.pages[at].count
            if not expected or expected[-1][1] != value:
                expected.append((moment.number, value))
        assert counted[f"frame {pfn} count"] == expected
