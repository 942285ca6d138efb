"""What a case says must hold after its call.

Start with :func:`check_answer` for the call itself and :func:`check_effects`.
Whatever is not understood is a reason to skip, after all that is understood has
been checked: a difference is never hidden behind a word.
"""

from __future__ import annotations

import dataclasses
import errno
import re
from collections.abc import Callable
from typing import Any

import pagemig as pm

from . import cpusets, policies, prose, samepage, words
from .form import Expectation, Failed, Skipped
from .invocation import UNWRITTEN, Answer, Call
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
        task, addresses = self.world.task(name), words.addresses(word, self.world.starts(name))
        if not addresses:
            raise Skipped(f"effect {effect.get('check')!r} names no page")
        return [(task, address) for address in addresses]

    def frames(self, effect: dict[str, Any], *, earlier: bool = False) -> list[pm.FrameInfo | None]:
        """The frame of each page that an effect names, now or before the call."""
        places = self.places(effect)
        return [(self.before.task(task.pid) if earlier else task).page_at(at) for task, at in places]


def check_answer(outcome: Outcome, expected: Expectation) -> None:
    """Compare result, errno and statuses with what is expected."""
    for answer in outcome.answers:
        _check_result(answer, expected)
    statuses = expected.get("statuses")
    if statuses is None:
        return
    if isinstance(statuses, str):
        _check_statuses_in_words(outcome, statuses)
        return
    if not isinstance(statuses, list):
        raise Skipped(f"expected statuses {statuses!r} are not understood")
    for answer in outcome.answers:
        _compare_statuses(answer, [_status(word, outcome, index) for index, word in enumerate(statuses)])


def _check_result(answer: Answer, expected: Expectation) -> None:
    code = -answer.result if answer.result < 0 else 0
    got = -1 if answer.result < 0 else answer.result
    name = errno.errorcode.get(code) if code else None
    wanted = expected.get("ret")
    if wanted is not None:
        texts = {">0": got > 0, ">=0": got >= 0, "0 every time": got == 0, "0 or -1": got in (0, -1)}
        if isinstance(wanted, str) and wanted not in texts:
            raise Skipped(f"expected result {wanted!r} is not understood")
        if not (texts[wanted] if isinstance(wanted, str) else got == wanted):
            raise Failed(f"returned {got} ({name}), expected {wanted} ({expected.get('errno')})")
    if wanted == "0 or -1" and got == 0:
        return
    if expected.get("errno") is not None and name not in str(expected["errno"]).split("|"):
        raise Failed(f"errno is {name}, expected {expected['errno']}")


def _status(word: object, outcome: Outcome, index: int = 0) -> int:
    if word in ("target", "nodes[i]") and outcome.call.wanted:
        return outcome.call.wanted[index]
    if isinstance(word, str) and (match := re.fullmatch(r"-(E\w+)", word)) and hasattr(errno, match[1]):
        return -int(getattr(errno, match[1]))
    if word in ("unwritten", "untouched"):
        return UNWRITTEN
    return words.number(word, "status")


def _compare_statuses(answer: Answer, wanted: list[int]) -> None:
    got = answer.statuses
    if got is None:
        if wanted:
            raise Failed(f"there is no status array, expected {wanted}")
        return
    wanted = wanted or [UNWRITTEN] * len(got)
    if got != wanted:
        at = next(
            (i for i, pair in enumerate(zip(got, wanted, strict=False)) if pair[0] != pair[1]), len(wanted)
        )
        raise Failed(f"statuses {_short(got, at)}, expected {_short(wanted, at)} (first difference at {at})")


def _short(values: list[int], at: int) -> str:
    return str(values) if len(values) <= 24 else f"[... {values[at : at + 4]} ...]"


def _check_statuses_in_words(outcome: Outcome, text: str) -> None:
    clauses = [re.sub(r"^(first|then|all) ?", "", part.strip()) for part in text.split(", then ")]
    clauses = [re.sub(r"^all ", "", clause) for clause in clauses]
    if len(clauses) not in (1, len(outcome.answers)):
        raise Skipped(f"statuses {text!r} are for {len(clauses)} calls, there were {len(outcome.answers)}")
    for number, answer in enumerate(outcome.answers):
        clause = clauses[min(number, len(clauses) - 1)]
        got = answer.statuses or []
        with_memory = outcome.world.with_memory
        if clause in ("nodes[i]", "that node", "the target", "target"):
            _compare_statuses(answer, answer.nodes or [])
        elif clause == "a node":
            if not all(status in with_memory for status in got):
                raise Failed(f"statuses of call {number} are {_short(got, 0)}, expected nodes with memory")
        else:
            _compare_statuses(answer, [_status(clause, outcome)] * len(got))


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
    wanted = word if isinstance(word, list) else [_status(word, outcome)]
    for (_, address), frame in zip(outcome.places(effect), outcome.frames(effect), strict=True):
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
    places = [{"task": task, "page": page} for task, page in effect["of"]]
    frames = [number for place in places for number in _numbers(outcome.frames(place))]
    if None in frames or len(set(frames)) != 1:
        raise Failed(f"{effect['of']} are in frames {frames}, expected one frame")


def _byte(outcome: Outcome, effect: dict[str, Any]) -> None:
    wanted = words.number(effect["value"], "byte")
    for task, address in outcome.places(effect):
        value = task.read(address + effect.get("offset", 0), 1)[0]
        if value != wanted:
            raise Failed(f"{address:#x} holds {value}, expected {wanted}")


def _not_present(outcome: Outcome, effect: dict[str, Any]) -> None:
    frames = _numbers(outcome.frames(effect))
    if any(number is not None for number in frames):
        raise Failed(f"frames {frames} are there, expected nothing")


def _counter(outcome: Outcome, effect: dict[str, Any]) -> None:
    machine = outcome.world.machine
    if "zone" in effect and effect.get("node", effect["zone"]) != effect["zone"]:
        raise Skipped("a counter of a zone and of another node is not understood")
    # A node has one zone here.
    zone = effect.get("zone", effect.get("node"))
    if zone is not None:
        counters = machine.zone_counters(zone)
    else:
        counters = machine.vmstat() | samepage.counters(machine)
    if effect["name"] not in counters:
        raise Skipped(f"counter {effect['name']!r} is not modelled")
    wanted = words.per_node(effect["value"], "value", len(outcome.world.with_memory))
    if counters[effect["name"]] != wanted:
        raise Failed(f"{effect['name']} is {counters[effect['name']]}, expected {wanted}")


PAGES = ("task", "page", "pages")

MECHANICAL: dict[str, tuple[tuple[str, ...], Callable[[Outcome, dict[str, Any]], None]]] = {
    "text": (("text",), _text),
    "node": ((*PAGES, "node"), _node),
    "frame_unchanged": (PAGES, _frame_unchanged),
    "frame_changed": (PAGES, _frame_changed),
    "same_frame": (("of",), _same_frame),
    "byte": ((*PAGES, "value", "offset"), _byte),
    "not_present": (PAGES, _not_present),
    "counter": (("name", "value", "zone", "node"), _counter),
    "cpuset_file": (("file", "value"), cpusets.check_file),
    **policies.CHECKS,
}
"""The fields of each check, and its function."""
