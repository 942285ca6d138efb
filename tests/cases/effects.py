"""What a case says must hold after its call.

Start with :func:`check_effects`; ``answers`` compares what the call itself returned.
Whatever is not understood is a reason to skip, after all that is understood has
been checked: a difference is never hidden behind a word.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pagemig as pm

from . import addressing, cpusets, policies, prose, samepage, words
from .answers import status
from .form import Failed, Skipped
from .invocation import Answer, Call
from .planned import PlacementCall
from .world import World


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A case after its call: the world, the machine as it was before, the answers in order."""

    world: World
    before: pm.Machine
    call: Call | PlacementCall
    answers: list[Answer]

    @property
    def default_task(self) -> str:
        """The task that an effect means when it names none."""
        return self.call.owner

    def places(self, effect: dict[str, Any]) -> list[tuple[pm.Task, int]]:
        """The tasks and addresses that an effect names: one page, a range, or a list."""
        name = effect.get("task", self.default_task)
        word = effect["pages"] if "pages" in effect else effect["page"]
        task = self.world.task(name)
        addresses = addressing.addresses(word, self.world.regions_of(name))
        if not addresses:
            raise Skipped(f"effect {effect.get('check')!r} names no page")
        return [(task, address) for address in addresses]

    def page_index(self, effect: dict[str, Any], address: int) -> int:
        """The number of a page within its region."""
        for region in self.world.regions_of(effect.get("task", self.default_task)).values():
            if address in region:
                return (address - region.start) // 4096
        raise Skipped(f"{address:#x} is in no region")

    def frames(self, effect: dict[str, Any], *, earlier: bool = False) -> list[pm.FrameInfo | None]:
        """The frame of each page that an effect names, now or before the call."""
        places = self.places(effect)
        return [(self.before.task(task.pid) if earlier else task).page_at(at) for task, at in places]


def check_effects(outcome: Outcome, effects: list[Any]) -> None:
    """Check every effect; those that are not understood skip the case at the end."""
    not_understood = []
    for effect in effects:
        check = effect.get("check") if isinstance(effect, dict) else effect
        try:
            if not isinstance(effect, dict) or not isinstance(check, str) or check not in MECHANICAL:
                raise Skipped(f"effect {check!r} is not understood")
            fields, function = MECHANICAL[check]
            # What an unknown field would mean, it would mean for all of the effect.
            if unknown := sorted(set(effect) - {"check"} - set(fields)):
                raise Skipped(f"effect {check!r} has unknown fields {unknown}")
            function(outcome, effect)
        except Skipped as reason:
            not_understood.append(str(reason))
        except KeyError as field:
            not_understood.append(f"effect {check!r} lacks its field {field}")
        except (TypeError, ValueError, AttributeError, IndexError, pm.UsageError) as error:
            not_understood.append(f"effect {check!r} is not understood: {error}")
    if not_understood:
        raise Skipped("; ".join(not_understood))


def _text(outcome: Outcome, effect: dict[str, Any]) -> None:
    prose.check(outcome, str(effect["text"]))


def _node(outcome: Outcome, effect: dict[str, Any]) -> None:
    word = effect["node"]
    wanted = [status(one, outcome) for one in (word if isinstance(word, list) else [word])]
    _require_nodes(outcome, effect, [wanted] * len(outcome.places(effect)))
    if len(set(wanted)) > 1 and len(wanted) == len(outcome.places(effect)):
        try:
            _require_nodes(outcome, effect, [[one] for one in wanted])
        except Failed:
            raise Skipped(f"whether nodes {word!r} are for one page each is not said") from None


def _nodes(outcome: Outcome, effect: dict[str, Any]) -> None:
    """One node for each page, or one for all of them."""
    word, places = effect["nodes"], outcome.places(effect)
    words_of_pages = word if isinstance(word, list) else [word] * len(places)
    if len(words_of_pages) != len(places):
        raise Skipped(f"nodes {word!r} are not one for each of {len(places)} pages")
    _require_nodes(outcome, effect, [[status(one, outcome)] for one in words_of_pages])


