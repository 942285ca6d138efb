"""The form of a case file, and the expectation that holds for 2.6.34.

Start with :func:`load`, :func:`normal` and :func:`expectation`.

A file is ``{"cases": [...]}``; a case has ``id``, ``setup`` (a list of steps
with ``op``), ``call`` (with ``syscall``) and ``expect``, ``expect_by_version``
or both. What is null counts as left out, one step or effect as a list of one. Remarks
may stand anywhere; a field that is neither known nor a remark may mean something, so
the case that has it is skipped. One odd case never keeps the others of its file from being run.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .versions import AGREEING, EVERY, MODELLED, contains, is_version

Case = dict[str, Any]
Expectation = dict[str, Any]

CASE_FIELDS = ("id", "setup", "call", "expect", "expect_by_version", "valid_for", "scope", "observed")
EXPECT_FIELDS = ("ret", "errno", "statuses", "effects")
REMARKS = (
    r"notes?|remarks?|comments?|description|rationale|why|explanation|basis"
    r"|sources?|urls?|links?|refs?|references?|see"
)
"""Last parts of the names of fields that only explain, wherever they stand."""
CASE_REMARKS = REMARKS + (
    r"|title|name|summary|purpose|goal|topic|origin|authors?|licen[sc]e|tags?|labels|suite|group|category"
    r"|kind|type|class|family|feature|priority|history|quote|evidence|confidence|file|lines?|commit|date"
    r"|section|chapter|spec|upstream|test|index|number"
)
"""The same for a case as a whole, where there is more to tell."""


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


def load(path: Path) -> list[Any]:
    """Read a file and return what it lists, as it is written.

    Raises
    ------
    BadFormError
        One line: the file, the place in it, and what would be right.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
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
    return cases


def name_of(entry: object, otherwise: str) -> str:
    """Return the id of a case as a text, or what it is called otherwise."""
    name = entry.get("id") if isinstance(entry, dict) else None
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    return name if isinstance(name, str) and name else otherwise


def normal(entry: object) -> Case:
    """Return a case in the one form that the other modules read.

    Raises
    ------
    Skipped
        It is no case, or has a part that means nobody knows what.
    """
    if not isinstance(entry, dict):
        raise Skipped("a case must be an object")
    case = {key: value for key, value in entry.items() if value is not None}
    unknown = sorted(key for key in case if key not in CASE_FIELDS and not is_remark(key, CASE_REMARKS))
    if unknown:
        raise Skipped(f"the case has unknown fields {unknown}")
    case["setup"] = [_step(step, at) for at, step in enumerate(_listed(case.get("setup")))]
    case["call"] = _call(case.get("call"))
    case["valid_for"] = _versions(case.get("valid_for"))
    by_version = case.get("expect_by_version", {})
    if not isinstance(by_version, dict):
        raise Skipped('"expect_by_version" must be an object')
    case["expect_by_version"] = {version: _expectation(one) for version, one in by_version.items()}
    if "expect" in case:
        case["expect"] = _expectation(case["expect"])
    elif not by_version:
        raise Skipped('the case must have an "expect" or an "expect_by_version"')
    return case


def is_remark(key: str, remarks: str = REMARKS) -> bool:
    """Return whether a field only explains.

    >>> [is_remark(key) for key in ("note", "version_note", "_draft", "source_url", "skip_unless")]
    [True, True, True, True, False]
    """
    parts = [part for part in re.split(r"[^a-z]+", key.lower()) if part]
    return key.startswith("_") or bool(parts and re.fullmatch(remarks, parts[-1]))


def _listed(word: object) -> list[Any]:
    return word if isinstance(word, list) else [] if word is None else [word]


def _step(word: object, at: int) -> dict[str, Any]:
    """A step that is only a text is an ``op`` without fields, such as ``drain``."""
    if isinstance(word, str):
        return {"op": word}
    if not isinstance(word, dict) or not isinstance(word.get("op"), str):
        raise Skipped(f'setup[{at}] must be an object with an "op"')
    # The arguments of a call may be null pointers; elsewhere null is nothing.
    null_counts = word["op"] == "call"
    return {
        key: value for key, value in word.items() if not is_remark(key) and (value is not None or null_counts)
    }


def _call(word: object) -> dict[str, Any]:
    """What stands beside ``args`` is an argument, too."""
    calls = _listed(word)
    if not calls:
        raise Skipped("the case has no call")
    if len(calls) > 1:
        raise Skipped(f"the case has {len(calls)} calls, and it is not said which is expected to do what")
    call = calls[0]
    if not isinstance(call, dict) or not isinstance(call.get("syscall"), str):
        raise Skipped('"call" must be an object with a "syscall"')
    args = {} if call.get("args") is None else call["args"]
    if not isinstance(args, dict):
        raise Skipped('"args" of the call must be an object')
    own = ("syscall", "task", "args")
    beside = {key: value for key, value in call.items() if key not in own and not is_remark(key)}
    if twice := sorted(set(args) & set(beside)):
        raise Skipped(f"the call has {twice} twice")
    made = {"syscall": call["syscall"], "args": {**args, **beside}}
    return made if call.get("task") is None else {**made, "task": call["task"]}


def _versions(word: object) -> list[str]:
    versions = [
        str(one) if isinstance(one, float) or type(one) is int else one
        for part in _listed(word)
        for one in (part.split(",") if isinstance(part, str) else [part])
    ]
    if not all(isinstance(version, str) for version in versions):
        raise Skipped('"valid_for" must be a list of versions')
    return [version.strip() for version in versions]


def _expectation(word: object) -> Any:
    """An expectation of any other shape is left as it is: it may be that of another version."""
    if not isinstance(word, dict):
        return word
    found = {key: value for key, value in word.items() if value is not None and not is_remark(key)}
    found["effects"] = [_effect(effect) for effect in _listed(word.get("effects"))]
    return found


def _effect(word: object) -> Any:
    if isinstance(word, str):
        return {"check": "text", "text": word}
    if not isinstance(word, dict):
        return word
    effect = {key: value for key, value in word.items() if value is not None and not is_remark(key)}
    return {"check": "text", **effect} if set(effect) == {"text"} else effect


def expectation(case: Case) -> Expectation:
    """Return what 2.6.34 shall do.

    Its own expectation; else the general one, where that holds for 2.6.33; else that of 2.6.33 or
    of a range that contains one of the two, for they agree wherever nothing else is said.

    Raises
    ------
    NotAbout
        The case says nothing about either version.
    """
    found = _chosen(case)
    if not isinstance(found, dict):
        raise Skipped(f"the expectation {found!r} is not understood")
    return found


def _chosen(case: Case) -> Any:
    by_version: dict[str, Any] = case.get("expect_by_version", {})
    if "2.6.34" in by_version:
        return by_version["2.6.34"]
    versions = case.get("valid_for", [])
    narrow = [version for version in versions if version.lower() not in EVERY]
    if "expect" in case and ("2.6.33" in narrow or any(contains(version) for version in narrow)):
        return case["expect"]
    if "2.6.33" in by_version:
        return by_version["2.6.33"]
    for wanted in (MODELLED, AGREEING):
        # What holds for every version gives way to what speaks of some.
        for version in sorted(by_version, key=lambda version: version.strip().lower() in EVERY):
            if contains(version, wanted):
                return by_version[version]
    if "expect" in case and any(contains(version, AGREEING) for version in versions):
        return case["expect"]
    if unread := [version for version in (*versions, *by_version) if not is_version(version)]:
        raise Skipped(f"versions {unread} are not understood")
    raise NotAbout(f"only about {', '.join([*versions, *by_version]) or 'no version'}")
