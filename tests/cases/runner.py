"""Runs cases one by one and says how each came out.

Start with :func:`run_case`; :func:`main` is the command line.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import pagemig as pm

from . import samepage, threads
from .answers import check_answer
from .effects import Outcome, check_effects
from .form import (
    EXPECT_FIELDS,
    BadFormError,
    Case,
    Excepted,
    Expectation,
    Failed,
    NotAbout,
    Skipped,
    expectation,
    load,
    name_of,
    normal,
)
from .invocation import Answer, Call, prepare, times
from .placement import CALLS, follow
from .placement import prepare as prepare_placement
from .planned import PlacementCall
from .readers import race
from .steps import perform
from .variants import variants
from .world import World, build

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
NOT_ABOUT, EXCEPTED = "not about 2.6.34", "excepted"
KINDS = (PASSED, FAILED, SKIPPED, NOT_ABOUT, EXCEPTED)
NOT_UNDERSTOOD = (
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    AssertionError,
    pm.UsageError,
)
"""What a word of a shape that nobody foresaw comes to: a reason to skip."""
ROUNDS_MAX = 100_000
OTHER_SCOPES = {
    "cli": "about how the command line of another program is read; the model reads no such words",
    "radix": "about a data structure by itself; its tests are in rust/core/tests/radix_tree",
    "policy-layer": "about a program above the system calls; test_policy_layer plays one",
}


@dataclasses.dataclass(frozen=True)
class Contradiction:
    """A case that expects of 2.6.34 what the specification says otherwise."""

    effects: list[dict[str, Any]]
    """What the case expects."""
    instead: list[dict[str, Any]]
    """What the specification says; a case that does not come out so has failed."""
    why: str


_V02 = {"check": "vma_pages", "task": "A", "region": "r"}
CONTRADICTIONS = {
    "LTP-V02": Contradiction(
        effects=[{**_V02, "sizes": [3]}],
        instead=[{**_V02, "sizes": [1, 1, 1]}],
        why="known contradiction: expects [3] for 2.6.34 while syscalls 6.2 (later pieces are offered a too "
        "small file offset and do not merge) gives [1, 1, 1]",
    ),
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How a case came out; ``why`` is the difference or the reason, empty if it passed."""

    case: str
    kind: str
    why: str = ""


def run_case(entry: object, otherwise: str = "a case") -> Verdict:
    """Run one case on a machine of its own; ``otherwise`` is its name if it has none."""
    name = name_of(entry, otherwise)
    try:
        case = normal(entry)
        expected = expectation(case)
        contradiction = CONTRADICTIONS.get(name)
        if contradiction is not None and expected.get("effects") == contradiction.effects:
            expected = {**expected, "effects": contradiction.instead}
        else:
            contradiction = None
        if not _can_be_called(case["call"]):
            raise Skipped(_why_not(case))
        for variant in variants(
            {**case, "expect": expected, "valid_for": ["2.6.34"], "expect_by_version": {}}
        ):
            _run(variant)
    except NotAbout as reason:
        return Verdict(name, NOT_ABOUT, str(reason))
    except Excepted as reason:
        return Verdict(name, EXCEPTED, str(reason))
    except Skipped as reason:
        return Verdict(name, SKIPPED, str(reason))
    except Failed as difference:
        return Verdict(name, FAILED, str(difference))
    except NOT_UNDERSTOOD as error:
        return Verdict(name, SKIPPED, f"not understood: {type(error).__name__}: {error}")
    except (pm.PagemigError, OSError) as error:
        return Verdict(name, FAILED, f"{type(error).__name__}: {error}")
    return Verdict(name, PASSED) if contradiction is None else Verdict(name, EXCEPTED, contradiction.why)


def _can_be_called(call: dict[str, Any]) -> bool:
    """Return whether anything here makes the call: ``move_pages`` without pages is a program, not a call."""
    if call["syscall"] == "move_pages":
        return "pages" in call["args"]
    return call["syscall"] in CALLS


def _why_not(case: Case) -> str:
    """Say why nothing here makes the call of a case."""
    syscall, scope = case["call"]["syscall"], case.get("scope")
    if scope in OTHER_SCOPES:
        return f"scope {scope!r}: {OTHER_SCOPES[scope]}"
    if syscall == "move_pages":
        return "the call names no pages: the case describes a program, not a call"
    return f"system call {syscall!r} is not understood"


def _run(case: Case) -> None:
    """Run one case to its end; whatever is wrong with it is raised."""
    expected, at = case["expect"], ["machine"]
    try:
        world, call = _set_up(case, at)
        at[0] = "call"
        outcome = _make_calls(world, call, case["call"]["args"])
    except KeyError as field:
        raise Skipped(f"{at[0]} lacks its field {field}") from None
    except NOT_UNDERSTOOD as error:
        raise Skipped(f"{at[0]} is not understood: {error}") from None
    _check(outcome, expected)