def _require_nodes(outcome: Outcome, effect: dict[str, Any], allowed: list[list[int]]) -> None:
    for (_, address), frame, wanted in zip(
        outcome.places(effect), outcome.frames(effect), allowed, strict=True
    ):
        if frame is None or frame.node not in wanted:
            where = "not present" if frame is None else f"on node {frame.node}"
            raise Failed(f"the page at {address:#x} is {where}, expected on {wanted}")


def _numbers(frames: list[pm.FrameInfo | None]) -> list[int | None]:
    return [None if frame is None else frame.pfn for frame in frames]


def _frame_unchanged(outcome: Outcome, effect: dict[str, Any]) -> None:
    now, then = _numbers(outcome.frames(effect)), _numbers(outcome.frames(effect, earlier=True))
    if None in now or now != then:
        raise Failed(f"frames {then} before the call, {now} after it, expected the same")


def _frame_changed(outcome: Outcome, effect: dict[str, Any]) -> None:
    now, then = _numbers(outcome.frames(effect)), _numbers(outcome.frames(effect, earlier=True))
    if None in now or any(one == other for one, other in zip(now, then, strict=True)):
        raise Failed(f"frames {then} before the call, {now} after it, expected others")


def _same_frame(outcome: Outcome, effect: dict[str, Any]) -> None:
    named = [one if isinstance(one, list) else [outcome.default_task, one] for one in effect["of"]]
    places = [{"task": task, "page": page} for task, page in named]
    frames = [number for place in places for number in _numbers(outcome.frames(place))]
    if None in frames or len(set(frames)) != 1:
        raise Failed(f"{effect['of']} are in frames {frames}, expected one frame")


def _byte(outcome: Outcome, effect: dict[str, Any]) -> None:
    for task, address in outcome.places(effect):
        if effect["value"] == "page index":
            wanted = outcome.page_index(effect, address) & 255
        else:
            wanted = words.number(effect["value"], "byte")
        value = task.read(address + words.number(effect.get("offset", 0), "offset"), 1)[0]
        if value != wanted:
            raise Failed(f"{address:#x} holds {value}, expected {wanted}")


def _not_present(outcome: Outcome, effect: dict[str, Any]) -> None:
    frames = _numbers(outcome.frames(effect))
    if any(number is not None for number in frames):
        raise Failed(f"frames {frames} are there, expected nothing")


def _counter(outcome: Outcome, effect: dict[str, Any]) -> None:
    """What a counter is, or by how much the call has changed it."""
    name = str(effect["name"]).lower()
    stated = [key for key in ("value", "delta", "change") if key in effect]
    if not stated:
        raise KeyError("value")
    if "zone" in effect and effect.get("node", effect["zone"]) != effect["zone"]:
        raise Skipped("a counter of a zone and of another node is not understood")
    # A node has one zone here.
    zone = effect.get("zone", effect.get("node"))
    found = _counters(outcome.world.machine, zone).get(name)
    if found is None:
        raise Skipped(f"counter {effect['name']!r} is not modelled")
    before = _counters(outcome.before, zone)[name]
    for key in stated:
        wanted = words.per_node(effect[key], key, len(outcome.world.with_memory))
        if found - (0 if key == "value" else before) != wanted:
            raise Failed(f"{name} was {before} and is {found}, expected a {key} of {wanted}")


def _counters(machine: pm.Machine, zone: int | None) -> dict[str, int]:
    if zone is not None:
        return machine.zone_counters(zone)
    return machine.vmstat() | samepage.counters(machine)


PAGES = ("task", "page", "pages")

MECHANICAL: dict[str, tuple[tuple[str, ...], Callable[[Outcome, dict[str, Any]], None]]] = {
    "text": (("text",), _text),
    "node": ((*PAGES, "node"), _node),
    "nodes": ((*PAGES, "nodes"), _nodes),
    "frame_unchanged": (PAGES, _frame_unchanged),
    "frame_changed": (PAGES, _frame_changed),
    "same_frame": (("of",), _same_frame),
    "byte": ((*PAGES, "value", "offset"), _byte),
    "not_present": (PAGES, _not_present),
    "counter": (("name", "value", "delta", "change", "zone", "node"), _counter),
    "cpuset_file": (("cpuset", "file", "value"), cpusets.check_file),
    **policies.CHECKS,
}
"""The fields of each check, and its function."""
