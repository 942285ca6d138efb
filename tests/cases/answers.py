"""What a call answered: its result, its errno and its statuses, against what is expected of them.

Start with :func:`check_answer`. A result is written as the user sees it, -1 and an errno, or as
the kernel returns it, ``-ESRCH``; several that are allowed stand in a list or are joined by ``or``.
"""

from __future__ import annotations

import dataclasses
import errno
import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import words
from .form import Expectation, Failed, Skipped
from .invocation import UNWRITTEN, Answer, Call

if TYPE_CHECKING:
    from .effects import Outcome

SIGNS = {"positive": ">0", "negative": "<0", "non-negative": ">=0", "nonnegative": ">=0"}
COMPARE: dict[str, Callable[[int, int], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "==": operator.eq,
}
OR = re.compile(r"\s*(?:\||/|,|\bor\b)\s*")


def check_answer(outcome: Outcome, expected: Expectation) -> None:
    """Compare result, errno and statuses with what is expected."""
    for answer in outcome.answers:
        check_result(answer, expected)
    statuses = expected.get("statuses")
    if statuses is None:
        return
    if isinstance(statuses, str):
        _check_statuses_in_words(outcome, statuses)
        return
    if not isinstance(statuses, list):
        raise Skipped(f"expected statuses {statuses!r} are not understood")
    for answer in outcome.answers:
        _compare_statuses(
            outcome, answer, [status(word, outcome, index) for index, word in enumerate(statuses)]
        )


@dataclasses.dataclass(frozen=True)
class Allowed:
    """One result that is allowed, or a range of them."""

    compare: Callable[[int, int], bool]
    bound: int
    is_raw: bool = False
    """Whether the bound is what the kernel returns: to the user every failure is -1."""

    def holds(self, result: int) -> bool:
        """Return whether a result of the kernel is allowed."""
        return self.compare(result if self.is_raw else max(result, -1), self.bound)

    @property
    def may_fail(self) -> bool:
        """Whether a failure is allowed."""
        return self.is_raw or self.holds(-1)


def results(word: object) -> list[Allowed]:
    """Read the results that are allowed.

    >>> [one.holds(0) for one in results("0 or -1")], [one.holds(-3) for one in results("-ESRCH")]
    ([True, False], [True])
    """
    if isinstance(word, list):
        return [one for part in word for one in results(part)]
    if isinstance(word, float) and word.is_integer():
        word = int(word)
    if not isinstance(word, str):
        return [_exactly(words.number(word, "expected result"))]
    text = re.sub(r"\s+(every|each) time$", "", word.strip())
    found = []
    for part in OR.split(text):
        plain = SIGNS.get(part, part)
        if match := re.fullmatch(r"(>=|<=|==|>|<|=)\s*(-?\d+)", plain):
            found.append(Allowed(COMPARE[match[1]], int(match[2])))
        elif re.fullmatch(r"-E[A-Z0-9]+", plain):
            found.append(Allowed(operator.eq, -code(plain), is_raw=True))
        elif re.fullmatch(r"-?\d+", plain):
            found.append(_exactly(int(plain)))
        else:
            raise Skipped(f"expected result {word!r} is not understood")
    return found


def _exactly(result: int) -> Allowed:
    return Allowed(operator.eq, result, is_raw=result < -1)


def code(word: object) -> int:
    """Read an errno, by name or by number, with or without its sign; 0 is none.

    >>> code("-ESRCH"), code(3), code("none")
    (3, 3, 0)
    """
    if isinstance(word, str):
        name = word.strip().lstrip("-")
        if re.fullmatch(r"E[A-Z0-9]+", name) and hasattr(errno, name):
            return int(getattr(errno, name))
        if name in ("", "none", "0"):
            return 0
        word = int(name) if name.isdecimal() else word
    if isinstance(word, int) and not isinstance(word, bool) and (word == 0 or abs(word) in errno.errorcode):
        return abs(word)
    raise Skipped(f"errno {word!r} is not understood")


def codes(word: object) -> set[int]:
    """Read the errnos that are allowed: one, a list, or several joined by ``|``, ``/``, ``,`` or ``or``.

    >>> sorted(codes("ESRCH or EPERM"))
    [1, 3]
    """
    if isinstance(word, list):
        return {code for part in word for code in codes(part)}
    return {code(part) for part in OR.split(word)} if isinstance(word, str) else {code(word)}


def check_result(answer: Answer, expected: Expectation) -> None:
    """Compare result and errno of one call."""
    failed = max(0, -answer.result)
    got, name = -1 if failed else answer.result, errno.errorcode.get(failed)
    wanted = expected.get("ret")
    allowed = [] if wanted is None else results(wanted)
    if wanted is not None and not any(one.holds(answer.result) for one in allowed):
        raise Failed(f"returned {got} ({name}), expected {wanted} ({expected.get('errno')})")
    if expected.get("errno") is None or (not failed and any(one.may_fail for one in allowed)):
        return
    if failed not in codes(expected["errno"]):
        raise Failed(f"errno is {name}, expected {expected['errno']}")


def status(word: object, outcome: Outcome, index: int = 0) -> int:
    """Read one status: a node, an errno with its sign, ``target``, ``unwritten``."""
    if word in ("target", "nodes[i]") and outcome.call.wanted:
        return outcome.call.wanted[index]
    if isinstance(word, str):
        if re.fullmatch(r"-E[A-Z0-9]+", word):
            return -code(word)
        if match := re.fullmatch(r"node (\d+)", word):
            return int(match[1])
    if word in ("unwritten", "untouched"):
        return unwritten(outcome)
    return words.number(word, "status")


def unwritten(outcome: Outcome) -> int:
    """Return what was in the status array before the call."""
    return outcome.call.filled if isinstance(outcome.call, Call) else UNWRITTEN


def _compare_statuses(outcome: Outcome, answer: Answer, wanted: list[int]) -> None:
    got = answer.statuses
    if got is None:
        if wanted:
            raise Failed(f"there is no status array, expected {wanted}")
        return
    wanted = wanted or [unwritten(outcome)] * len(got)
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
        clause: Any = clauses[min(number, len(clauses) - 1)]
        got = answer.statuses or []
        with_memory = outcome.world.with_memory
        if clause in ("nodes[i]", "that node", "the target", "target"):
            _compare_statuses(outcome, answer, answer.nodes or [])
        elif clause == "a node":
            if not all(status in with_memory for status in got):
                raise Failed(f"statuses of call {number} are {_short(got, 0)}, expected nodes with memory")
        else:
            _compare_statuses(outcome, answer, [status(clause, outcome)] * len(got))