def _check(outcome: Outcome, expected: Expectation) -> None:
    """Compare all that is understood, whatever else is not."""
    doubts = []
    comparisons: list[Callable[[], None]] = [
        lambda: check_answer(outcome, expected),
        lambda: check_effects(outcome, expected["effects"]),
        lambda: _require_something_known(expected),
    ]
    for compare in comparisons:
        try:
            compare()
        except Skipped as reason:
            doubts.append(str(reason))
    if findings := outcome.world.machine.audit():
        raise Failed(f"invariants: {'; '.join(map(str, findings))}")
    if doubts:
        raise Skipped("; ".join(doubts))


def _require_something_known(expected: Expectation) -> None:
    """Refuse an expectation with a field that nobody here compares, and one that expects nothing."""
    unknown = sorted(set(expected) - set(EXPECT_FIELDS))
    if unknown:
        raise Skipped(f"the expectation has unknown fields {unknown}")
    if all(expected.get(field) is None for field in ("ret", "errno", "statuses")) and not expected["effects"]:
        raise Skipped("the case expects nothing")


def _set_up(case: Case, at: list[str]) -> tuple[World, Call | PlacementCall]:
    """Build the world and read the call; ``at`` says how far it has got."""
    world = build(case)
    for step in case["setup"]:
        at[0] = f"setup step {step['op']!r}"
        perform(world, step)
    at[0] = "call"
    caller = case["call"].get("task", next(iter(world.tasks), None))
    if caller == samepage.DAEMON:
        samepage.start_daemon(world)
    world.task(caller)
    syscall, args = case["call"]["syscall"], case["call"]["args"]
    if syscall in CALLS:
        return world, prepare_placement(world, str(caller), syscall, args)
    return world, prepare(world, str(caller), args)


def _make_calls(world: World, call: Call | PlacementCall, args: dict[str, Any]) -> Outcome:
    before = world.machine.clone()
    if isinstance(call, PlacementCall):
        made = call.run()
        follow(call, args.get("then"))
        return Outcome(world, before, call, made)
    if world.readers:
        if args.get("then"):
            raise Skipped("what shall be done after a race is not understood")
        race(world, call)
        return Outcome(world, before, call, [Answer(0, None, call.wanted)])
    answers = []
    for turn in range(times(args.get("repeat", 1), ROUNDS_MAX)):
        if turn:
            call = _next_round(world, call, args, turn)
        answers.append(call.run())
    then = args.get("then", [])
    for word in then if isinstance(then, list) else [then]:
        if word == "touch all":
            threads.touch(world, call.owner, call.addresses)
        elif word in ("query again", "again", "call again"):
            answers.append(prepare(world, call.caller, {**args, "then": []}).run())
        else:
            raise Skipped(f"what shall be done then, {word!r}, is not understood")
    return Outcome(world, before, call, answers)


def _next_round(world: World, call: Call, args: dict[str, Any], turn: int) -> Call:
    """Write to every page, and turn a node array that cycles or alternates one further."""
    task = world.task(call.owner)
    for number, address in enumerate(call.addresses):
        value = (number + turn) & 255
        task.write(address, bytes([value]))
        world.stored[call.owner, address & ~4095] = value
        if address & 4095:
            del world.stored[call.owner, address & ~4095]
    if args.get("nodes") not in ("cycling", "alternating") or call.wanted is None:
        if str(args.get("nodes")).startswith(("cycling", "alternating")):
            raise Skipped(f"how nodes {args['nodes']!r} go on when the call is repeated is not said")
        return call
    nodes = np.array(world.with_memory)
    return call.to([int(nodes[(list(nodes).index(node) + 1) % len(nodes)]) for node in call.wanted])


def main(arguments: list[str]) -> int:
    """Run the file that is the one argument; return the exit code."""
    if len(arguments) != 1:
        print("usage: run.py FILE", file=sys.stderr)
        return 2
    try:
        cases = load(Path(arguments[0]))
    except BadFormError as error:
        print(error, file=sys.stderr)
        return 2
    verdicts = [run_case(case, f"cases[{position}]") for position, case in enumerate(cases)]
    for verdict in verdicts:
        if verdict.kind != PASSED:
            print(f"{verdict.kind} {verdict.case}: {verdict.why}")
    counts = {kind: sum(verdict.kind == kind for verdict in verdicts) for kind in KINDS}
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return 1 if counts[FAILED] else 0
