"""The form of a case file, and the expectation that holds for 2.6.34.

Start with :func:`load` and :func:`expectation`.

A file is ``{"cases": [...]}``; a case has ``id``, ``setup`` (a list of steps
with ``op``), ``call`` (with ``syscall``) and ``expect``, ``expect_by_version``
or both. Anything more is allowed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

Case = dict[str, Any]
Expectation = dict[str, Any]

MODELLED = (2, 6, 34)
AGREEING = (2, 6, 33)


class BadFormError(Exception):
    """The file is not of this form; the message names what and where."""


class Skipped(Exception):
    """A case cannot be run or checked here; the message says why."""


class NotAbout(Skipped):
    """A case says nothing about 2.6.34; the message says what it is about."""


class Excepted(Skipped):
    """A case cannot come out as it says, and that is known; the message says why."""


class Failed(Exception):
    """A case did not come out as expected; the message is the difference."""


def load(path: Path) -> list[Case]:
    """Read a file and check its form.

    Raises
    ------
    BadFormError
        One line: the file, the place in it, and what would be right.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadFormError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadFormError(f"{path}: byte {error.start} is not UTF-8") from None
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadFormError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise BadFormError(f"{path}: nested too deeply to be a file of cases") from None
    cases = data.get("cases") if isinstance(data, dict) else data
    if not isinstance(cases, list):
        raise BadFormError(f'{path}: the top must be an object with a list "cases", or that list')
    seen: set[str] = set()
    for position, case in enumerate(cases):
        problem = _problem(case)
        name = case.get("id") if isinstance(case, dict) else None
        if problem is None and name in seen:
            problem = "has the id of an earlier case"
        if problem is not None:
            where = f"cases[{position}]" + (f" ({name})" if isinstance(name, str) else "")
            raise BadFormError(f"{path}: {where} {problem}")
        seen.add(case["id"])
    return cases


def _problem(case: object) -> str | None:
    """Say what is wrong with a case, or None."""
    if not isinstance(case, dict):
        return "must be an object"
    if not isinstance(case.get("id"), str) or not case["id"]:
        return 'must have an "id", a text'
    setup = case.get("setup", [])
    if not isinstance(setup, list):
        return '"setup" must be a list of steps'
    for position, step in enumerate(setup):
        if not isinstance(step, dict) or not isinstance(step.get("op"), str):
            return f'setup[{position}] must be an object with an "op"'
    call = case.get("call")
    if not isinstance(call, dict) or not isinstance(call.get("syscall"), str):
        return 'must have a "call", an object with a "syscall"'
    if not isinstance(call.get("args", {}), dict):
        return '"args" of the call must be an object'
    by_version = case.get("expect_by_version", {})
    if "expect" not in case and not by_version:
        return 'must have an "expect" or an "expect_by_version"'
    if not isinstance(by_version, dict):
        return '"expect_by_version" must be an object'
    versions = case.get("valid_for", [])
    if not isinstance(versions, list) or not all(isinstance(version, str) for version in versions):
        return '"valid_for" must be a list of versions'
    expectations = {"expect": case.get("expect", {})}
    expectations |= {f"expect_by_version[{key!r}]": value for key, value in by_version.items()}
    return _expectation_problem(expectations)


def _expectation_problem(expectations: dict[str, Any]) -> str | None:
    for name, value in expectations.items():
        if not isinstance(value, dict):
            return f'"{name}" must be an object'
        effects = value.get("effects", [])
        if not isinstance(effects, list):
            return f'"effects" of "{name}" must be a list'
        for position, effect in enumerate(effects):
            if not isinstance(effect, dict) or not isinstance(effect.get("check"), str):
                return f'effects[{position}] of "{name}" must be an object with a "check"'
    return None


def expectation(case: Case) -> Expectation:
    """Return what 2.6.34 shall do.

    Its own expectation; else the general one, where that holds for 2.6.33; else that of 2.6.33 or
    of a range that contains one of the two, for they agree wherever nothing else is said.

    Raises
    ------
    NotAbout
        The case says nothing about either version.
    """
    by_version: dict[str, Expectation] = case.get("expect_by_version", {})
    if "2.6.34" in by_version:
        return by_version["2.6.34"]
    versions = case.get("valid_for", [])
    if "expect" in case and ("2.6.33" in versions or any(contains(version) for version in versions)):
        return case["expect"]  # type: ignore[no-any-return]
    if "2.6.33" in by_version:
        return by_version["2.6.33"]
    for wanted in (MODELLED, AGREEING):
        for version, found in by_version.items():
            if contains(version, wanted):
                return found
    if "expect" in case and any(contains(version, AGREEING) for version in versions):
        return case["expect"]  # type: ignore[no-any-return]
    raise NotAbout(f"only about {', '.join([*versions, *by_version]) or 'no version'}")


def contains(version: str, wanted: tuple[int, ...] = MODELLED) -> bool:
    """Return whether a version or a range of versions contains another, or 2.6.34.

    >>> [contains(v) for v in ("2.6.34", "<2.6.28", "2.6.28-4.12", ">=2.6.33", "2.6.x", "6.x", "<= 4.12")]
    [True, False, True, True, True, False, True]
    """
    text = version.strip().removeprefix("Linux ")
    if match := re.fullmatch(r"(<=|>=|<|>|=|up to|until|before|since|from)\s*([\d.]+)", text):
        bound = _numbers(match[2])
        relation = match[1]
        if relation in ("<", "before"):
            return bound > wanted
        if relation in ("<=", "up to", "until"):
            return bound >= wanted[: len(bound)]
        if relation == ">":
            return bound < wanted[: len(bound)]
        return bound == wanted if relation == "=" else bound <= wanted
    if match := re.fullmatch(r"([\d.]+)\s*(?:-|to|\.\.)\s*([\d.]+)", text):
        low, high = _numbers(match[1]), _numbers(match[2])
        return low <= wanted and high >= wanted[: len(high)]
    if match := re.fullmatch(r"([\d.]+?)\.?\+|([\d.]+) (?:and|or) later", text):
        return _numbers(match[1] or match[2]) <= wanted
    if match := re.fullmatch(r"([\d.]+)\.[x*]", text):
        prefix = _numbers(match[1])
        return wanted[: len(prefix)] == prefix
    return bool(re.fullmatch(r"[\d.]+", text)) and _numbers(text) == wanted


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.strip(".").split(".") if part)
